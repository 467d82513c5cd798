"""`workbench sae`: sparse dictionaries of a model's activations, trained and judged."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import TYPE_CHECKING

from sae.commands import sae_asked as put
from sae.commands import sae_report as tell
from workbench.commands import options, output
from workbench.commands.corpus import open_corpus
from workbench.errors import InputError
from workbench.registry import Command

if TYPE_CHECKING:  # torch must not load for --help
    from sae.samples import Samples
    from workbench.corpus import Corpus
    from workbench.models import Model


def run(arguments: Namespace) -> int:
    arguments = put.asked(arguments)
    return (_evaluate if arguments.action == "evaluate" else _train)(arguments)


def _train(arguments: Namespace) -> int:
    # torch loads here, not for --help
    from sae.budget import budget
    from sae.run import named, train_into

    model = options.open_model(arguments)
    corpus = open_corpus(arguments, arguments.corpus, model)
    width = _width(model, arguments.site)
    recipes = put.recipes(arguments, width)
    every, folder = named(recipes), put.folder(arguments, model, corpus)
    with options.stages() as say:
        say("measuring what one step takes")
        costs = budget(recipes, width, corpus)
    if not arguments.json:
        tell.show_budget(every, costs)
    costs.check()
    if arguments.dry_run:
        return 0
    rows = _samples(arguments, model, corpus)
    started, last = time.perf_counter(), []
    again = put.reproducing(arguments)
    with options.bar(f"training {', '.join(every)}") as progress:
        for done, total, log in train_into(
            folder,
            rows,
            model,
            recipes,
            device=arguments.device,
            resume=arguments.resume,
            about={"arguments": again},
        ):
            progress(done, total)
            last = log or last
    seconds = time.perf_counter() - started
    made = [folder / name for name in every]
    if not last:
        output.say(f"trained already: {', '.join(map(str, made))}")
        return 0
    if arguments.json:
        output.dump({"folders": [str(one) for one in made], "log": [vars(row) for row in last]})
    else:
        tell.show_trained(last, width, rows)
        output.say(f"in {', '.join(map(str, made))}; {seconds:.0f} s")
    output.record("sae", model, [], arguments, seconds, made)
    return 0


def _evaluate(arguments: Namespace) -> int:
    from sae.judging import judge
    from sae.saved import load_sae

    if arguments.contexts < 1:
        raise InputError("--contexts takes a whole number from 1")
    model = options.open_model(arguments)
    sae = load_sae(arguments.file, model)
    corpus = open_corpus(arguments, arguments.corpus, model)
    rows = _samples(arguments, model, corpus)
    started = time.perf_counter()
    with options.bar("held-out contexts") as progress:
        found = judge(
            sae,
            rows,
            model,
            rivals=not arguments.no_rivals,
            contexts=arguments.contexts,
            progress=progress,
        )
    seconds = time.perf_counter() - started
    if arguments.json:
        output.dump(tell.plain(found))
    else:
        tell.show(found, corpus.name)
        output.say(f"{seconds:.0f} s")
    output.record("sae evaluate", model, [], arguments, seconds, [arguments.file])
    return 0


def _width(model: Model, name: str) -> int:
    """The width of the site. Raises `InputError` where it is not one vector for each token."""
    from sae.samples import check_site
    from workbench.hooks import sites
    from workbench.sites import named

    place, *more = named(name, sites(model))
    if more:
        raise InputError(f"--site {name} names {1 + len(more)} places; give one")
    check_site(place)
    sizes = model.architecture
    return {"d_model": sizes.d_model, "d_mlp": sizes.d_mlp}[place.kind.axes.split()[-1]]


def _samples(arguments: Namespace, model: Model, corpus: Corpus) -> Samples:
    """The activations, harvested where they are not in the store yet."""
    from sae.samples import samples
    from workbench.cache import carried_out, planned, predict
    from workbench.sites import Site

    store = options.open_store(arguments)
    plan = planned(model, corpus, [arguments.site], store)
    with options.bar("harvesting") as progress:
        harvested = carried_out(plan, predict(plan), progress)
    with options.stages() as say:
        say("reading the activations once, for their mean and their sinks")
        return samples(harvested[Site.parse(arguments.site)])


COMMAND = Command("sparse dictionaries of activations, trained and judged", put.configure, run)

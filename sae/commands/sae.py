"""`workbench sae`: sparse dictionaries of a model's activations, trained and judged."""

from __future__ import annotations

import time
from argparse import Namespace

from sae.commands import sae_asked as put
from sae.commands import sae_report as tell
from sae.commands.sae_features import features
from sae.commands.sae_rows import rows_of, width_of
from workbench.commands import options, output
from workbench.commands.corpus import open_corpus
from workbench.errors import InputError
from workbench.registry import Command


def run(arguments: Namespace) -> int:
    arguments = put.asked(arguments)
    actions = {"evaluate": _evaluate, "features": features}
    return actions.get(arguments.action, _train)(arguments)


def _train(arguments: Namespace) -> int:
    # torch loads here, not for --help
    from sae.budget import budget
    from sae.run import named, train_into

    model = options.open_model(arguments)
    corpus = open_corpus(arguments, arguments.corpus, model)
    width = width_of(model, arguments.site)
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
    rows = rows_of(arguments, model, corpus)
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
    rows = rows_of(arguments, model, corpus)
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


COMMAND = Command("sparse dictionaries of activations, trained and judged", put.configure, run)

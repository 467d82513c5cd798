"""`workbench sae`: sparse dictionaries of a model's activations, trained and judged."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path

from sae.commands import sae_asked as put
from sae.commands import sae_report as tell
from sae.commands.sae_concepts import of_labels, of_others
from sae.commands.sae_export import export
from sae.commands.sae_features import features
from sae.commands.sae_opened import check_held_out, mark, marked, opened
from sae.commands.sae_rows import corpus_of, ends_of, forward_seconds, rows_of
from workbench.commands import options, output
from workbench.errors import InputError
from workbench.registry import Command


def run(arguments: Namespace) -> int:
    arguments = put.asked(arguments)
    actions = {"evaluate": _evaluate, "features": features, "export": export}
    return actions.get(arguments.action, _train)(arguments)


def _train(arguments: Namespace) -> int:
    # torch loads here, not for --help
    from sae.budget import budget
    from sae.run import check_rows, named, train_into
    from sae.samples import parts

    model = options.open_model(arguments)
    corpus = corpus_of(arguments, model)
    ends = ends_of(arguments, model)
    recipes = put.recipes(arguments, ends.d_in)
    text, aside = parts(corpus)
    check_rows(corpus, recipes[0], text & ~aside)
    every, folder = named(recipes), put.folder(arguments, model, corpus)
    with options.stages() as say:
        say("measuring what one step takes")
        forward = forward_seconds(arguments, model, corpus) if arguments.stream else 0.0
        costs = budget(recipes, ends.d_in, ends.d_out, corpus, forward)
    if not arguments.json:
        tell.show_budget(every, costs)
    costs.check()
    if arguments.dry_run:
        if arguments.json:
            output.dump(vars(costs))
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
        tell.show_trained(last, ends.d_out, rows)
        output.say(f"in {', '.join(map(str, made))}; {seconds:.0f} s")
    output.record("sae", model, [], arguments, seconds, made)
    return 0


def _evaluate(arguments: Namespace) -> int:
    from sae.judging import judge

    if arguments.contexts < 1:
        raise InputError("--contexts takes a whole number from 1")
    if arguments.labels or arguments.against:
        return (of_labels if arguments.labels else of_others)(arguments)
    model = options.open_model(arguments)
    sae = opened(arguments, model)
    corpus = corpus_of(arguments, model)
    sae = check_held_out(sae, corpus, arguments.insist)
    rows = rows_of(arguments, model, corpus)
    started, found = time.perf_counter(), {}
    for site in sae.writes:
        with options.bar(f"held-out contexts, {site}") as progress:
            found[site] = judge(
                sae,
                rows,
                model,
                rivals=not arguments.no_rivals,
                contexts=arguments.contexts,
                at=site,
                progress=progress,
            )
    seconds = time.perf_counter() - started
    other = (sae.card.get("corpus") or {}).get("name") not in (None, corpus.name)
    text = f"{corpus.name}{' (not what it was trained on)' if other else ''}{mark(sae)}"
    if arguments.json:
        plain = {str(site): tell.plain(one) for site, one in found.items()}
        output.dump({**(plain if len(plain) > 1 else plain.popitem()[1]), **marked(sae)})
    else:
        for site, one in found.items():
            tell.show(one, f"{text}, at {site}" if len(found) > 1 else text)
        output.say(f"{seconds:.0f} s")
    if arguments.html:
        tell.write(arguments.html, found, f"{sae.name} in {Path(arguments.file).name}", text)
    files = [arguments.file, *([arguments.html] if arguments.html else [])]
    output.record("sae evaluate", model, [], arguments, seconds, files)
    return 0


COMMAND = Command("sparse dictionaries of activations, trained and judged", put.configure, run)

"""`workbench patch`: which activations carry an answer, by exact patching over pairs of prompts."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from workbench.commands import options, output
from workbench.commands.effects import plain, tell, write
from workbench.commands.pairs import add_pairs, check, open_metric, open_pairs
from workbench.commands.swept import add_swept, numbers, open_places
from workbench.registry import Command


def configure(parser: ArgumentParser) -> None:
    add_pairs(parser)
    parser.add_argument("--list", action="store_true", help="list tasks, sites and metrics")
    add_swept(parser)
    options.add_model(parser)
    options.add_store(parser)
    options.add_output(parser)


def run(arguments: Namespace) -> int:
    if arguments.list:
        return _list(arguments)
    check(arguments)
    layers, components = (numbers(arguments, name) for name in ("layers", "components"))
    # torch loads here, not for --help
    from workbench.patching import sweep

    metric = open_metric(arguments)
    model, store = options.open_model(arguments), options.open_store(arguments)
    pairs = open_pairs(arguments, model)
    places, why = open_places(arguments, pairs)
    with options.bar("layers") as progress:
        found = sweep(
            model,
            pairs,
            arguments.site,
            metric=metric,
            direction=arguments.direction,
            places=places,
            layers=layers,
            components=components,
            store=store,
            progress=progress,
        )
    effects = found.effects()
    shown = pairs.labels(found.places)

    if arguments.json:
        output.dump(plain(model, pairs, found, effects, shown))
    else:
        tell(model, pairs, found, effects, shown, arguments.top, why)
    if arguments.html:
        write(arguments.html, model, pairs, found, effects, shown)
    files = [arguments.html] if arguments.html else []
    ids = [tokens.ids for row in pairs for tokens in (row.clean, row.corrupted)]
    output.record("patch", model, ids, arguments, found.spent.seconds, files)
    return 0


def _list(arguments: Namespace) -> int:
    from workbench.patching import MEASURES, SWEPT
    from workbench.tasks import TASKS

    measures = {name: (one.__doc__ or "").splitlines()[0] for name, one in MEASURES.items()}
    if arguments.json:
        tasks = {
            name: {"about": task.about, "source": task.source, "corruptions": task.corruptions}
            for name, task in TASKS.items()
        }
        output.dump({"tasks": tasks, "sites": SWEPT, "metrics": measures})
        return 0
    output.table(
        "tasks",
        ["task", "what is asked", "corruptions", "source"],
        [
            [name, task.about, ", ".join(task.corruptions) or "one", task.source]
            for name, task in TASKS.items()
        ],
    )
    output.table("sites", ["site", "what it is"], list(SWEPT.items()))
    output.table("metrics", ["metric", "what it is"], list(measures.items()))
    return 0


COMMAND = Command("which activations carry an answer: exact patching over pairs", configure, run)

"""`workbench patch`: which activations carry an answer, by exact patching over pairs of prompts."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands import options, output
from workbench.commands.effects import labels, plain, tell, write
from workbench.errors import InputError
from workbench.registry import Command
from workbench.sites import KINDS

if TYPE_CHECKING:  # torch must not load for --help
    from workbench.models import Model
    from workbench.patching import Metric
    from workbench.tasks import Pairs

FILES = (".csv", ".jsonl", ".ndjson")


def configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "task",
        nargs="?",
        metavar="TASK_OR_FILE",
        help="a task (see --list), or a .csv or .jsonl file of pairs; or give --clean",
    )
    parser.add_argument("--list", action="store_true", help="list tasks, sites and metrics")
    pairs = parser.add_argument_group("pairs")
    pairs.add_argument("--n", type=int, help="pairs (32 of a task, all of a file)")
    pairs.add_argument("--seed", type=int, help="which pairs of a task are drawn (0)")
    pairs.add_argument("--corruption", metavar="NAME", help="how a task's prompts are corrupted")
    pairs.add_argument("--clean", metavar="TEXT", help="instead of a task: one pair's prompt")
    pairs.add_argument("--corrupted", metavar="TEXT", help="with --clean: as many tokens")
    pairs.add_argument(
        "--answer", metavar="TEXT", help='with --clean: the token after it, such as " Paris"'
    )
    pairs.add_argument("--wrong", metavar="TEXT", help="with --clean: the token it is held against")
    pairs.add_argument(
        "--first-token",
        action="store_true",
        help="the first token of a longer answer stands for it, in a file or with --clean",
    )
    pairs.add_argument(
        "--bos",
        choices=("auto", "on", "off"),
        default="auto",
        help="a BOS token in front, in a file or with --clean (auto: where the vocabulary has one)",
    )
    swept = parser.add_argument_group("what is patched")
    swept.add_argument("--site", default="resid_pre", help="what to patch (default: %(default)s)")
    swept.add_argument(
        "--places",
        metavar="P,P",
        help="each position, all together, or names and numbers: IO,S2,end (default: each; all "
        "for heads and neurons; what pairs of several lengths share)",
    )
    swept.add_argument("--layers", metavar="N,N-N", help="only these, such as 0-5,7 (all)")
    swept.add_argument("--components", metavar="N,N-N", help="only these heads or neurons (all)")
    swept.add_argument(
        "--direction",
        choices=("denoising", "noising"),
        default="denoising",
        help="clean into corrupted, or corrupted into clean (default: %(default)s)",
    )
    swept.add_argument("--metric", default="logit difference", help="default: %(default)s")
    swept.add_argument(
        "--at", default="end", metavar="PLACE", help="where it is taken, or all (default: end)"
    )
    parser.add_argument("--top", type=int, default=12, help="effects listed (12)")
    options.add_model(parser)
    options.add_store(parser)
    options.add_output(parser)


def run(arguments: Namespace) -> int:
    if arguments.list:
        return _list(arguments)
    _check(arguments)
    layers, components = (_numbers(arguments, name) for name in ("layers", "components"))
    # torch loads here, not for --help
    from workbench.patching import sweep

    metric = _metric(arguments)
    model, store = options.open_model(arguments), options.open_store(arguments)
    pairs = _pairs(arguments, model)
    places, why = _places(arguments, pairs)
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
    shown = labels(pairs, found.places)

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


def _check(arguments: Namespace) -> None:
    task = arguments.task
    one = [arguments.clean, arguments.corrupted, arguments.answer]
    from_file = task is not None and Path(task).suffix.lower() in FILES
    from_task = task is not None and not from_file
    rules = [
        (
            task is not None or None not in one,
            "give a task, a file of pairs, or --clean, --corrupted and --answer; --list shows the "
            "tasks",
        ),
        (
            task is None or [*one, arguments.wrong] == [None] * 4,
            "--clean, --corrupted, --answer and --wrong make a pair; leave the task out",
        ),
        (
            from_task or (arguments.corruption, arguments.seed) == (None, None),
            "--corruption and --seed are for tasks; leave them out",
        ),
        (
            not from_task or (not arguments.first_token and arguments.bos == "auto"),
            "--first-token and --bos are for files and --clean; a task has its own answers",
        ),
        (task is not None or arguments.n is None, "--n is for tasks and files; leave it out"),
        (arguments.n is None or arguments.n > 0, "--n takes a whole number from 1"),
        (arguments.top > 0, "--top takes a whole number from 1"),
    ]
    if faults := [told for kept, told in rules if not kept]:
        raise InputError("; ".join(faults))


def _numbers(arguments: Namespace, name: str) -> list[int] | None:
    """The numbers of `--NAME 0-5,7`, each once; None where it is not given."""
    text = getattr(arguments, name)
    if text is None:
        return None
    found: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        last = int(match[2] or match[1]) if match else -1
        if match is None or last < int(match[1]):
            raise InputError(f"--{name} {text!r} should be numbers and ranges, such as 0-5,7")
        if last >= 2**20:
            raise InputError(f"--{name} {text!r}: there is no number {last:,}")
        found.update(dict.fromkeys(range(int(match[1]), last + 1)))
    return list(found)


def _metric(arguments: Namespace) -> Metric:
    """The metric by its name in any spelling: `logit-difference`, `kl`."""
    from workbench.patching import MEASURES, Metric

    spelt = {re.sub(r"[\s_-]", "", name).lower(): name for name in MEASURES}
    asked = re.sub(r"[\s_-]", "", arguments.metric).lower()
    return Metric.named(spelt.get(asked) or str(arguments.metric), _place(arguments.at))


def _place(text: str) -> str | int:
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def _pairs(arguments: Namespace, model: Model) -> Pairs:
    from workbench.tasks import TASKS, Pairs, pair, read_pairs

    how = {"bos": options.bos(arguments), "first_token": arguments.first_token}
    if arguments.task is None:
        wrong = () if arguments.wrong is None else arguments.wrong
        texts = (arguments.clean, arguments.corrupted, arguments.answer)
        return Pairs("one pair", (pair(model, *texts, wrong, **how),))
    if Path(arguments.task).suffix.lower() in FILES:
        found = read_pairs(model, arguments.task, **how)
        if arguments.n is not None and arguments.n > len(found):
            raise InputError(f"{arguments.task} holds {len(found)} pairs; ask for no more")
        return Pairs(found.name, found.rows[: arguments.n])
    if arguments.task not in TASKS:
        raise InputError(
            f"{arguments.task!r} is neither a task ({', '.join(TASKS)}) nor a file that ends in "
            f"{', '.join(FILES)}"
        )
    n = 32 if arguments.n is None else arguments.n
    task = TASKS[arguments.task]
    return task.pairs(model, n, arguments.seed or 0, corruption=arguments.corruption)


def _places(arguments: Namespace, pairs: Pairs) -> tuple[Any, str]:
    """Where to patch, and a word about it where nobody asked for that."""
    if arguments.places in ("each", "all"):
        return arguments.places, ""
    if arguments.places is not None:
        return [_place(text.strip()) for text in arguments.places.split(",")], ""
    kind = KINDS.get(arguments.site)
    if kind is not None and (kind.head_axis is not None or kind.name == "mlp_post"):
        return "all", "all positions patched together; --places each takes them apart"
    if len(pairs.by_length) == 1:
        return "each", ""
    lengths = ", ".join(map(str, pairs.by_length))
    return pairs.places, (
        f"prompts of {lengths} tokens have no positions in common: patched at the places that all "
        "of them name; --places chooses"
    )


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

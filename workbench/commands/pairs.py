"""Pairs of prompts and a metric, as the commands that compare two runs take them."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.commands import options
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load for --help
    from workbench.models import Model
    from workbench.patching import Metric
    from workbench.tasks import Pairs

FILES = (".csv", ".jsonl", ".ndjson")


def add_pairs(parser: ArgumentParser) -> None:
    parser.add_argument(
        "task",
        nargs="?",
        metavar="TASK_OR_FILE",
        help="a task (see `workbench patch --list`), or a .csv or .jsonl file of pairs; or give "
        "--clean",
    )
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


def add_metric(group) -> None:
    group.add_argument("--metric", default="logit difference", help="default: %(default)s")
    group.add_argument(
        "--at", default="end", metavar="PLACE", help="where it is taken, or all (default: end)"
    )


def check(arguments: Namespace, *more: tuple[bool, str]) -> None:
    """Raise `InputError` for what is wrong with the pairs asked for, and `more`, all at once."""
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
        *more,
    ]
    if faults := [told for kept, told in rules if not kept]:
        raise InputError("; ".join(faults))


def open_metric(arguments: Namespace) -> Metric:
    """The metric by its name in any spelling: `logit-difference`, `kl`."""
    from workbench.patching import MEASURES, Metric

    spelt = {re.sub(r"[\s_-]", "", name).lower(): name for name in MEASURES}
    asked = re.sub(r"[\s_-]", "", arguments.metric).lower()
    return Metric.named(spelt.get(asked) or str(arguments.metric), place_of(arguments.at))


def place_of(text: str) -> str | int:
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def open_pairs(arguments: Namespace, model: Model) -> Pairs:
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

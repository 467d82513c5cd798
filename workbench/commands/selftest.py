"""`workbench selftest`: known answers run here and now, or published numbers reproduced."""

from __future__ import annotations

import platform
import re
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from inspect import signature

from workbench.commands import options, output
from workbench.errors import InputError
from workbench.registry import Command, Outcome, listed, resolve


def configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--science", action="store_true", help="published numbers beside ours, on shipped models"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="with --science: train the labs' models again, all seeds; about an hour on 2 cores",
    )
    parser.add_argument("--only", default="", metavar="REGEX", help="the claims whose name matches")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print JSON instead of a table")
    shown.add_argument("--markdown", action="store_true", help="print a table for docs/science.md")


def run(arguments: Namespace) -> int:
    try:
        wanted = re.compile(arguments.only)
    except re.error as error:
        raise InputError(f"--only {arguments.only!r} is no regular expression: {error}") from error
    if arguments.full and not arguments.science:
        raise InputError("--full trains what --science judges; give both")
    known = listed("science" if arguments.science else "claims")
    chosen = {name: target for name, target in known.items() if wanted.search(name)}
    if not chosen:
        raise InputError(f"no claim matches {arguments.only!r}; known: {', '.join(known)}")
    outcomes, seconds = {}, {}
    with options.stages(lines=True) as say:
        for number, (name, target) in enumerate(chosen.items(), start=1):
            say(f"{number} of {len(chosen)}: {name}")
            started = time.perf_counter()
            outcomes[name] = _outcome(resolve(target), full=arguments.full)
            seconds[name] = time.perf_counter() - started
    if arguments.json:
        told = {name: asdict(one) | {"seconds": seconds[name]} for name, one in outcomes.items()}
        output.dump(told)
    else:
        _show(arguments, outcomes, sum(seconds.values()))
    return 0 if all(outcome.holds for outcome in outcomes.values()) else 1


def _outcome(row: Callable[..., Outcome], *, full: bool) -> Outcome:
    """A row that can train what it judges takes `full`."""
    return row(full=True) if full and "full" in signature(row).parameters else row()


def _show(arguments: Namespace, outcomes: Mapping[str, Outcome], seconds: float) -> None:
    expected, found = ("published", "ours") if arguments.science else ("expected", "found")
    columns = ["claim", "source", expected, found, "holds"]
    rows = [
        [name, one.source, one.expected, one.found, "yes" if one.holds else "NO"]
        for name, one in outcomes.items()
    ]
    made = f"{datetime.now(UTC):%Y-%m-%d}, lensbench {version('lensbench')}, {platform.machine()}"
    note = f"{made}, torch {version('torch')}; {seconds:.0f} s"
    if arguments.markdown:
        lines = [columns, ["---"] * len(columns), *rows]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        output.say_raw(f"{text}\n\n{note}")
    else:
        output.table("published numbers" if arguments.science else "known answers", columns, rows)
        output.say(note)


COMMAND = Command("check the workbench against known answers and published numbers", configure, run)

"""`workbench selftest`: every package's known answers, run here and now."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from workbench.commands import options, output
from workbench.registry import Command, listed, resolve


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: Namespace) -> int:
    outcomes = {}
    with options.stages() as say:
        for name, target in listed("claims").items():
            say(name)
            outcomes[name] = resolve(target)()
    if arguments.json:
        output.dump({name: asdict(outcome) for name, outcome in outcomes.items()})
    else:
        output.table(
            "known answers",
            ["claim", "source", "expected", "found", "holds"],
            [
                [name, o.source, o.expected, o.found, "yes" if o.holds else "NO"]
                for name, o in outcomes.items()
            ],
        )
    return 0 if all(outcome.holds for outcome in outcomes.values()) else 1


COMMAND = Command("check the workbench against known answers", configure, run)

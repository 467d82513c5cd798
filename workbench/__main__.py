"""The console entry: reads the plugins' commands, parses, dispatches, and words errors."""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version

from workbench.errors import InputError
from workbench.registry import Command, listed, resolve


def parser() -> argparse.ArgumentParser:
    """The whole command line; imports no torch."""
    top = argparse.ArgumentParser(
        prog="workbench",
        description="Look inside GPT-2-class transformers: attention, logit lens, one cache.",
    )
    top.add_argument("--version", action="version", version=f"lensbench {version('lensbench')}")
    top.add_argument("-v", "--verbose", action="store_true", help="log what happens; tracebacks")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, target in listed("commands").items():
        command: Command = resolve(target)
        sub = commands.add_parser(name, help=command.about, description=command.about)
        command.configure(sub)
        sub.set_defaults(run=command.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 2 for what the user can mend, told in one sentence."""
    arguments = parser().parse_args(argv)
    if arguments.verbose:
        logging.basicConfig(level=logging.INFO)
    try:
        return arguments.run(arguments)
    except InputError as error:
        if arguments.verbose:
            raise
        print(f"workbench: {error}", file=sys.stderr)  # noqa: T201 (the edge prints)
        return 2
    except BrokenPipeError:
        return 141
    except KeyboardInterrupt:
        print("workbench: interrupted", file=sys.stderr)  # noqa: T201
        return 130


if __name__ == "__main__":
    sys.exit(main())

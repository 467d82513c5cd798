"""The console entry: reads the plugins' commands, parses, dispatches, and words errors."""

import argparse
import errno
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

from workbench import runs
from workbench.errors import InputError
from workbench.registry import Command, listed, resolve

_ROOM, _RIGHTS = "free some space", "see that you may read and write there"
_REFUSED = {  # by the machine, and what to do about it
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _ROOM),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _RIGHTS),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n)"),
    errno.EIO: "see what ails the disk",
}


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
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(given)
    runs.opened_by(lambda: {"command": given})
    if arguments.verbose:
        logging.basicConfig(level=logging.INFO)
    with _pressed() as pressed:
        try:
            return arguments.run(arguments)
        except BrokenPipeError:
            return 141
        except (Exception, KeyboardInterrupt) as error:
            if pressed or isinstance(error, KeyboardInterrupt):
                print("workbench: interrupted", file=sys.stderr)  # noqa: T201 (the edge prints)
                return 130
            told = _told(error)
            if told is None or arguments.verbose:
                raise
            print(f"workbench: {told}", file=sys.stderr)  # noqa: T201
            return 2


def _told(error: BaseException) -> str | None:
    """One sentence on what the user can mend; None for what only we can."""
    if isinstance(error, InputError):
        return str(error)
    if not isinstance(error, OSError) or error.errno not in _REFUSED:
        return None
    where = f" at {error.filename}" if error.filename else ""
    return (
        f"the machine refused: {error.strerror}{where}; {_REFUSED[error.errno]} and give the "
        "command again"
    )


@contextmanager
def _pressed() -> Iterator[list[int]]:
    """Filled when Ctrl-C is pressed: torch may call it something else where it strikes inside."""
    pressed: list[int] = []

    def note(number: int, _: object) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield pressed
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(main())

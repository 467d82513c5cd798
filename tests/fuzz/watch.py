"""What an input may never do: write outside its folder, run or fetch anything, take much memory
or long."""

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 20.0  # of the processor, for one input: also on a machine with other work
GROWTH = 256 * 2**20  # bytes that one input may add to the most the process ever held
ROOM = 3 * 2**30  # bytes of addresses beyond those after loading; beyond them nothing is had
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATHS = {"os.mkdir": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2, "os.remove": 1,
          "os.rmdir": 1, "os.truncate": 1, "os.chmod": 1, "shutil.rmtree": 1}  # fmt: skip
_NEVER = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn",
          "os.fork", "pickle.find_class",
          "socket.connect", "socket.getaddrinfo", "webbrowser.open")  # fmt: skip


class Breach(BaseException):
    """Something that no reader may do; no `except Exception` can hide it."""


class Slow(BaseException):
    """An input that takes too long."""


class Watch:
    """Watches the readers of this process, which may write in `allowed` alone."""

    def __init__(self, root: Path, allowed: Sequence[Path]) -> None:
        self.root = root
        self._allowed = tuple(str(path) for path in allowed)
        self._parents = {path.parent for path in allowed} | {root}
        self._there = self._around()
        self._on = False
        self._noted: list[str] = []
        sys.addaudithook(self._hear)  # for good: hooks cannot be taken out

    @contextmanager
    def watching(self, growth: int = GROWTH) -> Iterator[None]:
        """Raises `Breach` or `Slow` at the end at the latest."""
        before, self._noted = most_memory(), []
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        self._on = True
        try:
            yield
        finally:
            self._on = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._check(before + growth)

    def _check(self, most: int) -> None:
        if self._noted:
            raise Breach("; ".join(self._noted))
        if self._around() != self._there:
            raise Breach(f"files appeared: {sorted(self._around() ^ self._there)}")
        if (held := most_memory()) > most:
            raise Breach(f"it held {(held - most) / 2**20:,.0f} MiB more than it may")

    def _around(self) -> set[str]:
        """What lies beside the folders that may be written to."""
        return {str(path) for parent in self._parents for path in parent.iterdir()}

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING:
                self._expect_inside(event, path)
        elif event in _PATHS:
            beneath = arguments[-1] if isinstance(arguments[-1], int) else -1
            for path in arguments[: _PATHS[event]]:
                self._expect_inside(event, path, beneath)
        elif event in _NEVER:
            self._refuse(f"{event} {arguments[:2]!r}")

    def _expect_inside(self, event: str, path: Any, beneath: int = -1) -> None:
        """`beneath` is the open folder that a relative path counts from."""
        if isinstance(path, int) or path in (os.devnull, None):
            return
        start = Path(f"/proc/self/fd/{beneath}").readlink() if beneath > 2 else Path()
        whole = os.path.realpath(start / os.fsdecode(path))
        if not any(whole == one or whole.startswith(f"{one}/") for one in self._allowed):
            self._refuse(f"{event} {whole}")

    def _refuse(self, what: str) -> None:
        self._noted.append(what)
        raise Breach(what)


def most_memory() -> int:
    """The most bytes of memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limited(room: int = ROOM) -> None:
    """From here on, no more than `room` bytes of addresses, no core dumps, and an alarm."""
    with Path("/proc/self/statm").open() as told:
        now = int(told.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + room, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    alarmed()


def alarmed() -> Callable[..., Any] | int | None:
    """Let the alarm of `Watch` be heard."""

    def ring(*_: object) -> None:
        raise Slow(f"longer than {SECONDS:g} seconds of the processor")

    return signal.signal(signal.SIGPROF, ring)

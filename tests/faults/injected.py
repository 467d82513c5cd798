"""What a machine may do to a child, injected in it, so that it holds for root as well.

A disk that fills up or turns read-only, few file handles, a clock that jumps. Each is a context
manager around a command, told the folder that lies on that disk.
"""

import builtins
import errno
import io
import itertools
import os
import random
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import safetensors.torch
from safetensors import SafetensorError

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGING = ("mkdir", "rename", "replace", "unlink", "rmdir", "utime")
_WITHOUT_ROOM = ("unlink", "rmdir", "rename", "replace", "utime")
_YEAR = 365 * 86400


@dataclass
class Disk:
    """`folder` lies on it; after `room` bytes it refuses with `code`, and goes on refusing."""

    folder: Path
    room: float
    code: int = errno.ENOSPC

    def holds(self, path: Any) -> bool:
        """Whether a path lies here; a descriptor is not asked."""
        return not isinstance(path, int) and str(path).startswith(str(self.folder))

    def take(self, n_bytes: int) -> int:
        """How many of these bytes still fit."""
        taken = int(min(n_bytes, max(0, self.room)))
        self.room -= n_bytes
        return taken

    def refuse(self, path: object = None) -> None:
        raise OSError(self.code, os.strerror(self.code), None if path is None else str(path))


class _File(io.FileIO):
    disk: Disk

    def write(self, content: Any) -> int:
        with memoryview(content) as whole, whole.cast("B") as plain:
            taken = self.disk.take(len(plain))
            if len(plain) and not taken:
                self.disk.refuse()
            return super().write(plain[:taken])


@contextmanager
def refusing(folder: Path, room: float, code: int = errno.ENOSPC) -> Iterator[Disk]:
    """The disk of `folder` takes `room` more bytes."""
    disk = Disk(folder, room, code)
    with ExitStack() as stack:

        def put(where: Any, name: str, wrap: Callable[[Disk, Any], Any]) -> None:
            stack.enter_context(patch.object(where, name, wrap(disk, getattr(where, name))))

        for where in (builtins, io):
            put(where, "open", _opening)
        stack.enter_context(patch("workbench.cache.files.save_file", _saving))
        put(os, "open", _descriptor)
        put(os, "fsync", _synced)
        for name in _CHANGING if code == errno.EROFS else set(_CHANGING) - set(_WITHOUT_ROOM):
            put(os, name, _changing)
        yield disk


def _opening(disk: Disk, plain: Any) -> Any:
    def opening(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any) -> Any:
        opener = more.get("opener")
        here = disk.holds(file)
        if not here or not set(mode) & set("wax+"):
            return plain(file, mode, buffering, *rest, **more)
        if disk.room <= 0 and (disk.code == errno.EROFS or not Path(file).exists()):
            disk.refuse(file)  # a full disk lets a file be emptied that is there
        raw = _File(file, mode.replace("b", "").replace("t", ""), opener=opener)
        raw.disk = disk
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        words = dict(zip(("encoding", "errors", "newline"), rest, strict=False))
        words |= {name: more[name] for name in ("encoding", "errors", "newline") if name in more}
        return io.TextIOWrapper(buffered, **words)

    return opening


def _saving(tensors: Any, path: Any, metadata: Any = None) -> None:
    """As safetensors' own, whose words for a disk's refusal are these."""
    try:
        with Path(path).open("wb") as file:
            file.write(safetensors.torch.save(tensors, metadata))
    except OSError as error:
        told = f"I/O error: {error.strerror} (os error {error.errno})"
        raise SafetensorError(f"Error while serializing: {told}") from error


def _descriptor(disk: Disk, plain: Any) -> Any:
    def descriptor(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        new = disk.code == errno.EROFS or not Path(path).exists()
        if flags & _WRITING and disk.room <= 0 and disk.holds(path) and new:
            disk.refuse(path)
        return plain(path, flags, *rest, **more)

    return descriptor


def _synced(disk: Disk, plain: Any) -> Any:
    def synced(descriptor: int) -> None:
        if disk.room < 0:
            disk.refuse()
        plain(descriptor)

    return synced


def _changing(disk: Disk, plain: Any) -> Any:
    def changing(path: Any, *rest: Any, **more: Any) -> Any:
        if disk.room <= 0 and disk.holds(path):
            disk.refuse(path)
        return plain(path, *rest, **more)

    return changing


@contextmanager
def few_files(_: Path, spare: int) -> Iterator[None]:
    """Only so many file handles more than are open now."""
    listed = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 (numbers)
    taken = {number for number in listed if Path(f"/proc/self/fd/{number}").exists()}
    free = (number for number in itertools.count() if number not in taken)
    limit = next(itertools.islice(free, spare, None))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    yield


@contextmanager
def wrong_clock(_: Path, seed: int) -> Iterator[None]:
    """A clock that jumps by years whenever it is looked at; files get their times from it."""
    drawn = random.Random(seed)
    plain, gmtime, fsync, utime = time.time, time.gmtime, os.fsync, os.utime

    def now() -> float:
        return plain() + drawn.uniform(-20, 20) * _YEAR

    dated = SimpleNamespace(now=lambda zone: datetime.fromtimestamp(now(), zone))

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        utime(descriptor, (now(), now()))

    def touched(path: Any, times: Any = None, **more: Any) -> None:
        utime(path, times or (now(), now()), **more)

    with (
        patch.object(time, "time", now),
        patch.object(time, "time_ns", lambda: int(now() * 1e9)),
        patch.object(
            time, "gmtime", lambda seconds=None: gmtime(now() if seconds is None else seconds)
        ),
        patch.object(os, "fsync", synced),
        patch.object(os, "utime", touched),
        patch("workbench.carded.datetime", dated),
        patch("workbench.runs.datetime", dated),
    ):
        yield

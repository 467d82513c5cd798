"""Processes that read hostile inputs, so many of each reader; one that dies is a crash, and its
work goes on in another."""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from tests.fuzz.report import Crash, Line

PATIENCE = 300.0  # seconds without a word from a process, beyond which it is killed
_TOLD_EACH = 2.0  # seconds between two words of a process
_SHM = Path("/dev/shm")


@dataclass(frozen=True)
class Piece:
    """Inputs `first` to `last` of a reader; where `seconds` is given, only for so long."""

    target: str
    first: int
    last: int
    seconds: float = float("inf")


@dataclass(frozen=True)
class Word:
    """What a process says: how far it is in its piece, what came of it since its last word."""

    done: int
    line: Line
    crashes: tuple[Crash, ...]
    seconds: float
    last: bool


def root_folder() -> Path:
    """In memory where that is to be had: a disk would be most of the time."""
    return Path(tempfile.mkdtemp(prefix="fuzz-", dir=_SHM if _SHM.is_dir() else None))


def work(pipe: Connection, now: Any, seed: int, root: str) -> None:
    """A process: reads pieces from the pipe until there is none; `now` is the input it is at."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from tests.fuzz.setting import prepared

    ground = prepared(Path(root))
    pipe.send(None)
    while (piece := pipe.recv()) is not None:
        for word in _read(ground, piece, now, seed):
            pipe.send(word)


def _read(ground: Any, piece: Piece, now: Any, seed: int) -> Iterator[Word]:
    from tests.fuzz.grounds import SOUND, TOLD

    target = ground.targets[piece.target]
    ground.warm(target)
    line, crashes, begun = Line(), [], time.monotonic()
    said, number = begun, piece.first - 1
    for number in range(piece.first, piece.last):
        now.value = number
        outcome = ground.tried(target, seed, number)
        line.sound += outcome == SOUND
        line.told += outcome == TOLD
        if outcome not in (SOUND, TOLD):
            line.crashes += 1
            crashes.append(Crash(piece.target, number, outcome))
        at = time.monotonic()
        if at - begun > piece.seconds:
            break
        if at - said > _TOLD_EACH:
            yield Word(number + 1, line, tuple(crashes), at - begun, last=False)
            line, crashes, said = Line(), [], at
    yield Word(number + 1, line, tuple(crashes), time.monotonic() - begun, last=True)


class Worker:
    """A process with its piece, from the side of who waits for it."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._seed, self._folder = seed, folder
        self.piece: Piece | None = None
        self._start()

    def _start(self) -> None:
        spawned = multiprocessing.get_context("spawn")
        self._now = spawned.Value("q", -1, lock=False)
        self.pipe, theirs = spawned.Pipe()
        root = tempfile.mkdtemp(dir=self._folder)
        given = (theirs, self._now, self._seed, root)
        self._process = spawned.Process(target=work, args=given, daemon=True)
        self._process.start()
        theirs.close()
        self.heard, self.ready, self.done = time.monotonic(), False, 0

    def give(self, piece: Piece | None) -> None:
        self.piece, self.heard = piece, time.monotonic()
        self.done = piece.first if piece else 0
        with suppress(OSError):
            self.pipe.send(piece)

    def hear(self) -> Word | None:
        """The next word, None for that it is ready. Raises `EOFError` where the process died."""
        word = self.pipe.recv()
        self.heard = time.monotonic()
        if word is None:
            self.ready = True
        else:
            self.done = word.done
        return word

    def replace(self, why: str) -> Crash:
        """Another process in the place of one that died or is stuck: the crash that this is."""
        self._process.kill()
        self._process.join()
        died = f"{why} (exit code {self._process.exitcode})"
        assert self.piece is not None, f"a process cannot begin: {died}"
        crash = Crash(self.piece.target, int(self._now.value), died)
        self._start()
        return crash

    def end(self) -> None:
        self.give(None)
        self._process.join(5)
        self._process.kill()


def all_of(workers: Sequence[Worker], pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Word]]:
    """What becomes of the pieces, word by word; pieces are begun in their order."""
    left = list(pieces)
    while left or any(one.piece for one in workers):
        for worker in workers:
            if worker.ready and worker.piece is None and left:
                worker.give(left.pop(0))
        busy = [one for one in workers if one.piece is not None or not one.ready]
        speaking = wait([one.pipe for one in busy], timeout=10)
        for worker in busy:
            if worker.pipe in speaking or time.monotonic() - worker.heard > PATIENCE:
                yield from _heard(worker, left, stuck=worker.pipe not in speaking)


def _heard(worker: Worker, left: list[Piece], *, stuck: bool) -> Iterator[tuple[Piece, Word]]:
    piece = worker.piece
    try:
        if stuck:
            raise TimeoutError(f"nothing was heard for {PATIENCE:g} seconds")
        word = worker.hear()
    except (EOFError, OSError) as error:
        crash = worker.replace(str(error) or "the process died")
        assert piece is not None, "a process dies of an input"
        # What it read since its last word is not counted yet: it is read again.
        ends = ((worker.done, crash.number), (crash.number + 1, piece.last))
        left[:0] = [Piece(piece.target, *two) for two in ends if two[0] < two[1]]
        worker.piece = None
        yield piece, Word(crash.number + 1, Line(crashes=1), (crash,), 0.0, last=False)
        return
    if word is not None and piece is not None:
        worker.piece = None if word.last else piece
        yield piece, word

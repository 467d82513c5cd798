"""`python -m tests.fuzz`: hostile inputs for every reader, in the proportion of their speed.

An input is a function of the seed, the reader's name and its number: `--target NAME --first N
--inputs 1` gives the same one again. Exit code 1 where one crashed; those are kept in `--keep`.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.grounds import Ground
from tests.fuzz.report import Crash, Line, as_json, keep, table
from tests.fuzz.workers import Piece, Worker, all_of, root_folder

TRIAL = 1.5  # seconds in which a reader's speed is measured
MOST = 4  # times the median speed: beyond that a fast reader would take all there is
LEAST = 200  # inputs of a slow reader, be there ever so few for it by its speed
FEW = 50  # of each reader, below which all get the same number
PIECE = 5000  # inputs that a process is given at once


def main(argv: Sequence[str] | None = None) -> int:
    asked = _asked(argv)
    folder = root_folder()
    try:
        names = _named(asked, folder)
        workers = [Worker(asked.seed, folder) for _ in range(asked.processes)]
        lines, crashes, seconds = _read(asked, names, workers)
        for worker in workers:
            worker.end()
        _keep(asked, crashes, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    about = {"seed": asked.seed, "seconds": round(seconds), "processes": asked.processes}
    if asked.json is not None:
        asked.json.write_text(as_json(lines, crashes, about) + "\n", encoding="utf-8")
    _say(f"{table(lines)}\n\n{seconds:,.0f} seconds, seed {asked.seed}")
    return 1 if crashes else 0


def _asked(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="over all readers (1000000)")
    parser.add_argument("--target", action="append", help="only readers whose name holds this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the table there as well")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="inputs that crashed")
    return parser.parse_args(argv)


def _named(asked: argparse.Namespace, folder: Path) -> list[str]:
    known = list(Ground(folder / "names").targets)
    names = [n for n in known if not asked.target or any(part in n for part in asked.target)]
    if not names:
        raise SystemExit(f"no reader is called {asked.target}; known: {', '.join(known)}")
    return names


def _read(
    asked: argparse.Namespace, names: Sequence[str], workers: Sequence[Worker]
) -> tuple[dict[str, Line], list[Crash], float]:
    lines, crashes = {name: Line() for name in names}, []
    begun = time.monotonic()
    each: int = asked.inputs // len(names)
    shares = dict.fromkeys(names, each)
    if each >= FEW:
        shares = _shares(asked, names, workers)
    pieces = [
        Piece(name, asked.first + at, asked.first + min(at + PIECE, share))
        for name, share in shares.items()
        for at in range(0, share, PIECE)
    ]
    for piece, word in all_of(workers, pieces):
        line = lines[piece.target]
        line.sound += word.line.sound
        line.told += word.line.told
        line.crashes += word.line.crashes
        for crash in word.crashes:
            crashes.append(crash)
            _say(f"CRASH {crash.target}, input {crash.number}: {crash.what!a}")
        if word.last:
            done = sum(one.inputs for one in lines.values())
            _say(f"{time.monotonic() - begun:6,.0f} s  {done:>9,} inputs  {piece.target}")
    return lines, crashes, time.monotonic() - begun


def _shares(
    asked: argparse.Namespace, names: Sequence[str], workers: Sequence[Worker]
) -> dict[str, int]:
    """How many inputs each reader gets, by its speed on inputs that do not count."""
    speeds = dict.fromkeys(names, 1.0)
    trials = [Piece(name, 10**9, 2 * 10**9, TRIAL) for name in names]
    for piece, word in all_of(workers, trials):
        if word.last:
            speeds[piece.target] = max(1.0, (word.done - piece.first) / word.seconds)
    cap = MOST * sorted(speeds.values())[len(speeds) // 2]
    held = {name: min(speed, cap) for name, speed in speeds.items()}
    whole = sum(held.values())
    shares = {
        name: max(LEAST, int(asked.inputs * speed / whole) + 1) for name, speed in held.items()
    }
    told = sum(share / speeds[name] for name, share in shares.items()) / asked.processes
    _say(f"{len(names)} readers, about {told:,.0f} seconds")
    return dict(sorted(shares.items(), key=lambda item: -item[1] / speeds[item[0]]))


def _keep(asked: argparse.Namespace, crashes: Sequence[Crash], folder: Path) -> None:
    if not crashes:
        return
    ground = Ground(folder / "kept")
    for crash in crashes[:1000]:
        given = ground.targets[crash.target].drawn(asked.seed, crash.number)
        place = asked.keep / f"{crash.target.replace('/', ' ')}-{crash.number}"
        keep(given, place)
        _say(f"kept in {place}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

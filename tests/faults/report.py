"""What was tried, what survived it, and what was lost of work that had been reported done."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.grounds import Ground
from tests.faults.jobs import ended, said, told

COLUMNS = ("fault", "tried", "survived", "pieces reported", "lost", "of")


@dataclass
class Line:
    """Of one fault of one job. A piece is a shard, a checkpoint, a model or a file."""

    tried: int = 0
    survived: int = 0
    reported: int = 0
    lost: int = 0

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        return self.tried, self.survived, self.reported, self.lost

    def expect(self, reported: int, lost: int, what: str = "") -> None:
        self.reported += reported
        self.lost += lost
        assert not lost, f"{lost} of {reported} pieces reported done are lost {what}"


@dataclass
class Tally:
    lines: dict[tuple[str, str], Line] = field(default_factory=dict)

    @contextmanager
    def fault(self, what: str, where: str) -> Iterator[Line]:
        """One fault: it survives if nothing is raised."""
        line = self.lines.setdefault((what, where), Line())
        line.tried += 1
        yield line
        line.survived += 1

    def table(self) -> list[str]:
        """A row for each fault, with what it was tried on and how often."""
        every = {what: [] for what, _ in self.lines}
        for (what, where), line in self.lines.items():
            every[what].append((where, line))
        rows = [
            (what, *_sums(line for _, line in some), ", ".join(f"{w} {x.tried}" for w, x in some))
            for what, some in sorted(every.items())
        ]
        rows += [("all", *_sums(self.lines.values()), "")]
        cells = [COLUMNS, *([str(cell) for cell in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _sums(lines: Iterable[Line]) -> list[int]:
    return [sum(column) for column in zip(*(line.numbers for line in lines), strict=True)]


TALLY = Tally()


def check_promises(line: Line, ground: Ground, folder: Path) -> None:
    """What was counted is there, as an undisturbed run makes it."""
    job, heard, made = ground.job, told(folder), ground.job.made(folder)
    wanted = [name for name in ground.whole if job.promised(heard, name)]
    lost = [name for name in wanted if made.get(name) != ground.whole[name]]
    line.expect(len(wanted), len(lost), str(lost))
    line.expect(*job.checkpoints(folder, heard), "as checkpoints")


def check_goes_on(ground: Ground, folder: Path) -> None:
    """The same command again ends in what an undisturbed run makes, bit for bit."""
    assert ended(ground.job.command(folder), folder) == 0, said(folder)
    made = ground.job.made(folder)
    assert [name for name in ground.whole if made.get(name) != ground.whole[name]] == []
    assert made.keys() == ground.whole.keys()
    for state in folder.rglob("state.safetensors"):
        assert list(state.parent.glob(".*.part")) == []


def check_told(folder: Path, status: int, words: str) -> None:
    """A sentence, not a traceback."""
    last = said(folder).strip().splitlines()[-1:]
    assert status == 2 and last[0].startswith("workbench: ") and words in last[0], said(folder)

"""What came of the inputs: a table by reader, the same as JSON, and each crash with its input."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

COLUMNS = ("reader", "inputs", "sound", "told", "crashes")


@dataclass
class Line:
    """Of one reader: inputs that gave a value, those that were refused by a clear error, others."""

    sound: int = 0
    told: int = 0
    crashes: int = 0

    @property
    def inputs(self) -> int:
        return self.sound + self.told + self.crashes


@dataclass(frozen=True)
class Crash:
    """An input by its number under the seed, and what went wrong."""

    target: str
    number: int
    what: str


def table(lines: Mapping[str, Line]) -> str:
    """As Markdown, the sums last."""
    rows = [
        (name, line.inputs, line.sound, line.told, line.crashes) for name, line in lines.items()
    ]
    sums = [sum(column) for column in list(zip(*rows, strict=True))[1:]] if rows else [0] * 4
    told = [" | ".join((name, *(f"{n:,}" for n in numbers))) for name, *numbers in rows]
    total = " | ".join(f"{n:,}" for n in sums)
    head = [f"| {' | '.join(COLUMNS)} |", "|---|" + "---:|" * 4]
    return "\n".join([*head, *(f"| {row} |" for row in [*told, f"all | {total}"])])


def as_json(lines: Mapping[str, Line], crashes: Iterable[Crash], about: Mapping[str, Any]) -> str:
    """All of it, with what was asked."""
    readers = {name: {"inputs": line.inputs, **asdict(line)} for name, line in lines.items()}
    return json.dumps(
        {**about, "readers": readers, "crashes": [asdict(one) for one in crashes]}, indent=1
    )


def keep(given: Any, folder: Path) -> None:
    """An input as files that can be looked at: its own, or its text."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(given, Mapping) and all(isinstance(one, bytes) for one in given.values()):
        for name, data in given.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return
    (folder / "input.txt").write_text(ascii(given), encoding="ascii")

"""Run records: a small JSON file beside every result, saying what made it."""

import json
import os
import platform
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workbench.fetching import write_whole
from workbench.home import home

FORMAT = 1


@dataclass(frozen=True)
class Record:
    """What was computed, from what, by which code, where and in how many seconds."""

    kind: str
    model: Mapping[str, str]
    tokens: Sequence[Sequence[int]]
    arguments: Mapping[str, Any]
    device: str
    seconds: float
    files: Sequence[str] = ()
    code: str = field(default_factory=lambda: f"lensbench {version('lensbench')}")
    made: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    machine: str = field(
        default_factory=lambda: (
            f"{platform.machine()}, {os.cpu_count()} cores, "
            f"torch {version('torch')}, transformer-lens {version('transformer-lens')}"
        )
    )
    format: int = FORMAT


def keep(record: Record) -> Path:
    """Write `record` under `home()/runs`, whole or not at all; returns its path."""
    folder = home() / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = folder / f"{stamp}-{record.kind}-{secrets.token_hex(3)}.json"
    write_whole(path, json.dumps(asdict(record), indent=1, default=str).encode())
    return path


def kept() -> list[tuple[Path, Record]]:
    """All readable records, newest first; a record of a newer format is left out."""
    found = []
    for path in sorted((home() / "runs").glob("*.json"), reverse=True):
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields["format"] == FORMAT:
            found.append((path, Record(**fields)))
    return found

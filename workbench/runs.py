"""Run records: a small JSON file of every result, saying what made it and what opens it again."""

import json
import os
import platform
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from workbench.errors import MISFITS, InputError
from workbench.fetching import write_whole
from workbench.home import home

FORMAT = 1
Opened = Mapping[str, Any]
_opened: ContextVar[Callable[[], Opened] | None] = ContextVar("opened", default=None)
_last: ContextVar[Path | None] = ContextVar("last", default=None)


def opened_by(told: Callable[[], Opened]) -> None:
    """What records of this thread say of how to come back: asked when one is kept.

    `{"command": [word, ...]}` for a command line; for a page `{"page": name, "path": its URL's,
    "address": {key: [value, ...]}}`.
    """
    _opened.set(told)
    _last.set(None)


def _opened_now() -> Opened:
    told = _opened.get()
    return {} if told is None else told()


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
    opened: Opened = field(default_factory=_opened_now)
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
    stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"  # runs are sorted by their names
    path = folder / f"{stamp}-{record.kind}-{secrets.token_hex(2)}.json"
    write_whole(path, json.dumps(asdict(record), indent=1, default=str).encode())
    _last.set(path)
    return path


def keep_script(text: str) -> None:
    """Lay the Python that gives the same numbers beside what this thread kept last, if anything."""
    if (path := _last.get()) is not None:
        write_whole(path.with_suffix(".py"), text.encode())
        _last.set(None)


def script_of(path: Path) -> str | None:
    """The Python beside a record."""
    beside = path.with_suffix(".py")
    return beside.read_text(encoding="utf-8") if beside.exists() else None


def kept() -> list[tuple[Path, Record]]:
    """All readable records, newest first; a record of a newer format is left out."""
    found = []
    for path in sorted((home() / "runs").glob("*.json"), reverse=True):
        if (record := _read(path)) is not None:
            found.append((path, record))
    return found


def _read(path: Path) -> Record | None:
    """A record; None for one of a newer format, and for a file that is none."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        record = Record(**fields)
        sound = all(isinstance(getattr(record, name), kind) for name, kind in _KINDS.items())
        return record if sound and record.format == FORMAT and _opens(record.opened) else None
    except (OSError, *MISFITS):
        return None


_KINDS = {"kind": str, "model": dict, "tokens": list, "arguments": dict, "device": str,
          "seconds": int | float, "files": list, "opened": dict, "code": str, "made": str,
          "machine": str}  # fmt: skip


def _opens(opened: Opened) -> bool:
    """Whether what opens a run again is a command's words, or a page's address."""
    words, address = opened.get("command", []), opened.get("address", {})
    if not _texts(words) or not isinstance(address, dict):
        return False
    named = all(isinstance(opened.get(name, ""), str) for name in ("page", "path"))
    whole = "path" not in opened or "address" in opened
    return named and whole and all(map(_texts, address.values()))


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def found(name: str) -> tuple[Path, Record]:
    """The record whose file's name holds `name`. Raises `InputError` for none, and for several."""
    known = kept()
    which = [(path, record) for path, record in known if name in path.stem]
    if len(which) == 1:
        return which[0]
    if not which:
        raise InputError(
            f"no run is called {name!r}; `workbench runs list` names the {len(known):,} there are"
        )
    several = ", ".join(path.stem for path, _ in which[:5])
    raise InputError(
        f"{name!r} is in the names of {len(which):,} runs ({several}); give more of it"
    )


def address(record: Record) -> str | None:
    """Where the page opens again, under the dashboard's own address; None for a command."""
    if "path" not in record.opened:
        return None
    query = urlencode(record.opened["address"], doseq=True, errors="replace")
    return f"{record.opened['path']}?{query}"


def told(record: Record) -> str:
    """What was asked, on one line."""
    if "command" in record.opened:
        return shlex.join(["workbench", *record.opened["command"]])
    asked = record.opened.get("address") or record.arguments
    words = [
        f"{name}={', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in asked.items()
        if isinstance(value, str | int | float | list) and name != "model"
    ]
    return f"{record.opened.get('page', record.kind)}: {'; '.join(map(str, words))}"


def differences(one: Record, other: Record) -> dict[str, tuple[Any, Any]]:
    """What is not the same of two records, by dotted name; a field that one lacks is None there."""
    left, right = flat(asdict(one)), flat(asdict(other))
    names = dict.fromkeys([*left, *right])
    return {
        name: (left.get(name), right.get(name))
        for name in names
        if left.get(name) != right.get(name)
    }


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A record's fields by dotted name."""
    found: dict[str, Any] = {}
    for name, part in value.items():
        inner = isinstance(part, Mapping)
        found |= flat(part, f"{prefix}{name}.") if inner else {f"{prefix}{name}": part}
    return found

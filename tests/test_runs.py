"""Run records: written whole, read back, newest first."""

import json
from pathlib import Path

import pytest

from workbench import runs
from workbench.runs import Record, keep, kept


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))


def record(kind: str = "lens", **more) -> Record:
    return Record(kind, {"name": "tiny"}, [[1, 2]], {"k": 3}, "cpu", 0.5, **more)


def test_a_record_reads_back(tmp_path: Path) -> None:
    path = keep(record(files=["a.html"]))
    assert kept() == [(path, record(files=["a.html"], made=kept()[0][1].made))]
    assert [p.name for p in (tmp_path / "runs").iterdir()] == [path.name], "nothing half-written"
    assert set(json.loads(path.read_text())) >= {"code", "machine", "made", "format"}


def test_no_folder_is_no_record() -> None:
    assert kept() == []


def test_records_come_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for stamp in ("20260101-000000", "20270101-000000", "20250101-000000"):
        monkeypatch.setattr(runs.time, "strftime", lambda *_, stamp=stamp: stamp)
        keep(record(kind=stamp[:4]))
    assert [found.kind for _, found in kept()] == ["2027", "2026", "2025"]


def test_a_newer_format_is_left_out() -> None:
    old, new = keep(record()), keep(record())
    new.write_text(json.dumps({**json.loads(new.read_text()), "format": 99, "unknown": 1}))
    assert [path for path, _ in kept()] == [old]

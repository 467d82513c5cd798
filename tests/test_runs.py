"""Run records: written whole, read back, newest first."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from workbench import runs
from workbench.errors import InputError
from workbench.runs import (
    Record,
    differences,
    found,
    keep,
    keep_script,
    kept,
    opened_by,
    script_of,
)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    opened_by(dict)


def record(kind: str = "lens", **more) -> Record:
    return Record(kind, {"name": "tiny"}, [[1, 2]], {"k": 3}, "cpu", 0.5, **more)


def test_a_record_reads_back(tmp_path: Path) -> None:
    path = keep(record(files=["a.html"]))
    assert kept() == [(path, record(files=["a.html"], made=kept()[0][1].made))]
    assert [p.name for p in (tmp_path / "runs").iterdir()] == [path.name], "nothing half-written"
    assert set(json.loads(path.read_text())) >= {"code", "machine", "made", "format"}


def test_no_folder_is_no_record() -> None:
    assert kept() == []


def test_records_come_newest_first() -> None:
    for kind in ("second", "first", "third"):  # of one second, as commands of a script are
        keep(record(kind=kind))
    assert [found.kind for _, found in kept()] == ["third", "first", "second"]


def test_a_newer_format_is_left_out() -> None:
    old, new = keep(record()), keep(record())
    new.write_text(json.dumps({**json.loads(new.read_text()), "format": 99, "unknown": 1}))
    assert [path for path, _ in kept()] == [old]


def test_a_record_says_what_opens_it_again() -> None:
    address = {"prompt": ["a & b"], "pins": ["1", "2"]}
    opened_by(lambda: {"page": "Circuit", "path": "circuit", "address": address})
    _, read = found(keep(record()).stem)
    assert runs.address(read) == "circuit?prompt=a+%26+b&pins=1&pins=2"
    assert runs.told(read) == "Circuit: prompt=a & b; pins=1, 2"
    opened_by(lambda: {"command": ["patch", "two words", "--json"]})
    _, read = found(keep(record()).stem)
    assert runs.address(read) is None
    assert runs.told(read) == "workbench patch 'two words' --json"


def test_a_script_belongs_to_what_was_kept_last() -> None:
    opened_by(dict)
    keep_script("nothing was kept yet")
    first, second = keep(record()), keep(record())
    keep_script("x = 1\n")
    keep_script("x = 2\n")
    assert script_of(first) is None and script_of(second) == "x = 1\n"
    opened_by(dict)
    keep_script("another page")
    assert script_of(second) == "x = 1\n"


def test_a_part_of_a_name_must_be_of_one() -> None:
    path, _ = keep(record("patch")), keep(record("lens"))
    assert found("-patch-")[0] == path
    with pytest.raises(InputError, match="in the names of 2 runs"):
        found("-")
    with pytest.raises(InputError, match=r"no run is called 'steer'; .* the 2 there are"):
        found("steer")


def test_what_differs() -> None:
    one, other = record(), record()
    assert set(differences(one, other)) <= {"made"}
    apart = differences(one, replace(one, arguments={"k": 4, "more": {"deep": 1}}))
    assert apart == {"arguments.k": (3, 4), "arguments.more.deep": (None, 1)}

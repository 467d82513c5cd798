"""Hostile inputs for every reader, a few of each; `python -m tests.fuzz` reads a million."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import watch
from tests.fuzz.changes import of_bytes, of_json, of_text
from tests.fuzz.grounds import SOUND, TOLD, Ground
from tests.fuzz.target import Target
from workbench.errors import InputError
from workbench.models.gguf_header import check_header


def test_a_few_of_every_reader(tmp_path: Path):
    """In a process of its own, with limits of its own."""
    asked = ("--inputs", "1400", "--processes", "1", "--json", str(tmp_path / "fuzz.json"))
    found = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *asked, "--keep", str(tmp_path / "kept")],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert found.returncode == 0, f"{found.stdout}\n{found.stderr[-2000:]}"
    readers = json.loads((tmp_path / "fuzz.json").read_text())["readers"]
    assert len(readers) > 60 and all(one["inputs"] >= 20 for one in readers.values())
    assert sum(one["sound"] for one in readers.values()) > 100, "not everything is refused"


def _told(_: object) -> None:
    raise InputError("the input is none; give another")


def _silent(_: object) -> None:
    raise InputError("")


def _outside(_: object) -> None:
    (Path(os.environ["WORKBENCH_HOME"]).parents[1] / "outside" / "evil").write_text("x")


def _hidden(given: object) -> None:
    try:
        _outside(given)
    except Exception:
        return


def _greedy(_: object) -> None:
    bytearray(watch.most_memory() + 2 * watch.GROWTH)


@pytest.mark.unpickles
@pytest.mark.parametrize(
    ("read", "outcome"),
    [
        (lambda _: None, SOUND),
        (_told, TOLD),
        (_silent, "an error without a word"),
        (lambda _: {}["x"], "KeyError: 'x'"),
        (_outside, "Breach: open "),
        (_hidden, "Breach: open "),
        (_greedy, "Breach: it held "),
        (lambda _: os.system("true"), "Breach: os.system"),
        (lambda _: pickle.loads(pickle.dumps(Fraction(1, 2))), "Breach: pickle.find_class"),
        (lambda _: sys.exit(3), "SystemExit: 3"),
    ],
)
def test_what_counts_as_a_crash(
    read: Callable[[object], object],
    outcome: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Negative controls: readers that do what none may do."""
    monkeypatch.setenv("WORKBENCH_HOME", "set anew by the ground")
    ground = Ground(tmp_path, families=())
    found = ground.outcome(Target("made up", ["x"], lambda _, seed: seed, read), "x")
    assert found.startswith(outcome), found


def test_an_input_is_a_function_of_its_number():
    target = Target("made up", ["some text", "another"], of_text, len)
    assert [target.drawn(3, n) for n in range(50)] == [target.drawn(3, n) for n in range(50)]
    assert len({target.drawn(3, n) for n in range(50)}) > 40


@settings(max_examples=200, deadline=None)
@given(st.integers(), st.binary(max_size=200), st.text(max_size=50))
def test_changes_keep_to_their_kind(seed: int, data: bytes, text: str):
    draw = Random(seed)
    assert isinstance(of_bytes(draw, data), bytes)
    assert isinstance(of_text(draw, text), str)
    assert isinstance(of_json(draw, b'{"a": [1, 2.5, "x", null, {"b": true}]}'), bytes)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_gguf_that_lies_is_told(tmp_path_factory, data: bytes, tensors: int, fields: int):
    """Whatever a header claims, in no time and without the memory that it claims."""
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    counts = tensors.to_bytes(8, "little") + fields.to_bytes(8, "little")
    path.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + counts + data)
    if tensors or fields:
        with pytest.raises(InputError, match="no whole GGUF file"):
            check_header(path)
    else:
        check_header(path)

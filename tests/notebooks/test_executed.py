"""The course runs from its first cell to its last, offline, in time and memory; nothing is kept."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from notebooks.committed import notebooks, read
from notebooks.execution import execute
from workbench.models import Model

MINUTES, GIB = 3, 6  # at most, for one notebook


@pytest.mark.real_model
@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_it_runs(path: Path, smollm2: Model) -> None:
    before = path.read_bytes()
    found = execute(path)
    assert found.error is None, found.error
    assert found.seconds < 60 * MINUTES and found.peak < 1024 * GIB
    assert path.read_bytes() == before


def executed(tmp_path: Path, *sources: str):
    made = new_notebook(cells=[new_code_cell(source) for source in sources])
    nbformat.write(made, tmp_path / "01-t.ipynb")
    return execute(tmp_path / "01-t.ipynb")


def test_outputs_are_of_the_cells_alone(tmp_path: Path) -> None:
    found = executed(tmp_path, "x = 1", "print(x + 1)")
    assert found.error is None and 0 < found.peak < 1000
    assert [one.source for one in found.notebook.cells] == ["x = 1", "print(x + 1)"]
    assert found.notebook.cells[1].outputs[0].text == "2\n"
    assert [one.execution_count for one in found.notebook.cells] == [1, 2]
    assert "execution" not in found.notebook.cells[0].metadata
    assert read(tmp_path / "01-t.ipynb").cells[1].outputs == []


def test_an_error_is_told(tmp_path: Path) -> None:
    found = executed(tmp_path, "raise ValueError('no')", "print(1)")
    assert found.error is not None and "ValueError: no" in found.error
    assert found.peak > 0 and not found.notebook.cells[1].outputs


def test_the_network_is_refused(tmp_path: Path) -> None:
    ask = "import urllib.request; urllib.request.urlopen('http://192.0.2.1', timeout=1)"
    found = executed(tmp_path, "import os; print(os.environ['HF_HUB_OFFLINE'])", ask)
    assert found.error is not None and "the course is offline; 192.0.2.1" in found.error
    assert found.notebook.cells[0].outputs[0].text == "1\n"

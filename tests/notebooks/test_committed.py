"""What is committed: outputs of the code that is there, nothing of a machine; and what refuses."""

from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from notebooks.committed import code, faults, notebooks, read

PARTS = ("## What you will be able to do", "## Questions and answers", "## Study resources")


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_it_may_be_committed(path: Path) -> None:
    assert list(faults(path)) == []


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_it_has_its_parts(path: Path) -> None:
    """Aims, exercises, questions, resources, time and memory, where to go on."""
    text = "\n".join(one.source for one in read(path).cells if one.cell_type == "markdown")
    for part in PARTS:
        assert part in text
    assert "minutes of study" in text and "memory" in text
    table = text[text.index(PARTS[1]) :].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert 8 <= len(rows) <= 15 and all(row.count("|") == 3 for row in rows)
    assert "http://localhost:8501/" in text


def notebook(*outputs: NotebookNode) -> NotebookNode:
    made = new_notebook(cells=[new_markdown_cell("# t"), new_code_cell("1", outputs=[*outputs])])
    made.metadata["course"] = {"code": code(made)}
    return made


def found(tmp_path: Path, made: NotebookNode) -> list[str]:
    nbformat.write(made, tmp_path / "01-t.ipynb")
    return list(faults(tmp_path / "01-t.ipynb"))


def said(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


def test_outputs_of_other_code_are_refused(tmp_path: Path) -> None:
    made = notebook(said("1"))
    assert found(tmp_path, made) == []
    made.cells[1].source = "2"
    (fault,) = found(tmp_path, made)
    assert fault.startswith("its outputs are of other code; run `python -m notebooks --write 01`")
    made.cells[1].source = "1"
    made.cells[0].source = "# other words"
    assert found(tmp_path, made) == []


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        (new_output("error", ename="ValueError", evalue="", traceback=[]), "ends in ValueError"),
        (said("careful", "stderr"), "writes to stderr: 'careful'"),
        (said("/home/me/x.pt"), "a machine's path, '/home/me'"),
        (said("took 3.2 s"), "a time, '3.2 s'"),
        (said("12 it/s"), "a time, '12 it/s'"),
        (
            new_output("display_data", data={"application/vnd.plotly.v1+json": {}}),
            "a figure has no picture beside it",
        ),
    ],
)
def test_what_is_of_a_machine_is_refused(tmp_path: Path, output: NotebookNode, fault: str) -> None:
    (told,) = found(tmp_path, notebook(output))
    assert told.startswith("cell 1: ") and fault in told


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    (told,) = found(tmp_path, notebook(said("x" * 1_000_000)))
    assert "at most 1,000,000" in told

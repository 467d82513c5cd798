"""What a notebook file is, and what is to be true of one that is committed."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

FOLDER = Path(__file__).parent
LARGEST = 1_000_000  # bytes of a file
FIGURE, PICTURE = "application/vnd.plotly.v1+json", "image/png"
_MACHINE = re.compile(r"(/home/|/root/|/tmp/|/Users/|[A-Z]:\\\\)[\w.-]+")
_CLOCK = re.compile(r"\b\d+(\.\d+)? ?(ms|µs|s|sec|seconds|min|minutes|it/s)\b")


def notebooks() -> list[Path]:
    """All of the course, in order."""
    return sorted(FOLDER.glob("[0-9][0-9]-*.ipynb"))


def read(path: Path) -> NotebookNode:
    """The notebook in a file."""
    return nbformat.read(path, as_version=4)


def code(notebook: NotebookNode) -> str:
    """A digest of the code: what its outputs are outputs of."""
    cells = [one.source for one in notebook.cells if one.cell_type == "code"]
    return hashlib.sha256("\0".join(cells).encode()).hexdigest()


def faults(path: Path) -> Iterator[str]:
    """What keeps a file from being committed: stale or missing outputs, errors, machine paths,
    wall-clock times, warnings, figures without a picture beside them, too many bytes."""
    notebook = read(path)
    if (size := path.stat().st_size) > LARGEST:
        yield f"{size:,} bytes; at most {LARGEST:,}"
    if notebook.metadata.get("course", {}).get("code") != code(notebook):
        yield f"its outputs are of other code; run `python -m notebooks --write {path.name[:2]}`"
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            for fault in _cell_faults(cell):
                yield f"cell {number}: {fault}"


def _cell_faults(cell: NotebookNode) -> Iterator[str]:
    for output in cell.outputs:
        if output.output_type == "error":
            yield f"it ends in {output.ename}"
        elif output.get("name") == "stderr":
            yield f"it writes to stderr: {output.text[:80]!r}"
        else:
            yield from _output_faults(output)


def _output_faults(output: NotebookNode) -> Iterator[str]:
    data = output.get("data", {})
    text = output.get("text", "") + data.get("text/plain", "") + data.get("text/html", "")
    for name, pattern in (("a machine's path", _MACHINE), ("a time", _CLOCK)):
        if found := pattern.search(text):
            yield f"it shows {name}, {found.group()!r}"
    if FIGURE in data and PICTURE not in data:
        yield "a figure has no picture beside it"

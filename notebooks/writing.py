"""Outputs into the notebooks' files: figures with a still picture beside them."""

import io
from base64 import b64encode
from pathlib import Path

import nbformat
import plotly.graph_objects as go
from nbformat import NotebookNode
from PIL import Image

from notebooks.committed import FIGURE, PICTURE, code

_COLOURS = 128
_WIDTH, _HEIGHT = 800, 450  # of figures that do not say


def write(path: Path, notebook: NotebookNode) -> None:
    """Keep an executed notebook, with what its outputs are outputs of."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if FIGURE in output.get("data", {}):
                output.data[PICTURE] = _picture(output.data[FIGURE])
    notebook.metadata["course"] = {"code": code(notebook)}
    notebook.metadata.pop("language_info", None)  # the kernel's version
    nbformat.write(notebook, path)


def _picture(figure: NotebookNode) -> str:
    """As Chromium draws it, in few colours: a file holds many."""
    drawn = go.Figure({"data": figure["data"], "layout": figure["layout"]})
    size = {
        name: drawn.layout[name] or default
        for name, default in (("width", _WIDTH), ("height", _HEIGHT))
    }
    image = Image.open(io.BytesIO(drawn.to_image("png", **size)))
    few, kept = image.convert("RGB").quantize(_COLOURS), io.BytesIO()
    few.save(kept, "PNG", optimize=True)
    return b64encode(kept.getvalue()).decode()

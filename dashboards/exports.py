"""What every view hands out: its numbers as CSV, its picture as a page, the Python that makes both.

PNG is not here: the browser saves what it has drawn, by a button beside each picture.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from workbench.runs import keep_script

if TYPE_CHECKING:  # Plotly must not load before a button is pressed
    from workbench.figures import Figure

MIME = {".csv": "text/csv", ".html": "text/html", ".py": "text/x-python"}
Axis = Mapping[str, Sequence[object]]
Table = Iterable[Sequence[object]]


@dataclass(frozen=True)
class Made:
    """What a view was made from: in words, with the prompt, in Python, as a file's name.

    `code` defines `model`, `ids` and `strings`; `names` ("module:name") are what it imports.
    """

    about: str
    note: str
    code: Sequence[str]
    names: Sequence[str]
    file: str

    def script(self, title: str, names: Sequence[str], code: Sequence[str]) -> str:
        """A whole script: a comment, the imports, what was asked, and then the view's own lines."""
        homes: dict[str, set[str]] = defaultdict(set)
        for name in (*self.names, *names):
            module, _, attribute = name.partition(":")
            homes[module].add(attribute)
        imports = [
            f"from {module} import {', '.join(sorted(found))}"
            for module, found in sorted(homes.items(), key=lambda item: (item[0] != "torch", item))
        ]
        # On one line: a line break in a name would end the comment.
        about = " ".join(f"{title}. {self.about}".split())
        return "\n".join([f"# {about}", *imports, "", *self.code, "", *code, ""])


@dataclass(frozen=True)
class Export:
    """One view's files. `tables` (rows, the first the header) and `figures` run when asked for."""

    file: str
    title: str
    note: str
    tables: Mapping[str, Callable[[], Table]]
    figures: Callable[[], Sequence[Figure]]
    script: str

    def csv(self, name: str) -> str:
        """One table as CSV; tokens are exact, not with their white space made visible."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(self.tables[name]())
        return text.getvalue()

    def html(self) -> str:
        """A page that opens without a network: the figures, Plotly itself, what was computed."""
        from workbench.figures import page

        return page(self.figures(), title=self.title, note=self.note)


def offer(export: Export) -> None:
    """The files of a page, in a box that makes nothing until it is opened.

    The run that the page has just kept, if any, gets the script.
    """
    keep_script(export.script)
    box = st.expander("Export", key="export", on_change="rerun")
    if box.open:
        with box:
            files(export, key="export")


def files(export: Export, *, key: str) -> None:
    """A button for each file, and the script to read and copy."""
    keep_script(export.script)
    buttons = [
        (f"CSV: {name}", partial(export.csv, name), f"{export.file} {name}", ".csv")
        for name in export.tables
    ]
    buttons += [
        ("HTML page", export.html, export.file, ".html"),
        ("Python", lambda: export.script, export.file, ".py"),
    ]
    with st.container(horizontal=True):
        for label, data, name, ending in buttons:
            file = slug(name) + ending
            st.download_button(
                label, data, file, MIME[ending], on_click="ignore", key=f"{key} {label}"
            )
    st.caption("A picture's own button saves it as PNG. The same numbers in Python:")
    st.code(export.script, language="python")


def camera(made: Made, part: str) -> dict[str, object]:
    """How Plotly saves a chart as PNG: at twice its size, under a name of what it holds."""
    return {
        "displaylogo": False,
        "toImageButtonOptions": {
            "format": "png",
            "scale": 2,
            "filename": slug(f"{made.file} {part}"),
        },
    }


def slug(text: str) -> str:
    """A file's name out of words: letters, digits, dots and hyphens."""
    return re.sub(r"[^\w.]+", "-", text).strip("-.")


def tidy(values: Mapping[str, np.ndarray], *axes: Axis) -> Iterator[Sequence[object]]:
    """A header, then one row for each cell of the arrays in `values`, which have one shape.

    Each axis brings its columns, such as a position and its token.
    """
    columns = [[*axis.items()] for axis in axes]
    yield [*(name for axis in columns for name, _ in axis), *values]
    shape = tuple(len(axis[0][1]) for axis in columns)
    for name, array in values.items():
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, its axes {shape}")
    for place in np.ndindex(shape):
        labels = (
            column[index] for axis, index in zip(columns, place, strict=True) for _, column in axis
        )
        yield [*labels, *(array[place] for array in values.values())]


def positions(tokens: Sequence[str], name: str = "position") -> Axis:
    """The axis of a prompt's tokens."""
    return {name: range(len(tokens)), f"{name} token": tokens}

"""The files of the page Compare: both sides and their difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from dashboards.compare_sides import Place
from dashboards.compare_view import Picture
from dashboards.exports import Export, Made

if TYPE_CHECKING:  # Plotly loads with the page, not before
    from workbench.figures import Figure

HEADER = ("row", "column", "A", "B", "difference")
TOLD = """if a.shape == b.shape:
    difference = a - b
    print("largest difference:", difference.flat[abs(difference).argmax()])"""


def compare_export(
    pictures: Sequence[Picture], figures: Sequence[Figure], a: Place, b: Place
) -> Export:
    """A table of every picture, the pictures, and a script that makes the numbers of both sides."""
    made, other = a.made, b.made
    title = f"Compared: {pictures[0].what}"
    about = f"A: {made.about}; B: {other.about}"
    both = replace(made, about=about, code=[], names=[*made.names, *other.names])
    names = [name for picture in pictures for name in picture.names]
    code = [line for picture in pictures for line in _script(picture, made, other)]
    return Export(
        file=f"{made.file} against {b.name}",
        title=title,
        note=f"A: {made.note}; B: {other.note}",
        tables={picture.what: partial(_table, picture) for picture in pictures},
        figures=lambda: list(figures),
        script=both.script(title, names, code),
    )


def _script(picture: Picture, a: Made, b: Made) -> Iterator[str]:
    yield f"# {picture.what}"
    for side, made, lines in zip("ab", (a, b), picture.code, strict=True):
        yield from (*made.code, *lines, f"{side} = value")
    yield TOLD


def _table(picture: Picture) -> Iterator[Sequence[object]]:
    """A row for each cell; where shapes differ, first those of A and then those of B."""
    yield HEADER
    a, b = picture.a, picture.b
    if not picture.apart:
        from workbench.figures.sides import less

        apart = less(a, b)
        for row, column in product(range(len(a.rows)), range(len(a.columns))):
            values = (side.values[row, column] for side in (a, b, apart))
            yield (apart.rows[row], apart.columns[column], *values)
        return
    for side, blank in ((a, 0), (b, 1)):
        for row, column in product(range(len(side.rows)), range(len(side.columns))):
            value = side.values[row, column]
            values = ("", value) if blank else (value, "")
            yield (side.rows[row], side.columns[column], *values, "")

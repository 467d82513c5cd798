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
TOLD = """difference = {{what: a[what] - b[what] for what in {names!r}}}
for what, values in difference.items():
    print(f"{{what}}: largest difference {{values.flat[abs(values).argmax()]:.4f}}")"""


def compare_export(
    pictures: Sequence[Picture], figures: Sequence[Figure], a: Place, b: Place
) -> Export:
    """A table of every picture, the pictures, and a script that makes the numbers of both sides."""
    made, other = a.made, b.made
    title = f"Compared: {pictures[0].what}"
    about = f"A: {made.about}; B: {other.about}"
    both = replace(made, about=about, code=[], names=[*made.names, *other.names])
    names = [name for picture in pictures for name in picture.names]
    code = [*_script(pictures, made, other)]
    return Export(
        file=f"{made.file} against {b.name}",
        title=title,
        note=f"A: {made.note}; B: {other.note}",
        tables={picture.what: partial(_table, picture) for picture in pictures},
        figures=lambda: list(figures),
        script=both.script(title, names, code),
    )


def _script(pictures: Sequence[Picture], a: Made, b: Made) -> Iterator[str]:
    """Each side's model once, and a value by name for each picture."""
    for side, made in enumerate((a, b)):
        yield from (*made.code, f"{'ab'[side]} = {{}}")
        for picture in pictures:
            yield from (*picture.code[side], f"{'ab'[side]}[{picture.what!r}] = value", "")
    yield TOLD.format(names=[picture.what for picture in pictures if not picture.apart])


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

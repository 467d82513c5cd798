"""Two sides of a comparison in one picture, and their difference where there is one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from workbench.figures.layout import (
    CATEGORIES,
    DIVERGING,
    FADING,
    GREY,
    MONO,
    SEQUENTIAL,
    check_labels,
    escaped,
    grey_where_undefined,
)

_LINE = {"showline": True, "mirror": True, "linecolor": GREY, "showgrid": False, "zeroline": False}
_DOWN, _ACROSS = 40, 16  # labels of an axis, beyond which not each is written
_LETTERS, _FEWEST = 56, 3  # in a row of cells of one of two panels; in a cell, to say anything


@dataclass(frozen=True)
class Side:
    """One side's values, a label for each row and column, and what the hover adds to a cell."""

    name: str
    values: Float[np.ndarray, "row column"]
    rows: Sequence[str]
    columns: Sequence[str]
    said: Sequence[Sequence[str]] | None = None


def sides(
    a: Side,
    b: Side,
    *,
    axes: tuple[str, str],
    what: str,
    title: str,
    signed: bool = False,
    words: bool = False,
) -> go.Figure:
    """A, B and, where their values have one shape, A less B: heatmaps side by side.

    A and B share a scale, from 0 or, `signed`, about it; the difference has its own, about 0.
    With `words`, what a side says is written in its cells as far as it fits, and there are only
    two. What is not defined is grey.
    """
    for side in (a, b):
        check_labels(side.name, side.values, side.rows, side.columns)
    shown = [a, b]
    if a.values.shape == b.values.shape and not words:
        shown.append(less(a, b))
    figure = _panels(shown)
    layout: Any = figure.layout
    most = max(_largest(a), _largest(b)) or 1.0
    for place, side in enumerate(shown):
        apart = place == 2
        limit = (_largest(side) or most) if apart else most
        figure.add_trace(
            go.Heatmap(
                z=side.values,
                zmin=-limit if signed or apart else 0,
                zmax=limit,
                colorscale=_colours(diverging=signed or apart, words=words),
                customdata=_told(side),
                hovertemplate=f"%{{customdata}}<br>{escaped(what)}: %{{z:.4f}}<extra></extra>",
                showscale=place > 0,  # the first has the second's
                colorbar={
                    "x": layout[f"xaxis{place + 1}"].domain[1] if place else 0,
                    "xpad": 5,
                    "thickness": 10,
                    "tickfont": {"size": 10},
                },
                **(_written(side) if words else {}),
            ),
            1,
            place + 1,
        )
        if np.isnan(side.values).any():
            grey_where_undefined(figure, side.values, row=1, col=place + 1)
        across, down = _axis(side.columns, _ACROSS), _axis(side.rows, _DOWN)
        ends = [-0.5, len(side.columns) - 0.5], [len(side.rows) - 0.5, -0.5]
        figure.update_xaxes(
            title_text=axes[1], tickangle=-60, range=ends[0], col=place + 1, **across, **_LINE
        )
        figure.update_yaxes(range=ends[1], col=place + 1, **down, **_LINE)
        _label_once(figure, shown, place)
    figure.update_yaxes(title_text=axes[0], col=1)
    return _framed(figure, title, max(420, 13 * min(len(a.rows), _DOWN) + 220))


def ranked(a: Side, b: Side, *, what: str, title: str) -> go.Figure:
    """Bars of one column of values, one for each row; their difference where rows are the same."""
    shown = [a, b]
    if list(a.rows) == list(b.rows):
        shown.append(less(a, b))
    figure = _panels(shown)
    most = 1.05 * (max(_largest(a), _largest(b)) or 1.0)
    for place, side in enumerate(shown):
        values = side.values[:, 0]
        figure.add_trace(
            go.Bar(
                x=values,
                y=list(range(len(side.rows))),
                orientation="h",
                marker={"color": [CATEGORIES[place if place < 2 else int(x < 0)] for x in values]},
                customdata=[escaped(row) for row in side.rows],
                hovertemplate=f"%{{customdata}}<br>{escaped(what)}: %{{x:.3f}}<extra></extra>",
                showlegend=False,
            ),
            1,
            place + 1,
        )
        ends = [-most, most] if place == 2 else [0, most]
        figure.update_xaxes(range=ends, col=place + 1)
        rows = [len(side.rows) - 0.5, -0.5]
        figure.update_yaxes(range=rows, col=place + 1, **_axis(side.rows, _DOWN))
        _label_once(figure, shown, place)
    return _framed(figure, title, 24 * max(len(a.rows), len(b.rows)) + 180)


def _panels(shown: Sequence[Side]) -> go.Figure:
    """Beside each other; labels of the second, where they are its own, take room."""
    gap = 0.09 if list(shown[0].rows) == list(shown[1].rows) else 0.2
    names = [escaped(side.name) for side in shown]
    figure = make_subplots(1, len(shown), subplot_titles=names, horizontal_spacing=gap)
    return figure.update_annotations(yshift=8, font_size=13)


def _label_once(figure: go.Figure, shown: Sequence[Side], place: int) -> None:
    """Rows have no labels where they are those of the first; the difference's hover tells both."""
    if place == 2 or (place and list(shown[place].rows) == list(shown[0].rows)):
        figure.update_yaxes(showticklabels=False, col=place + 1)


def less(a: Side, b: Side) -> Side:
    """A less B; labels that differ are both told. Raises `ValueError` for other shapes."""
    if a.values.shape != b.values.shape:
        raise ValueError(
            f"values of shape {a.values.shape} and {b.values.shape} have no difference"
        )
    return Side("A − B", a.values - b.values, _both(a.rows, b.rows), _both(a.columns, b.columns))


def _both(a: Sequence[str], b: Sequence[str]) -> list[str]:
    return [x if x == y else f"{x} | {y}" for x, y in zip(a, b, strict=True)]


def _largest(side: Side) -> float:
    finite = side.values[np.isfinite(side.values)]
    return float(np.abs(finite).max()) if finite.size else 0.0


def _told(side: Side) -> list[list[str]]:
    cells = [[f"{row}, {column}" for column in side.columns] for row in side.rows]
    if side.said is not None:
        cells = [
            [f"{cell}: {word}" for cell, word in zip(*line, strict=True)]
            for line in zip(cells, side.said, strict=True)
        ]
    return [[escaped(cell) for cell in line] for line in cells]


def _colours(*, diverging: bool, words: bool) -> Any:
    """Words are set off from a colour that is there, not from what lies behind it."""
    return DIVERGING if diverging else SEQUENTIAL if words else FADING


def _written(side: Side) -> dict[str, Any]:
    """The words of the cells, cut to what a cell has room for; none where that says nothing."""
    room = _LETTERS // len(side.columns)
    if side.said is None or room < _FEWEST:
        return {}
    return {
        "text": [[escaped(word[:room]) for word in row] for row in side.said],
        "texttemplate": "%{text}",
        "textfont": {"family": MONO, "size": 10},
    }


def _axis(labels: Sequence[str], most: int) -> dict[str, Any]:
    """Ticks by position, since labels repeat; of many, every few."""
    every = -(-len(labels) // most)
    return {
        "tickvals": list(range(0, len(labels), every)),
        "ticktext": [escaped(label) for label in labels[::every]],
        "tickfont": {"family": MONO, "size": 10},
    }


def _framed(figure: go.Figure, title: str, height: int) -> go.Figure:
    return figure.update_layout(
        title={"text": escaped(title), "font": {"size": 15}},
        template="plotly_white",
        height=height,
        margin={"l": 80, "r": 40, "t": 90, "b": 100},
    )

"""Effects of patches, with their intervals, and estimates beside them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.figures.circuits import grid
from workbench.figures.layout import (
    CATEGORIES,
    DIVERGING,
    GREY,
    LINE,
    check_labels,
    escaped,
    frame,
)

Effects = Float[np.ndarray, "row column"]


def effects(
    mean: Effects,
    low: Effects | None,
    high: Effects | None,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    axes: tuple[str, str],
    title: str,
    names: Sequence[Sequence[str]] | None = None,
    nothing: float = 0.0,
    limit: float | None = None,
    chosen: tuple[int, int] | None = None,
) -> go.Figure:
    """An effect for every row and column: 0 is the corrupted run, 1 the clean one.

    Colours part at `nothing`, the effect of a patch that changes nothing (1 when noising), and
    end at `limit` on either side, by default the largest effect; heatmaps of one sweep share it.
    `names` say in the hover what a cell is. Without bounds there is no interval to tell.
    A `chosen` cell (row, column) is outlined, and a click on any cell is then an event.
    """
    bounds = [bound for bound in (low, high) if bound is not None]
    for bound in bounds:
        check_labels("bound", bound, rows, columns)
    figure = grid(mean, rows, columns, axes=axes, name="effect", title=title)
    if limit is None:
        change = np.abs(mean - nothing)
        limit = float(np.nanmax(change)) if np.isfinite(change).any() else 0.0
    limit = limit or 1.0
    told = names or [[f"{row} → {column}" for column in columns] for row in rows]
    interval = " [%{customdata[1]:.3f}, %{customdata[2]:.3f}]" if len(bounds) == 2 else ""
    figure.update_traces(
        selector=0,
        zmin=nothing - limit,
        zmax=nothing + limit,
        customdata=[
            [[escaped(name), *map(float, values)] for name, *values in zip(*cells, strict=True)]
            for cells in zip(told, *bounds, strict=True)
        ],
        hovertemplate=f"%{{customdata[0]}}: %{{z:.3f}}{interval}<extra></extra>",
    )
    line = {"showline": True, "mirror": True, "linecolor": GREY}  # cells near 0 are see-through
    figure.update_xaxes(showgrid=False, zeroline=False, **line)
    figure.update_yaxes(showgrid=False, zeroline=False, **line)
    if chosen is not None:
        _clickable(figure, chosen)
    return figure.update_layout(height=max(620, 15 * min(len(rows), 40) + 220))


def _clickable(figure: go.Figure, chosen: tuple[int, int]) -> None:
    """Squares over the cells, since a heatmap tells of no click, and a box around the chosen one.

    A click gives the column as x and the row as y.
    """
    heat: Any = figure.data[0]
    rows, columns = np.shape(heat.z)
    cells = list(np.ndindex(rows, columns))
    figure.add_scatter(
        x=[column for _, column in cells],
        y=[row for row, _ in cells],
        customdata=[heat.customdata[row][column] for row, column in cells],
        text=[f"{heat.z[cell]:.3f}" for cell in cells],
        mode="markers",
        marker={"symbol": "square", "size": 14, "opacity": 0},
        hovertemplate=heat.hovertemplate.replace("%{z:.3f}", "%{text}"),
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        showlegend=False,
    )
    figure.update_traces(hoverinfo="skip", hovertemplate=None, selector={"type": "heatmap"})
    y, x = chosen
    box = {"x0": x - 0.5, "x1": x + 0.5, "y0": y - 0.5, "y1": y + 0.5}
    figure.add_shape(**box, line={"color": LINE, "width": 2})
    figure.update_xaxes(range=[-0.5, columns - 0.5])
    figure.update_yaxes(range=[rows - 0.5, -0.5], autorange=False)
    figure.update_layout(hoverdistance=-1)  # the whole of a wide cell is its own


def head_effects(
    mean: Float[np.ndarray, " head"],
    low: Float[np.ndarray, " head"] | None,
    high: Float[np.ndarray, " head"] | None,
    heads: Sequence[str],
    *,
    title: str,
    nothing: float = 0.0,
    chosen: int | None = None,
) -> go.Figure:
    """A bar for each head from `nothing` to its effect, with its interval; `chosen` is outlined."""
    told = [f"{escaped(head)}: {value:.3f}" for head, value in zip(heads, mean, strict=True)]
    bars: dict[str, Any] = {"visible": False}
    if low is not None and high is not None:
        bars = {"type": "data", "array": high - mean, "arrayminus": mean - low, "color": LINE}
        ends = zip(told, low, high, strict=True)
        told = [f"{text} [{least:.3f}, {most:.3f}]" for text, least, most in ends]
    figure = go.Figure(
        go.Bar(
            x=list(range(len(heads))),
            y=mean - nothing,
            base=nothing,
            error_y=bars,
            customdata=list(heads),
            text=told,
            textposition="none",
            marker_color=[
                DIVERGING[-1][1] if value >= nothing else DIVERGING[0][1] for value in mean
            ],
            marker_line={
                "color": LINE,
                "width": [3 if place == chosen else 0 for place in range(len(heads))],
            },
            hovertemplate="%{text}<extra></extra>",
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 1}},
        )
    )
    frame(figure, title, side=280)
    figure.update_layout(margin_b=40, hovermode="x")  # a click above a low bar means it, too
    figure.add_hline(y=nothing, line={"color": LINE, "width": 1})
    figure.update_xaxes(tickvals=list(range(len(heads))), ticktext=[*map(escaped, heads)])
    return figure.update_yaxes(title_text="effect of z")


def estimates(
    exact: Float[np.ndarray, " cell"],
    estimated: Float[np.ndarray, " cell"],
    *,
    names: Sequence[str],
    method: str,
    title: str,
) -> go.Figure:
    """What a method estimates against the exact effect; on the line both are the same."""
    figure = go.Figure(
        go.Scatter(
            x=exact,
            y=estimated,
            text=[escaped(name) for name in names],
            mode="markers",
            marker={"size": 6, "color": CATEGORIES[0], "opacity": 0.6},
            hovertemplate="%{text}: exact %{x:.3f}, estimated %{y:.3f}<extra></extra>",
        )
    )
    ends = [float(np.nanmin([exact, estimated])), float(np.nanmax([exact, estimated]))]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": LINE, "dash": "dot"}, hoverinfo="skip"
    )
    frame(figure, title, side=420)
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text="exact effect")
    return figure.update_yaxes(title_text=f"effect by {method}")

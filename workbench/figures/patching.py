"""Effects of patches, with their intervals."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.figures.circuits import grid
from workbench.figures.layout import GREY, check_labels, escaped

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
) -> go.Figure:
    """An effect for every row and column: 0 is the corrupted run, 1 the clean one.

    Colours part at `nothing`, the effect of a patch that changes nothing (1 when noising), and
    end at `limit` on either side, by default the largest effect; heatmaps of one sweep share it.
    `names` say in the hover what a cell is. Without bounds there is no interval to tell.
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
    return figure.update_layout(height=max(620, 15 * min(len(rows), 40) + 220))

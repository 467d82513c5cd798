"""Circuits of weights: eigenvalues, and scores from token to token or from head to head."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Complex, Float

from workbench.figures.layout import (
    DIVERGING,
    FADING,
    LINE,
    MONO,
    check_labels,
    escaped,
    frame,
    grey_where_undefined,
)

_MOST_TICKS = 40


def eigenvalues(values: Complex[np.ndarray, " d_head"], *, title: str) -> go.Figure:
    """Eigenvalues in the complex plane; those right of 0 raise what they come from."""
    figure = go.Figure(
        go.Scatter(
            x=np.real(values),
            y=np.imag(values),
            mode="markers",
            marker={"size": 7, "opacity": 0.7},
            hovertemplate="%{x:.3f} + %{y:.3f} i<extra></extra>",
        )
    )
    frame(figure, title, side=460)
    figure.add_vline(x=0, line={"color": LINE, "width": 1})
    figure.update_xaxes(title_text="real part")
    return figure.update_yaxes(title_text="imaginary part", scaleanchor="x")


def grid(
    values: Float[np.ndarray, "row column"],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    axes: tuple[str, str],
    name: str,
    title: str,
    signed: bool = True,
) -> go.Figure:
    """A value for every row and column by name; grey where it is not defined."""
    check_labels("grid", values, rows, columns)
    limit = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    figure = go.Figure(
        go.Heatmap(
            z=values,
            zmin=-limit if signed else 0,
            zmax=limit,
            colorscale=DIVERGING if signed else FADING,
            customdata=[[escaped(f"{row} → {column}") for column in columns] for row in rows],
            hovertemplate="%{customdata}: %{z:.4f}<extra></extra>",
            colorbar={"title": {"text": name}},
            hoverongaps=False,
        )
    )
    frame(figure, title)
    _named(figure.update_yaxes, rows, axes[0], autorange="reversed")
    _named(figure.update_xaxes, columns, axes[1], tickangle=-60)
    grey_where_undefined(figure, values)
    return figure


def _named(update, names: Sequence[str], title: str, **more) -> None:
    """Ticks by position, and no more of them than can be read."""
    shown = range(0, len(names), -(-len(names) // _MOST_TICKS))
    update(
        title_text=title,
        tickvals=list(shown),
        ticktext=[escaped(names[place]) for place in shown],
        tickfont={"family": MONO, "size": 11},
        **more,
    )

"""Shares of a logit difference."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.figures.layout import (
    CATEGORIES,
    DIVERGING,
    LINE,
    MONO,
    escaped,
    frame,
    head_axes,
)

_MOST_TICKS = 24  # that can be read


def contributions(
    parts: Mapping[str, Float[np.ndarray, " column"]],
    *,
    columns: Sequence[str],
    names: Mapping[str, Sequence[str]],
    title: str,
) -> go.Figure:
    """Stacked bars by column, and the running sum; `names` are what a click on a bar gives."""
    places = list(range(len(columns)))
    figure = go.Figure(
        [
            go.Bar(
                name=part,
                x=places,
                y=values,
                customdata=names[part],
                marker_color=colour,
                hovertemplate="%{customdata}: %{y:.4f}<extra></extra>",
                selected={"marker": {"opacity": 1}},
                unselected={"marker": {"opacity": 1}},
            )
            for (part, values), colour in zip(parts.items(), CATEGORIES, strict=False)
        ]
    )
    figure.add_scatter(
        name="sum so far",
        x=places,
        y=np.sum(list(parts.values()), axis=0).cumsum(),
        mode="lines+markers",
        line={"color": LINE, "width": 1.5},
        marker={"size": 4},
        hovertemplate="sum up to here: %{y:.4f}<extra></extra>",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
    )
    frame(figure, title, side=420)
    figure.update_layout(barmode="relative", bargap=0.15, width=max(700, 24 * len(columns) + 200))
    figure.update_layout(
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"}
    )
    figure.update_xaxes(tickvals=places, ticktext=list(columns), tickangle=-60)
    return figure.update_yaxes(title_text="share of the logit difference")


def head_shares(
    shares: Float[np.ndarray, "layer head"],
    *,
    chosen: tuple[int, int] | None = None,
    title: str,
) -> go.Figure:
    """Layer x head grid around 0; the colours end where 1 % of the heads go beyond."""
    layers, heads = shares.shape
    names = [[f"L{layer}H{head}" for head in range(heads)] for layer in range(layers)]
    limit = max(float(np.quantile(np.abs(shares), 0.99)), 1e-6)
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            zmin=-limit,
            zmax=limit,
            colorscale=DIVERGING,
            colorbar={"title": {"text": f"share (±{limit:.2g})"}},
            xgap=1,
            ygap=1,
            hoverinfo="skip",
        )
    )
    figure.add_scatter(  # a heatmap tells of no click; these squares over it do
        x=np.tile(np.arange(heads), layers),
        y=np.repeat(np.arange(layers), heads),
        customdata=np.array(names).ravel(),
        text=[f"{share:.4f}" for share in shares.ravel()],
        mode="markers",
        marker={"symbol": "square", "size": 14, "opacity": 0},
        hovertemplate="%{customdata}: %{text}<extra></extra>",
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        showlegend=False,
    )
    if chosen is not None:
        y, x = chosen
        box = {"x0": x - 0.5, "x1": x + 0.5, "y0": y - 0.5, "y1": y + 0.5}
        figure.add_shape(**box, line={"color": LINE, "width": 2})
    frame(figure, title, side=max(360, 17 * layers + 150))
    return head_axes(figure, layers, heads)


def shares(
    values: Float[np.ndarray, " part"], *, names: Sequence[str], axis: str, title: str
) -> go.Figure:
    """One bar for each part of a share, blue for it and red against it."""
    figure = go.Figure(
        go.Bar(
            x=list(range(len(names))),
            y=values,
            customdata=[escaped(name) for name in names],
            marker_color=[DIVERGING[-1][1] if value >= 0 else DIVERGING[0][1] for value in values],
            hovertemplate="%{customdata}: %{y:.4f}<extra></extra>",
        )
    )
    frame(figure, title, side=480)
    figure.update_layout(width=max(500, 18 * len(names) + 200))
    ticks = list(range(0, len(names), -(-len(names) // _MOST_TICKS)))
    figure.update_xaxes(
        title_text=axis,
        tickvals=ticks,
        ticktext=[escaped(names[place]) for place in ticks],
        tickfont={"family": MONO, "size": 11},
        tickangle=-60,
    )
    return figure.update_yaxes(title_text="share of the logit difference")

"""Attention: scores of heads, patterns."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.figures.layout import (
    DIVERGING,
    FADING,
    GREY,
    check_labels,
    escaped,
    frame,
    grey_where_undefined,
    head_axes,
    token_axis,
)


def head_scores(
    scores: Float[np.ndarray, "layer head"], *, name: str, title: str, least: float = 1.0
) -> go.Figure:
    """Layer x head grid of one score from 0 to `least` or more; grey where it is not defined."""
    layers, heads = scores.shape
    labels = [[f"L{layer}H{head}" for head in range(heads)] for layer in range(layers)]
    top = float(np.nanmax(scores)) if np.isfinite(scores).any() else least
    figure = go.Figure(
        go.Heatmap(
            z=scores,
            zmin=0,
            zmax=max(least, top),
            colorscale=FADING,
            text=labels,
            hovertemplate="%{text}: %{z:.3f}<extra></extra>",
            colorbar={"title": {"text": name}},
            xgap=1,
            ygap=1,
            hoverongaps=False,
        )
    )
    grey_where_undefined(figure, scores, xgap=1, ygap=1)
    frame(figure, title)
    return head_axes(figure, layers, heads)


def pattern(
    weights: Float[np.ndarray, "query key"],
    *,
    tokens: Sequence[str],
    title: str,
    limit: float = 1.0,
    signed: bool = False,
) -> go.Figure:
    """One head's attention: query tokens down, key tokens across; `signed` for a difference."""
    check_labels("pattern", weights, tokens, tokens)
    figure = go.Figure(
        go.Heatmap(
            z=weights,
            zmin=-limit if signed else 0,
            zmax=limit,
            colorscale=DIVERGING if signed else FADING,
            customdata=[[escaped(f"{query} → {key}") for key in tokens] for query in tokens],
            hovertemplate="%{customdata}: %{z:.4f}<extra></extra>",
            colorbar={"title": {"text": "attention"}},
        )
    )
    frame(figure, title, side=max(500, 16 * len(tokens)))
    # Cells near 0 are the page's own colour.
    line = {"showgrid": False, "zeroline": False, "showline": True, "mirror": True}
    figure.update_xaxes(linecolor=GREY, **line)
    figure.update_yaxes(linecolor=GREY, **line)
    token_axis(figure.update_xaxes, tokens, "key (attended to)", tickangle=-60)
    token_axis(figure.update_yaxes, tokens, "query (attends from)", autorange="reversed")
    return figure

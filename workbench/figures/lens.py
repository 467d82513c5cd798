"""The logit lens."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.figures.layout import MONO, SEQUENTIAL, check_labels, escaped, frame, token_axis


def lens(
    value: Float[np.ndarray, "layer pos"],
    *,
    top: Sequence[Sequence[str]],
    tokens: Sequence[str],
    layers: Sequence[str],
    name: str,
    title: str,
) -> go.Figure:
    """Position x layer table of top-1 tokens shaded by `value`; the last layer is on top."""
    check_labels("lens", value, layers, tokens)
    peak = 1.0 if name == "probability" else float(np.nanmax(value))
    figure = go.Figure(
        go.Heatmap(
            z=value,
            zmin=0,
            zmax=peak,
            colorscale=SEQUENTIAL,
            text=[[escaped(token) for token in row] for row in top],
            texttemplate="%{text}",
            textfont={"family": MONO, "size": 10},
            hovertemplate=f"%{{text}}<br>{name} %{{z:.3f}}<extra></extra>",
            colorbar={"title": {"text": name}},
        )
    )
    frame(figure, title)
    figure.update_layout(width=max(700, 72 * len(tokens) + 200), height=20 * len(layers) + 220)
    token_axis(figure.update_xaxes, tokens, "position", tickangle=-60)
    figure.update_yaxes(
        title_text="after layer", tickvals=list(range(len(layers))), ticktext=list(layers)
    )
    return figure


def ranks(
    rank: Float[np.ndarray, " layer"],
    prob: Float[np.ndarray, " layer"],
    *,
    layers: Sequence[str],
    title: str,
) -> go.Figure:
    """One token's rank over the layers, 1 (the most likely) on top of a log axis."""
    figure = go.Figure(
        go.Scatter(
            x=list(range(len(layers))),
            y=rank,
            customdata=prob,
            mode="lines+markers",
            hovertemplate="rank %{y}, p = %{customdata:.4f}<extra></extra>",
        )
    )
    frame(figure, title, side=400)
    figure.update_xaxes(title_text="after layer", ticktext=list(layers), tickmode="array")
    figure.update_xaxes(tickvals=list(range(len(layers))), tickangle=-60)
    return figure.update_yaxes(title_text="rank", type="log", autorange="reversed")

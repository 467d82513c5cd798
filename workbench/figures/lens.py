"""The logit lens, and the tuned one beside it."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.figures.layout import (
    CATEGORIES,
    MONO,
    SEQUENTIAL,
    check_labels,
    escaped,
    frame,
    token_axis,
)


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


def divergence(
    kl: Mapping[str, Float[np.ndarray, " layer"]],
    errors: Mapping[str, Float[np.ndarray, " layer"]],
    *,
    layers: Sequence[str],
    title: str,
) -> go.Figure:
    """KL to the output by layer, one line for each lens, with 95 % intervals, on a log axis.

    Where it is 0 (the last layer) there is no point: a log axis has no 0.
    """
    places = list(range(len(layers)))
    for name in kl:
        check_labels(f"KL of the {name}", np.stack([kl[name], errors[name]]), ("", ""), layers)
    figure = go.Figure(
        [
            go.Scatter(
                name=name,
                x=places,
                y=np.where(values > 0, values, np.nan),
                error_y={"type": "data", "array": 1.96 * errors[name], "thickness": 1, "width": 2},
                mode="lines+markers",
                marker_color=colour,
                hovertemplate="%{y:.3f} nats<extra>%{x}</extra>",
            )
            for (name, values), colour in zip(kl.items(), CATEGORIES, strict=False)
        ]
    )
    frame(figure, title, side=440)
    figure.update_layout(legend={"x": 1, "xanchor": "right", "y": 1, "yanchor": "top"})
    figure.update_xaxes(
        title_text="after layer", tickvals=places, ticktext=list(layers), tickangle=-60
    )
    return figure.update_yaxes(title_text="KL(final || lens), nats", type="log")

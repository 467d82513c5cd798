"""How far a direction moves a model, and next tokens as a table."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.figures.layout import CATEGORIES, GREY, LINE, MONO, escaped, frame


def strength_curve(
    strengths: Float[np.ndarray, " point"],
    kl: Float[np.ndarray, " point"],
    *,
    chosen: float,
    control: float,
    axis: str,
    title: str,
) -> go.Figure:
    """KL(plain || steered) in nats against strength, with a ring at the `chosen` one.

    A cross marks `control`, the KL that a random vector of the chosen length gives.
    Raises `ValueError` where `chosen` is not one of the strengths.
    """
    found = np.flatnonzero(strengths == chosen)
    if len(found) != 1:
        raise ValueError(f"{chosen:g} is not one of the {len(strengths)} strengths")
    at = int(found[0])
    still = {"marker": {"opacity": 1}}
    figure = go.Figure(
        go.Scatter(
            x=strengths,
            y=kl,
            mode="lines+markers",
            line_color=CATEGORIES[0],
            marker={"size": 9},
            hovertemplate="strength %{x:g}: %{y:.4f} nats<extra></extra>",
            selected=still,
            unselected=still,
        )
    )
    figure.add_scatter(
        x=strengths[at : at + 1],
        y=kl[at : at + 1],
        mode="markers",
        marker={
            "symbol": "circle-open",
            "size": 18,
            "color": CATEGORIES[1],
            "line": {"width": 3},
        },
        hoverinfo="none",
        selected=still,
        unselected=still,
    )
    figure.add_scatter(
        x=strengths[at : at + 1],
        y=[control],
        mode="markers+text",
        text=["random"],
        textposition="bottom left" if chosen < 0 else "bottom right",  # under the curve, outside
        textfont={"color": LINE},
        marker={"symbol": "x", "size": 9, "color": LINE},
        hovertemplate="a random vector as long: %{y:.4f} nats<extra></extra>",
        selected=still,
        unselected=still,
    )
    frame(figure, title, side=400)
    figure.update_layout(showlegend=False, hovermode="closest")
    figure.add_vline(x=0, line={"color": GREY, "width": 1})
    figure.update_xaxes(title_text=escaped(axis), zeroline=False)
    return figure.update_yaxes(title_text="KL(plain || steered), nats", rangemode="tozero")


def token_table(columns: Mapping[str, Sequence[str]], *, title: str) -> go.Figure:
    """Columns of text, one row for each rank."""
    figure = go.Figure(
        go.Table(
            header={"values": [escaped(name) for name in columns], "align": "left", "height": 28},
            cells={
                "values": [[escaped(cell) for cell in column] for column in columns.values()],
                "align": "left",
                "font": {"family": MONO},
                "height": 24,
            },
        )
    )
    frame(figure, title)
    rows = max(map(len, columns.values()), default=0)
    return figure.update_layout(height=24 * rows + 140, margin={"l": 30, "r": 30, "t": 60, "b": 20})

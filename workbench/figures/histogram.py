"""Histograms from counts: of activations, and bars of any width."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from workbench.figures.layout import CATEGORIES, GREY, frame


def activations(
    edges: Float[np.ndarray, " bins_and_one"], counts: Int[np.ndarray, " bins"], *, title: str
) -> go.Figure:
    """How often a neuron or latent says how much, on a log scale: most tokens lie near 0.

    Raises `ValueError` unless there is one edge more than counts.
    """
    if len(edges) != len(counts) + 1:
        raise ValueError(f"{len(counts)} counts need as many edges and one, not {len(edges)}")
    figure = bars(
        (edges[:-1] + edges[1:]) / 2,
        counts,
        width=np.diff(edges),
        told=[f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)],
        title=title,
    )
    figure.update_xaxes(title_text="activation", rangemode="tozero")
    return figure.update_yaxes(title_text="tokens", type="log", dtick=1)


def bars(
    x: np.ndarray, counts: np.ndarray, *, width: np.ndarray, told: Sequence[str], title: str
) -> go.Figure:
    """Counts around `x`; `told` is what each bar is called when one points at it."""
    figure = go.Figure()
    figure.add_bar(
        x=x,
        y=counts,
        width=width,
        customdata=told,
        marker={"color": CATEGORIES[0], "line": {"width": 0}},
        hovertemplate="%{customdata}: %{y:,}<extra></extra>",
    )
    frame(figure, title, side=320)
    figure.update_layout(bargap=0, margin={"l": 60, "r": 20, "t": 50, "b": 50})
    figure.update_xaxes(zeroline=False, gridcolor=GREY)
    return figure.update_yaxes(gridcolor=GREY, zeroline=False)

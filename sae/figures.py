"""Plotly figures of a dictionary's latents, from arrays; torch is not known here."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from workbench.figures import Figure
from workbench.figures.histogram import bars
from workbench.figures.layout import LINE, check_labels, escaped, frame

_BINS = 40


def density_histogram(
    densities: Float[np.ndarray, " latent"], *, dense: float = 0.1, title: str
) -> Figure:
    """Latents by the log10 of the share of rows in which they are active; dead ones are counted.

    A line marks the share from which latents are called `dense`.
    """
    alive = np.log10(densities[densities > 0])
    low = np.floor(alive.min()) if len(alive) else -5.0
    counts, edges = np.histogram(alive, _BINS, (low, 0.0))
    dead, many = int((densities == 0).sum()), int((densities > dense).sum())
    figure = bars(
        (edges[:-1] + edges[1:]) / 2,
        counts,
        width=np.diff(edges),
        told=[f"{10**low:.2g} to {10**high:.2g}" for low, high in pairwise(edges)],
        title=f"{title}: {len(densities):,} latents, {dead:,} dead, {many:,} dense",
    )
    figure.add_vline(x=np.log10(dense), line={"color": LINE, "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text="density (share of rows), log10", range=[low, 0])
    return figure.update_yaxes(title_text="latents")


def positions(
    counts: Int[np.ndarray, " part"], starts: Int[np.ndarray, " part"], *, title: str
) -> Figure:
    """How often a latent is active in each part of a context; parts begin at `starts`."""
    width = np.diff(starts, append=2 * starts[-1:] - starts[-2:-1] if len(starts) > 1 else 1)
    told = [
        f"position {first}" if wide == 1 else f"positions {first} to {first + wide - 1}"
        for first, wide in zip(starts, width, strict=True)
    ]
    figure = bars(starts + (width - 1) / 2, counts, width=width, told=told, title=title)
    figure.update_xaxes(title_text="position in the context")
    return figure.update_yaxes(title_text="tokens", rangemode="tozero")


def prompt_map(
    values: Float[np.ndarray, "pos latent"],
    tokens: Sequence[str],
    latents: Sequence[str],
    *,
    title: str,
) -> Figure:
    """What some latents say at each token of a prompt; NaN is where a dictionary is not asked."""
    check_labels("activations", values, tokens, latents)
    figure = Figure()
    figure.add_heatmap(
        z=values.T,
        x=list(range(len(tokens))),
        y=list(range(len(latents))),
        colorscale=[(0.0, "rgba(25, 105, 200, 0)"), (1.0, "rgba(25, 105, 200, 1)")],
        zmin=0,
        colorbar={"title": {"text": "activation"}, "thickness": 12},
        hovertemplate="token %{x}, latent %{y}: %{z:.3f}<extra></extra>",
    )
    frame(figure, title, side=200 + 22 * len(latents))
    figure.update_layout(width=max(560, 26 * len(tokens) + 260))
    figure.update_xaxes(
        tickvals=list(range(len(tokens))), ticktext=[escaped(one) for one in tokens]
    )
    return figure.update_yaxes(tickvals=list(range(len(latents))), ticktext=latents)

"""Grokking, drawn: curves with the present epoch, waves, circles, maps over pairs."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from workbench.figures.layout import CATEGORIES, DIVERGING, FADING, LINE, check_labels, frame

Curve = tuple[Sequence[int], Sequence[float]]  # epochs, values
LOSSES = ("train loss", "test loss", "restricted loss", "excluded loss")
FLOOR = 1e-8  # of a log scale: float32 has no smaller loss to tell
_STYLES = {
    "train loss": (CATEGORIES[0], "solid"),
    "test loss": (CATEGORIES[1], "solid"),
    "restricted loss": (CATEGORIES[3], "dash"),
    "excluded loss": ("#CC79A7", "dot"),
    "Gini of the embedding": ("#56B4E9", "solid"),
    "variance in key frequencies": ("#D55E00", "dashdot"),
    "test accuracy": (CATEGORIES[1], "dot"),
}
_MOST_NAMED = 61
_TALL, _SMALL = 560, 440  # pixels
_THIN = {"thickness": 12, "len": 0.9}  # a colour bar beside a map that is not wide


def progress(curves: Mapping[str, Curve], *, title: str, epoch: int | None = None) -> go.Figure:
    """Losses on a log scale above, shares from 0 to 1 below; a line at the present epoch.

    A curve named in `LOSSES` is a loss in nats, any other a share.
    """
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.62, 0.38], vertical_spacing=0.05)
    for number, (name, (epochs, values)) in enumerate(curves.items()):
        colour, dash = _STYLES.get(name, (CATEGORIES[number % len(CATEGORIES)], "solid"))
        figure.add_scatter(
            x=list(epochs),
            y=list(np.maximum(values, FLOOR) if name in LOSSES else values),
            name=name,
            mode="lines+markers" if len(epochs) < 40 else "lines",
            line={"color": colour, "dash": dash},
            marker={"size": 5},
            hovertemplate=f"{name}, epoch %{{x:,}}: %{{y:.4g}}<extra></extra>",
            row=1 if name in LOSSES else 2,
            col=1,
        )
    if epoch is not None:
        figure.add_vline(x=epoch, line={"color": LINE, "width": 2, "dash": "dash"})
    frame(figure, title, side=_TALL)
    figure.update_layout(
        width=None,
        margin={"l": 70, "r": 20, "t": 50, "b": 120},
        title={"y": 0.97},
        legend={"orientation": "h", "x": 0, "yref": "container", "y": 0.01, "yanchor": "bottom"},
    )
    figure.update_yaxes(title_text="loss (nats)", type="log", exponentformat="power", row=1, col=1)
    figure.update_yaxes(title_text="share", range=[-0.02, 1.02], row=2, col=1)
    return figure.update_xaxes(title_text="epoch", tickformat=",", row=2, col=1)


def frequencies(
    norms: Float[np.ndarray, " half_p"], keys: Sequence[int], *, title: str
) -> go.Figure:
    """Size of each frequency 1, 2, ... as bars; key frequencies in another colour, outlined."""
    number = np.arange(1, len(norms) + 1)
    figure = go.Figure()
    for name, shown, colour in (
        ("key frequency", np.isin(number, list(keys)), CATEGORIES[1]),
        ("other", ~np.isin(number, list(keys)), CATEGORIES[0]),
    ):
        figure.add_bar(
            x=number[shown],
            y=np.asarray(norms)[shown],
            name=name,
            width=0.85,  # else a trace of few, distant keys has bars as wide as their gaps
            marker={
                "color": colour,
                "line": {"width": 1.5 if name != "other" else 0, "color": LINE},
            },
            hovertemplate="frequency %{x}: %{y:.3f}<extra>" + name + "</extra>",
        )
    frame(figure, title, side=_SMALL)
    figure.update_layout(
        width=None,
        barmode="overlay",
        showlegend=bool(keys),
        margin={"l": 70, "r": 20, "t": 60, "b": 50},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom"},
    )
    figure.update_yaxes(title_text="norm of cosine and sine", rangemode="tozero")
    return figure.update_xaxes(title_text="frequency (turns in p residues)")


def circle(points: Float[np.ndarray, "p 2"], frequency: int, *, title: str) -> go.Figure:
    """Residues in the plane of a frequency, joined in the order in which it turns through them.

    The order is that of frequency * t modulo p: with a circle learnt, the line is round.
    """
    p = len(points)
    turn = frequency * np.arange(p) % p
    order = np.argsort(turn, kind="stable")
    order = np.append(order, order[0])
    figure = go.Figure(
        go.Scatter(
            x=points[order, 0],
            y=points[order, 1],
            mode="lines",
            line={"color": LINE, "width": 1},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    figure.add_scatter(
        x=points[:, 0],
        y=points[:, 1],
        mode="markers+text",
        text=[str(t) for t in range(p)] if p <= _MOST_NAMED else _sparse(order, p),
        textposition="top center",
        textfont={"size": 10},
        marker={"size": 7, "color": CATEGORIES[0]},
        customdata=np.arange(p),
        hovertemplate="residue %{customdata}: %{x:.3f}, %{y:.3f}<extra></extra>",
        showlegend=False,
    )
    frame(figure, title, side=_SMALL)
    figure.update_layout(width=None, margin={"l": 60, "r": 20, "t": 60, "b": 50})
    figure.update_xaxes(title_text=f"along cos(2π·{frequency}t/p)", constrain="domain")
    return figure.update_yaxes(
        title_text=f"along sin(2π·{frequency}t/p)", scaleanchor="x", constrain="domain"
    )


def _sparse(order: np.ndarray, p: int) -> list[str]:
    """Names for every fourth residue along the line, so that they can be read."""
    named = set(order[:-1:4].tolist())
    return [str(t) if t in named else "" for t in range(p)]


def pair_map(
    values: Float[np.ndarray, "p p"], *, name: str, title: str, signed: bool = True
) -> go.Figure:
    """A number for each pair: a by row, b by column."""
    limit = float(np.abs(values).max()) or 1.0
    figure = go.Figure(
        go.Heatmap(
            z=values,
            zmin=-limit if signed else 0,
            zmax=limit,
            colorscale=DIVERGING if signed else FADING,
            hovertemplate="a %{y}, b %{x}: %{z:.4f}<extra></extra>",
            colorbar={"title": {"text": name, "side": "right"}, **_THIN},
        )
    )
    frame(figure, title, side=_SMALL)
    figure.update_layout(width=None, margin={"l": 60, "r": 20, "t": 60, "b": 50})
    figure.update_xaxes(title_text="b", showgrid=False)
    return figure.update_yaxes(title_text="a", autorange="reversed", showgrid=False)


def spectrum_map(
    values: Float[np.ndarray, "p p"], names: Sequence[str], *, title: str
) -> go.Figure:
    """How much of each product of two waves there is: of a by row, of b by column.

    The product of the two constants is left out; it would outshine all others.
    """
    check_labels("spectrum", values, names, names)
    shown = np.abs(np.asarray(values, dtype=float))
    shown[0, 0] = 0
    figure = go.Figure(
        go.Heatmap(
            x=list(names),
            y=list(names),
            z=shown,
            zmin=0,
            colorscale=FADING,
            hovertemplate="%{y} of a, %{x} of b: %{z:.4f}<extra></extra>",
            colorbar={"title": {"text": "size", "side": "right"}, **_THIN},
        )
    )
    frame(figure, title, side=_SMALL)
    figure.update_layout(width=None, margin={"l": 80, "r": 20, "t": 60, "b": 70})
    every = -(-len(names) // 10)
    ticks = {
        "type": "category",  # one of them is named 1
        "tickvals": list(names[::every]),
        "tickfont": {"size": 10},
        "showgrid": False,
    }
    figure.update_xaxes(title_text="wave of b", tickangle=-60, **ticks)
    return figure.update_yaxes(title_text="wave of a", autorange="reversed", **ticks)

"""A circuit drawn as a graph of layers, and how much of the metric circuits keep by their size."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.figures.layout import CATEGORIES, DIVERGING, LINE, MONO, escaped, frame

_WIDEST = 9.0
_MOST = 150  # edges drawn: more cannot be told apart
_BENDS = 13  # points of an arc


def circuit(
    edges: Sequence[tuple[str, str, str, float]], *, layers: int, heads: int, title: str
) -> go.Figure:
    """A circuit's strongest edges between its components, layer by layer.

    `edges` are the sender (`embed`, `L0H1`, `L0.mlp`), the component that reads (or `logits`), the
    edge's name, and its share: the wider, the more it matters; blue helps the clean answer, red
    and dashed works against it. Heads stand above each other by their number, MLPs above all
    heads; edges are arcs, so that those along one line can be told apart.
    """
    drawn = sorted(edges, key=lambda edge: -abs(edge[3]))[:_MOST]
    if len(drawn) < len(edges):
        title += f", the {len(drawn)} strongest drawn"
    figure = go.Figure()
    most = max((abs(share) for *_, share in drawn), default=0.0) or 1.0
    nodes = {
        name: _place(name, layers, heads)
        for name in dict.fromkeys(name for edge in drawn for name in edge[:2])
    }
    top = heads - 1.0
    for sender, reader, _, share in reversed(drawn):
        x, y = _arc(nodes[sender], nodes[reader])
        top = max(top, float(y.max()))
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line={
                "width": max(1.0, _WIDEST * abs(share) / most),
                "color": _colour(share),
                "dash": "solid" if share >= 0 else "dash",
                "shape": "spline",
            },
            opacity=0.5 + 0.4 * abs(share) / most,
            hoverinfo="skip",
        )
    _handles(figure, nodes, drawn)
    _nodes(figure, nodes, layers)
    frame(figure, title, side=600)
    figure.update_layout(
        showlegend=False, width=1080, hovermode="closest", margin={"l": 60, "r": 20, "b": 60}
    )
    _axes(figure, nodes, layers, heads, top)
    return figure


def _place(name: str, layers: int, heads: int) -> tuple[float, float]:
    """Layer and height of a component; an MLP stands a little behind its layer's heads."""
    if name in ("embed", "logits"):
        apart = _apart(layers)
        return (-apart if name == "embed" else layers - 1 + apart), (heads - 1) / 2
    if name.endswith(".mlp"):
        return int(name[1:].removesuffix(".mlp")) + 0.4, float(heads)
    layer, head = name[1:].split("H")
    return float(layer), float(head)


def _apart(layers: int) -> float:
    """How far the ends stand from the first and the last layer: their names need room."""
    return 1.0 if layers <= 16 else 2.0


def _arc(
    start: tuple[float, float], end: tuple[float, float]
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Points of a flat arc: an edge that spans more layers bends further."""
    along = np.linspace(0, 1, _BENDS)
    x = start[0] + along * (end[0] - start[0])
    bend = 0.06 * (end[0] - start[0]) * 4 * along * (1 - along)
    return x, start[1] + along * (end[1] - start[1]) + bend


def _nodes(figure: go.Figure, nodes: Mapping[str, tuple[float, float]], layers: int) -> None:
    """A mark for each component with its head's number in it; the layer stands on the axis."""
    few = layers <= 16
    figure.add_scatter(
        x=[x for x, _ in nodes.values()],
        y=[y for _, y in nodes.values()],
        text=[_short(name, few) for name in nodes],
        customdata=[escaped(name) for name in nodes],
        mode="markers+text",
        textposition="middle center",
        textfont={"family": MONO, "size": 11 if few else 10, "color": "black"},
        marker={
            "size": 24 if few else 17,
            "symbol": ["square" if name.endswith(".mlp") else "circle" for name in nodes],
            "color": CATEGORIES[1],
            "opacity": 1,
            "line": {"color": LINE, "width": 1},
        },
        hovertemplate="%{customdata}<extra></extra>",
    )


def _short(name: str, few: bool) -> str:
    """What fits into a mark: `H3` or `3` of `L12H3`; an axis names the ends and the MLPs."""
    if name in ("embed", "logits"):
        return ""
    if name.endswith(".mlp"):
        return "M"
    head = name.split("H")[1]
    return f"H{head}" if few else head


def _axes(
    figure: go.Figure,
    nodes: Mapping[str, tuple[float, float]],
    layers: int,
    heads: int,
    top: float,
) -> None:
    """Layers across; heads, and MLPs where there are any, up to the highest arc."""
    apart = _apart(layers)
    every = 1 if layers <= 16 else 5
    ticks = range(0, layers, every)
    figure.update_xaxes(
        title_text="layer",
        tickvals=[-apart, *ticks, layers - 1 + apart],
        tickangle=0,
        ticktext=["embed", *map(str, ticks), "logits"],
        range=[-1.9 * apart, layers - 1 + 1.9 * apart],
        showgrid=False,
        zeroline=False,
    )
    every = 1 if heads <= 16 else 4
    rows = [*range(0, heads, every)]
    names = [f"H{head}" for head in rows]
    if any(name.endswith(".mlp") for name in nodes):
        rows, names = [*rows, heads], [*names, "MLP"]
    figure.update_yaxes(
        tickvals=rows,
        ticktext=names,
        range=[-0.7, max(top, *rows) + 0.7],
        showgrid=False,
        zeroline=False,
    )


def faithfulness(
    fractions: Sequence[float],
    curves: Mapping[
        str,
        tuple[
            Float[np.ndarray, " fraction"],
            Float[np.ndarray, " fraction"],
            Float[np.ndarray, " fraction"],
        ],
    ],
    *,
    title: str,
) -> go.Figure:
    """How much of the metric circuits keep by the share of edges that they have.

    Each curve has a name, and its mean and bounds. 1 is the whole model, 0 the empty circuit.
    """
    figure = go.Figure()
    for number, (name, (mean, low, high)) in enumerate(curves.items()):
        figure.add_scatter(
            x=list(fractions),
            y=mean,
            name=name,
            mode="lines+markers",
            line={"color": CATEGORIES[number % len(CATEGORIES)]},
            error_y={"array": high - mean, "arrayminus": mean - low, "thickness": 1},
            hovertemplate="%{x:.1%} of edges: %{y:.3f}<extra></extra>",
        )
    frame(figure, title, side=420)
    for level in (0, 1):
        figure.add_hline(y=level, line={"color": LINE, "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text="share of all edges kept", type="log", tickformat=".1%")
    return figure.update_yaxes(title_text="faithfulness")


def _handles(
    figure: go.Figure,
    nodes: Mapping[str, tuple[float, float]],
    edges: Sequence[tuple[str, str, str, float]],
) -> None:
    """Points that tell an edge's name when the pointer is near its middle: lines tell none."""
    arcs = [_arc(nodes[sender], nodes[reader]) for sender, reader, *_ in edges]
    figure.add_scatter(
        x=[x[_BENDS // 2] for x, _ in arcs],
        y=[y[_BENDS // 2] for _, y in arcs],
        text=[f"{escaped(name)}: {share:+.3f}" for *_, name, share in edges],
        mode="markers",
        marker={"size": 4, "color": [_colour(share) for *_, share in edges]},
        hovertemplate="%{text}<extra></extra>",
    )


def _colour(share: float) -> str:
    return DIVERGING[-1][1] if share >= 0 else DIVERGING[0][1]

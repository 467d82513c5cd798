"""Plotly figures from arrays and labels. They neither show nor save; torch is not known here."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.io import to_html

SEQUENTIAL = "Blues"
_MONO = "ui-monospace, Menlo, Consolas, monospace"
_GREY = "rgba(128, 128, 128, 0.35)"  # where a value is not defined


def head_scores(scores: Float[np.ndarray, "layer head"], *, name: str, title: str) -> go.Figure:
    """Layer x head grid of one score; grey where it is not defined."""
    layers, heads = scores.shape
    labels = [[f"L{layer}H{head}" for head in range(heads)] for layer in range(layers)]
    top = float(np.nanmax(scores)) if np.isfinite(scores).any() else 1.0
    figure = go.Figure(
        go.Heatmap(
            z=scores,
            zmin=0,
            zmax=max(1.0, top),
            colorscale=SEQUENTIAL,
            text=labels,
            hovertemplate="%{text}: %{z:.3f}<extra></extra>",
            colorbar={"title": {"text": name}},
            xgap=1,
            ygap=1,
            hoverongaps=False,
        )
    )
    _frame(figure, title)
    figure.update_xaxes(title_text="head", dtick=1)
    figure.update_yaxes(title_text="layer", autorange="reversed", dtick=1 if layers <= 16 else 5)
    return figure.update_layout(plot_bgcolor=_GREY)


def pattern(
    weights: Float[np.ndarray, "query key"], *, tokens: Sequence[str], title: str
) -> go.Figure:
    """One head's attention: query tokens down, key tokens across."""
    _check_labels("pattern", weights, tokens, tokens)
    figure = go.Figure(
        go.Heatmap(
            z=weights,
            zmin=0,
            zmax=1,
            colorscale=SEQUENTIAL,
            customdata=[[_text(f"{query} → {key}") for key in tokens] for query in tokens],
            hovertemplate="%{customdata}: %{z:.4f}<extra></extra>",
            colorbar={"title": {"text": "attention"}},
        )
    )
    _frame(figure, title, side=max(500, 16 * len(tokens)))
    _token_axis(figure.update_xaxes, tokens, "key (attended to)", tickangle=-60)
    _token_axis(figure.update_yaxes, tokens, "query (attends from)", autorange="reversed")
    return figure


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
    _check_labels("lens", value, layers, tokens)
    peak = 1.0 if name == "probability" else float(np.nanmax(value))
    figure = go.Figure(
        go.Heatmap(
            z=value,
            zmin=0,
            zmax=peak,
            colorscale=SEQUENTIAL,
            text=[[_text(token) for token in row] for row in top],
            texttemplate="%{text}",
            textfont={"family": _MONO, "size": 10},
            hovertemplate=f"%{{text}}<br>{name} %{{z:.3f}}<extra></extra>",
            colorbar={"title": {"text": name}},
        )
    )
    _frame(figure, title)
    figure.update_layout(width=max(700, 72 * len(tokens) + 200), height=20 * len(layers) + 220)
    _token_axis(figure.update_xaxes, tokens, "position", tickangle=-60)
    figure.update_yaxes(
        title_text="after layer", tickvals=list(range(len(layers))), ticktext=list(layers)
    )
    return figure


def page(figures: Sequence[go.Figure], *, title: str, note: str) -> str:
    """A self-contained HTML page: the figures, Plotly itself, and a line of what was computed."""
    bodies = [
        to_html(figure, full_html=False, include_plotlyjs=index == 0)
        for index, figure in enumerate(figures)
    ]
    head = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{_text(title)}</title>"
    )
    style = "<style>body{font-family:system-ui,sans-serif;margin:2rem;max-width:80rem}</style>"
    body = (
        f"</head><body><h1>{_text(title)}</h1><p>{_text(note)}</p>{''.join(bodies)}</body></html>"
    )
    return head + style + body


def _text(text: str) -> str:
    """Escaped: Plotly reads tags in every text it draws, and a token may be `<b>`."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _check_labels(what: str, z: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    if z.shape != (len(rows), len(columns)):
        raise ValueError(
            f"{what} of shape {z.shape} needs {z.shape[0]} row and {z.shape[1]} column labels, "
            f"got {len(rows)} and {len(columns)}"
        )


def _frame(figure: go.Figure, title: str, side: int = 620) -> None:
    figure.update_layout(
        title={"text": _text(title), "font": {"size": 15}},
        template="plotly_white",
        width=side + 160,
        height=side,
        margin={"l": 90, "r": 30, "t": 60, "b": 90},
    )


def _token_axis(update, tokens: Sequence[str], title: str, **more) -> None:
    """Ticks by position: tokens repeat, and equal category labels would be merged."""
    update(
        title_text=title,
        tickvals=list(range(len(tokens))),
        ticktext=[_text(token) for token in tokens],
        tickfont={"family": _MONO, "size": 11},
        **more,
    )

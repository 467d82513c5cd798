"""Plotly figures of probes, from arrays and labels; neither torch nor models are known here."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int8

from workbench.figures import Figure
from workbench.figures.layout import CATEGORIES, GREY, LINE, STILL, escaped, frame, ring

Interval = tuple[
    Float[np.ndarray, " layer"], Float[np.ndarray, " layer"], Float[np.ndarray, " layer"]
]
_SYMBOLS = ("circle", "square", "diamond", "x")
_WRONG = "#D55E00"
_CURVES = (CATEGORIES[0], _WRONG)  # the colours of no control
_DISCS = ("#111111", "#ffffff")


def accuracy_by_layer(
    layers: Sequence[str],
    curves: Mapping[str, Interval],
    chance: Mapping[str, Float[np.ndarray, " layer"]],
    *,
    chosen: tuple[str, int] | None = None,
    title: str,
) -> Figure:
    """Accuracy with its bounds for each sort of probe, dotted what the commonest class gives.

    A ring marks the `chosen` curve and layer. Points carry the layer's name as `customdata`.
    """
    figure = Figure()
    places = list(range(len(layers)))
    for number, (name, (mean, low, high)) in enumerate(curves.items()):
        colour = _CURVES[number % len(_CURVES)]
        figure.add_scatter(
            name=escaped(name),
            x=places,
            y=mean,
            error_y={"array": high - mean, "arrayminus": mean - low, "thickness": 1},
            customdata=list(layers),
            mode="lines+markers",
            line_color=colour,
            marker={"size": 9, "symbol": _SYMBOLS[number % len(_SYMBOLS)]},
            hovertemplate="%{customdata}: %{y:.3f}<extra></extra>",
            selected=STILL,
            unselected=STILL,
        )
        figure.add_scatter(
            name=escaped(f"{name}: commonest class"),
            x=places,
            y=chance[name],
            mode="lines",
            line={"color": colour, "dash": "dot", "width": 1.5},
            hovertemplate="%{y:.3f}<extra></extra>",
        )
    if chosen is not None:
        name, at = chosen
        ring(figure, at, float(curves[name][0][at]))
    frame(figure, title, side=480)
    below = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
    figure.update_layout(hovermode="closest", legend=below)
    figure.update_xaxes(title_text="after layer", tickvals=places, ticktext=list(layers))
    return figure.update_yaxes(title_text="accuracy", range=[0, 1.02])


def board(
    held: Int8[np.ndarray, " square"],
    read: Float[np.ndarray, "square class"],
    legal: Bool[np.ndarray, " square"],
    *,
    names: Sequence[str],
    last: int,
    title: str,
) -> Figure:
    """A board: discs (0 black, 1 white, 2 empty), a ring of the class that is read, errors boxed.

    Dots are legal moves, a cross is the last one. Raises `ValueError` unless the board is square.
    """
    size = round(len(held) ** 0.5)
    if size**2 != len(held) or len(names) != len(held):
        raise ValueError(f"{len(held)} squares with {len(names)} names are no square board")
    rows, columns = np.divmod(np.arange(len(held)), size)
    answer = read.argmax(1)
    figure = Figure()

    def marks(where: np.ndarray, name: str, **marker) -> None:
        figure.add_scatter(
            x=columns[where],
            y=rows[where],
            customdata=[names[square] for square in np.flatnonzero(where).tolist()],
            name=name,
            mode="markers",
            marker=marker,
            hovertemplate="%{customdata}<extra>" + name + "</extra>",
        )

    for side, (word, colour) in enumerate(zip(("black", "white"), _DISCS, strict=True)):
        edge = {"color": LINE, "width": 1.5}
        marks(held == side, word, size=26, color=colour, line=edge)
        marks(
            answer == side,
            f"read as {word}",
            symbol="circle-open",
            size=40,
            color=colour if side == 0 else "#56B4E9",
            line={"width": 3},
        )
    marks(answer != held, "error", symbol="square-open", size=50, color=_WRONG, line={"width": 3})
    marks(legal, "legal", size=8, color=CATEGORIES[0])
    marks(np.arange(len(held)) == last, "last move", symbol="x", size=9, color=_WRONG)
    frame(figure, title, side=60 * size + 170)
    ticks, around = list(range(size)), [-0.5, size - 0.5]
    figure.update_layout(plot_bgcolor="#c3ced9", legend={"itemsizing": "constant"})
    letters = list("abcdefgh"[:size])
    figure.update_xaxes(tickvals=ticks, ticktext=letters, range=around, side="top", gridcolor=GREY)
    return figure.update_yaxes(
        tickvals=ticks,
        ticktext=[str(row + 1) for row in ticks],
        range=around[::-1],
        scaleanchor="x",
        gridcolor=GREY,
    )


def move_bars(
    names: Sequence[str],
    legality: Sequence[str],
    rows: Mapping[str, Float[np.ndarray, " square"]],
    *,
    title: str,
) -> Figure:
    """The probability of each square as the next move, a bar for each of `rows`.

    `legality` stands under a square's name. Raises `ValueError` for rows of another length.
    """
    if any(len(values) != len(names) for values in (legality, *rows.values())):
        raise ValueError(f"rows and legality need {len(names)} values, one for each square")
    figure = Figure()
    for number, (name, values) in enumerate(rows.items()):
        figure.add_bar(
            name=escaped(name),
            x=list(range(len(names))),
            y=values,
            marker={
                "color": CATEGORIES[number % len(CATEGORIES)],
                "pattern": {"shape": ("", "/", ".")[number % 3]},
            },
            customdata=[f"{square}, {how}" for square, how in zip(names, legality, strict=True)],
            hovertemplate="%{customdata}: %{y:.4f}<extra></extra>",
        )
    frame(figure, title, side=420)
    figure.update_layout(barmode="group", width=max(620, 46 * len(names) + 200))
    labels = [f"{square}<br>{how}" for square, how in zip(names, legality, strict=True)]
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=labels, tickangle=0)
    return figure.update_yaxes(title_text="probability of the next move")

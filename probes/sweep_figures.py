"""Plotly figures of a sweep of probes, from arrays and labels; torch is not known here."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

import numpy as np
from jaxtyping import Float, Int

from workbench.figures import Figure
from workbench.figures.layout import (
    CATEGORIES,
    FADING,
    GREY,
    LINE,
    STILL,
    check_labels,
    escaped,
    frame,
    ring,
    token_axis,
)

# Told apart by dash and marker as well as by colour (Okabe and Ito's).
CONTROLS = {
    "random weights": (CATEGORIES[1], "dash", "square"),
    "embedding only": (CATEGORIES[3], "dashdot", "diamond"),
    "control task": ("#CC79A7", "dot", "x"),
    "shuffled labels": ("#56B4E9", "dot", "triangle-up"),
    "commonest class": (LINE, "longdash", "line-ew"),
}
TITLE = 60  # characters in a line, which a narrow page has room for


def accuracy_and_controls(
    sites: Sequence[str],
    columns: Mapping[str, Float[np.ndarray, " site"]],
    *,
    chosen: int | None = None,
    title: str,
) -> Figure:
    """A probe's accuracy with its interval at each site, and all controls beside it.

    `columns` are `accuracy`, `low`, `high` and any of `CONTROLS`. Points carry the site's name as
    `customdata`; a ring marks the `chosen` one. Raises `ValueError` for columns of other lengths.
    """
    if any(len(values) != len(sites) for values in columns.values()):
        raise ValueError(f"{len(sites)} sites need as many values in every column")
    places = list(range(len(sites)))
    accuracy, low, high = (columns[name] for name in ("accuracy", "low", "high"))
    figure = Figure()
    how = {"mode": "lines+markers", "selected": STILL, "unselected": STILL}
    figure.add_scatter(
        name="probe",
        x=places,
        y=accuracy,
        error_y={
            "array": np.nan_to_num(high - accuracy),
            "arrayminus": np.nan_to_num(accuracy - low),
            "thickness": 1,
        },
        customdata=list(sites),
        line={"color": CATEGORIES[0], "width": 3},
        marker={"size": 9},
        hovertemplate="%{customdata}: %{y:.3f}<extra>probe</extra>",
        **how,
    )
    add_controls(figure, sites, {name: columns[name] for name in CONTROLS if name in columns})
    if chosen is not None:
        ring(figure, chosen, float(accuracy[chosen]))
    frame(figure, title, side=400)
    lines = "<br>".join(escaped(line) for line in wrap(title, TITLE))
    figure.update_layout(title_text=lines, hovermode="closest", width=760)
    every = -(-len(sites) // 12)
    figure.update_xaxes(tickvals=places[::every], ticktext=list(sites)[::every], tickangle=-45)
    return figure.update_yaxes(title_text="accuracy on test documents", range=[0, 1.04])


def add_controls(
    figure: Figure, sites: Sequence[str], controls: Mapping[str, Float[np.ndarray, " site"]]
) -> None:
    """A line for each of `CONTROLS`, but for those that are NaN everywhere: they were not made."""
    for name, values in controls.items():
        if bool(np.isnan(values).all()):
            continue
        colour, dash, symbol = CONTROLS[name]
        figure.add_scatter(
            name=name,
            x=list(range(len(sites))),
            y=values,
            customdata=list(sites),
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2},
            marker={"size": 7, "symbol": symbol},
            hovertemplate=f"%{{customdata}}: %{{y:.3f}}<extra>{name}</extra>",
            selected=STILL,
            unselected=STILL,
        )


def confusion(
    counts: Int[np.ndarray, "true answered"], classes: Sequence[str], *, title: str
) -> Figure:
    """Shares of each true class by answer (rows sum to 1), the counts in the cells."""
    check_labels("confusion", counts, classes, classes)
    sums = counts.sum(1, keepdims=True)
    shares = np.divide(counts, sums, out=np.zeros(counts.shape), where=sums > 0)
    names = [escaped(name) for name in classes]
    figure = Figure()
    figure.add_heatmap(
        z=shares,
        x=list(range(len(names))),
        y=list(range(len(names))),
        customdata=counts,
        colorscale=FADING,
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": "share"}, "thickness": 12},
        hovertemplate="true class %{y}, answer %{x}: %{customdata:,}, %{z:.3f}<extra></extra>",
    )
    cells = [(row, column) for row in range(len(names)) for column in range(len(names))]
    figure.add_scatter(
        x=[column for _, column in cells],
        y=[row for row, _ in cells],
        text=[f"{int(counts[cell]):,}" for cell in cells],
        # Plotly's own choice of colour knows only a white page.
        textfont={"color": ["white" if shares[cell] > 0.5 else LINE for cell in cells]},
        mode="text",
        hoverinfo="skip",
        showlegend=False,
    )
    frame(figure, title, side=400)
    axis = {"tickvals": list(range(len(names))), "ticktext": names}
    axis |= {"showgrid": False, "zeroline": False, "range": [-0.5, len(names) - 0.5]}
    figure.update_xaxes(title_text="answer", **axis)
    axis["range"] = axis["range"][::-1]
    return figure.update_yaxes(title_text="true class", **axis)


def reliability(
    confidence: Sequence[float],
    accuracy: Sequence[float],
    count: Sequence[int],
    *,
    error: float,
    title: str,
) -> Figure:
    """How often answers of each confidence are right; on the diagonal a probe knows itself.

    The area of a point is the share of answers in its bin; `error` is the expected calibration
    error. Raises `ValueError` for lengths that differ.
    """
    if not len(confidence) == len(accuracy) == len(count):
        raise ValueError("confidence, accuracy and count need one value for each bin")
    kept = [n for n in range(len(count)) if count[n]]
    total = max(1, sum(count))
    figure = Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": LINE, "dash": "dot"}, hoverinfo="none"
    )
    figure.add_scatter(
        x=[confidence[n] for n in kept],
        y=[accuracy[n] for n in kept],
        customdata=[count[n] for n in kept],
        mode="lines+markers",
        line={"color": CATEGORIES[0], "width": 1},
        marker={"size": [6 + 34 * (count[n] / total) ** 0.5 for n in kept], "sizemin": 6},
        hovertemplate="confidence %{x:.2f}: %{y:.3f} right of %{customdata:,}<extra></extra>",
    )
    frame(figure, title, side=400)
    figure.update_layout(showlegend=False, hovermode="closest")
    above = {"xref": "paper", "yref": "paper", "x": 1, "y": 1, "xanchor": "right"}
    figure.add_annotation(text=f"ECE {error:.3f}", showarrow=False, yanchor="bottom", **above)
    figure.update_xaxes(title_text="confidence", range=[0, 1.07], gridcolor=GREY)
    return figure.update_yaxes(title_text="share right", range=[0, 1.09], gridcolor=GREY)


def token_shares(
    shares: Float[np.ndarray, "pos class"],
    tokens: Sequence[str],
    classes: Sequence[str],
    *,
    title: str,
) -> Figure:
    """What a probe reads at each token: its share for every class."""
    check_labels("shares", shares, tokens, classes)
    figure = Figure()
    figure.add_heatmap(
        z=shares.T,
        x=list(range(len(tokens))),
        y=list(range(len(classes))),
        colorscale=FADING,
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": "share"}, "thickness": 12},
        hovertemplate="token %{x}, class %{y}: %{z:.3f}<extra></extra>",
    )
    frame(figure, title, side=160 + 30 * len(classes))
    figure.update_layout(width=max(560, 26 * len(tokens) + 260))
    token_axis(figure.update_xaxes, tokens, "token", showgrid=False)
    names = [escaped(name) for name in classes]
    return figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, showgrid=False)

"""Neurons of MLPs: how two models' differ."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.figures.layout import CATEGORIES, GREY, escaped, frame

DASHES = ("solid", "dash", "dot", "dashdot")


def spread(
    values: Mapping[str, Float[np.ndarray, " neuron"]],
    *,
    name: str,
    title: str,
    log: bool = False,
    normal: float | None = None,
    normal_name: str = "",
) -> go.Figure:
    """All neurons of each model in order: the share of neurons with no more than so much.

    A line marks what a neuron without any meaning would have (`normal`).
    """
    figure = go.Figure()
    for number, (model, found) in enumerate(values.items()):
        ordered = np.sort(np.asarray(found, dtype=float))
        share = 100 * (np.arange(len(ordered)) + 0.5) / len(ordered)
        figure.add_scatter(
            x=share,
            y=ordered,
            mode="lines",
            name=escaped(model),
            line={
                "color": CATEGORIES[number % len(CATEGORIES)],
                "dash": DASHES[number % len(DASHES)],
                "width": 3,
            },
            hovertemplate=f"{escaped(model)}: %{{x:.0f}} % of neurons up to %{{y:.3g}}"
            "<extra></extra>",
        )
    if normal is not None:
        figure.add_hline(y=normal, line={"color": CATEGORIES[2], "width": 1, "dash": "dot"})
        figure.add_annotation(
            text=escaped(normal_name),
            x=1,
            xref="paper",
            xanchor="right",
            y=np.log10(normal) if log else normal,  # Plotly's annotations take the logarithm
            yanchor="bottom",
            showarrow=False,
            font={"color": CATEGORIES[2]},
        )
    frame(figure, title, side=340)
    figure.update_layout(
        margin={"l": 70, "r": 20, "t": 80, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1.12},
    )
    figure.update_xaxes(title_text="neurons, in order (%)", range=[0, 100], gridcolor=GREY)
    figure.update_yaxes(title_text=name, gridcolor=GREY, zeroline=False)
    return figure.update_yaxes(type="log", dtick=1) if log else figure

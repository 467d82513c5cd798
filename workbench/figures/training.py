"""Curves of a training: from the card of its state, as it grows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.figures.layout import CATEGORIES, escaped, frame

Curve = tuple[list[float], list[float]]  # steps, values
DASHES = ("solid", "dash", "dot", "dashdot")
_SIDE, _TOP = 200, 95  # of a panel; of title and legend
_COUNTS = ("L0", "dead")  # whose axis begins at 0


def panels(card: Mapping[str, Any]) -> dict[str, dict[str, Curve]]:
    """What to draw of a state's card: quantity -> name -> steps, values.

    Of dictionaries trained together each loss, L0 and the dead latents; of a small model its loss
    and what was evaluated, without what never changes.
    """
    found: dict[str, dict[str, Curve]] = {}
    if "recipes" in card:
        for row in card["rows"]:
            told = {f"{name} loss": value for name, value in row["losses"].items()}
            for quantity, value in {**told, "L0": row["l0"], "dead": row["n_dead"]}.items():
                _add(found, quantity, row["name"], row["step"], value)
        return found
    name = card["recipe"]["name"]
    for row in card["rows"]:
        for quantity, value in {"loss": row["loss"], **row["metrics"]}.items():
            _add(found, quantity, name, row["step"], value)
    return {
        quantity: curves
        for quantity, curves in found.items()
        if any(len(values) == 1 or len(set(values)) > 1 for _, values in curves.values())
    }


def _add(
    found: dict[str, dict[str, Curve]], quantity: str, name: str, step: int, value: float | int
) -> None:
    steps, values = found.setdefault(quantity, {}).setdefault(name, ([], []))
    steps.append(float(step))
    values.append(float(value))


def training_curves(
    found: Mapping[str, Mapping[str, Curve]], *, title: str, log_steps: bool = False
) -> go.Figure:
    """A panel for each quantity, two in a row, with a curve for each name.

    Losses are on a log scale where all are above 0. Raises `ValueError` for nothing to draw.
    """
    if not found:
        raise ValueError("there is nothing to draw; give at least one quantity")
    rows = (len(found) + 1) // 2
    figure = make_subplots(rows, 2, subplot_titles=[escaped(name) for name in found],
                           vertical_spacing=0.3 / rows)  # fmt: skip
    names = list(dict.fromkeys(name for curves in found.values() for name in curves))
    shown: set[str] = set()
    for place, (quantity, curves) in enumerate(found.items()):
        row, col = place // 2 + 1, place % 2 + 1
        for name, (steps, values) in curves.items():
            number = names.index(name)
            figure.add_scatter(
                x=list(steps),
                y=list(values),
                name=escaped(name),
                legendgroup=name,
                showlegend=len(names) > 1 and name not in shown,
                mode="lines+markers" if len(steps) < 3 else "lines",
                line={
                    "color": CATEGORIES[number % len(CATEGORIES)],
                    "dash": DASHES[number // len(CATEGORIES) % len(DASHES)],
                },
                hovertemplate=f"{escaped(name)}, step %{{x:,}}: %{{y:.4g}}<extra></extra>",
                row=row,
                col=col,
            )
            shown.add(name)
        log = "loss" in quantity and all(np.min(values) > 0 for _, values in curves.values())
        figure.update_yaxes(
            type="log" if log else "linear",
            rangemode="tozero" if quantity in _COUNTS else "normal",
            row=row,
            col=col,
        )
    frame(figure, title)
    height = _TOP + _SIDE * rows
    figure.update_layout(
        width=None,
        height=height,
        margin={"t": _TOP, "b": 40},
        title={"y": 1 - 24 / height},
        legend={"orientation": "h", "x": 0, "yref": "container", "y": 1 - 62 / height},
    )
    return figure.update_xaxes(type="log" if log_steps else "linear", tickformat=",")

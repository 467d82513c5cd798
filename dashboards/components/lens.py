"""A lens as a canvas: position x layer, each cell the top token, shaded by a value.

What the value is (probability, entropy, a divergence) is the page's to say; ids and
probabilities come in as arrays, names as strings made visible already.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from streamlit.components.v2 import component

from .wire import TokenLabel, labels, pack, source

_mount = component(
    "lensbench_lens",
    css=source("view.css", "lens.css"),
    js=source("palette.js", "picture.js", "view.js", "rank_plot.js", "lens.js"),
)


@dataclass(frozen=True)
class RankCurve:
    """One token's fate over the layers at the selected position; rank 1 is the most likely."""

    name: str
    ranks: Sequence[int] | np.ndarray
    probs: Sequence[float] | np.ndarray


def lens_canvas(
    *,
    tokens: Sequence[TokenLabel],
    layers: Sequence[str],
    top_ids: np.ndarray,
    top_probs: np.ndarray,
    names: Mapping[int, str],
    value: np.ndarray,
    value_name: str,
    value_limits: tuple[float, float],
    cell: tuple[int, int],
    curve: RankCurve | None = None,
    about: str = "",
    file: str = "picture",
    key: str,
    on_select: Callable[[tuple[int, int]], None] | None = None,
) -> tuple[int, int] | None:
    """Draw the table and the selected cell; returns the cell the user has just selected, or None.

    Shapes: `top_ids` and `top_probs` [layer, pos, k], the most likely first; `value` [layer, pos]
    (NaN = not defined). A cell is (row in `layers`, position). The last layer is drawn at the top:
    it holds the model's answer, which is then read first, and one reads down to where it began.
    `on_select` is called before the script runs again. A saved PNG has `about` below it and is
    named `file` and what it shows.
    """
    top_ids, top_probs = np.asarray(top_ids), np.asarray(top_probs, dtype=np.float32)
    value = np.asarray(value, dtype=np.float32)
    shape = (len(layers), len(tokens))
    _check(shape, top_ids, top_probs, value, cell)
    low, high = value_limits
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"value_limits {value_limits} should be two finite numbers, low < high.")
    used, dense = np.unique(top_ids, return_inverse=True)
    data = pack(
        {
            "tokens": labels(tokens),
            "layers": list(layers),
            "names": _names(used, names),
            "value_name": value_name,
            "value_limits": [float(low), float(high)],
            "cell": [int(cell[0]), int(cell[1])],
            "curve_name": None if curve is None else curve.name,
            "about": about,
            "file": file,
        },
        {
            "ids": dense.reshape(top_ids.shape).astype(np.uint32),
            "probs": top_probs,
            "value": value,
            **_curve_arrays(curve, len(layers)),
        },
    )

    def selected() -> None:
        chosen = _cell(st.session_state[key].get("selected"), shape)
        if on_select is not None and chosen is not None:
            on_select(chosen)

    result = _mount(key=key, data=data, on_selected_change=selected)
    chosen = _cell(result.get("selected"), shape)
    return None if chosen == (int(cell[0]), int(cell[1])) else chosen


def _names(used: np.ndarray, names: Mapping[int, str]) -> list[str]:
    """Names of the ids in use, in their order."""
    missing = [int(token) for token in used if int(token) not in names]
    if missing:
        some = ", ".join(str(token) for token in missing[:5])
        raise ValueError(f"names lacks {len(missing)} of the token ids in top_ids, such as {some}.")
    return [names[int(token)] for token in used]


def _curve_arrays(curve: RankCurve | None, n_layers: int) -> dict[str, np.ndarray]:
    """The curve's arrays, none without a curve."""
    if curve is None:
        return {}
    ranks = np.asarray(curve.ranks, dtype=np.float32)
    probs = np.asarray(curve.probs, dtype=np.float32)
    if ranks.shape != (n_layers,) or probs.shape != (n_layers,):
        raise ValueError(
            f"curve has ranks of shape {ranks.shape} and probs of shape {probs.shape};"
            f" each should have one value for each of the {n_layers} layers."
        )
    if (ranks < 1).any():
        raise ValueError(f"curve has a rank of {ranks.min():g}; ranks start at 1, the most likely.")
    return {"curve_rank": ranks, "curve_prob": probs}


def _cell(value: object, shape: tuple[int, int]) -> tuple[int, int] | None:
    """A cell that the browser names, or None if it names none that exists."""
    match value:
        case [int(layer), int(pos)] if 0 <= layer < shape[0] and 0 <= pos < shape[1]:
            return layer, pos
    return None


def _check(
    shape: tuple[int, int],
    top_ids: np.ndarray,
    top_probs: np.ndarray,
    value: np.ndarray,
    cell: tuple[int, int],
) -> None:
    """Refuse arrays that do not fit the labels, naming what was given and what is needed."""
    if 0 in shape:
        raise ValueError(f"a table of {shape[0]} layers and {shape[1]} tokens has nothing to draw.")
    if not np.issubdtype(top_ids.dtype, np.integer):
        raise ValueError(f"top_ids of dtype {top_ids.dtype} should be integers.")
    if top_ids.ndim != 3 or top_ids.shape[:2] != shape or not top_ids.shape[2]:
        raise ValueError(f"top_ids of shape {top_ids.shape} should be [{shape[0]}, {shape[1]}, k].")
    if top_probs.shape != top_ids.shape:
        raise ValueError(
            f"top_probs of shape {top_probs.shape} should have top_ids' {top_ids.shape}."
        )
    if value.shape != shape:
        raise ValueError(f"value of shape {value.shape} should be [layer, pos] = {shape}.")
    if not (0 <= cell[0] < shape[0] and 0 <= cell[1] < shape[1]):
        raise ValueError(f"cell {tuple(cell)} is outside {shape[0]} layers x {shape[1]} tokens.")

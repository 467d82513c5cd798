"""Attention heads on two canvases: a layer x head grid to find a head, a zoomed head to look at.

What is drawn is decided by the page: arrays and strings come in, no model is known here. The
grid's thumbnails are bytes (colour only); every number shown for the locked head is a float32.
"""

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st
from streamlit.components.v2 import component

from .wire import TokenLabel, labels, pack, source

_mount = component(
    "lensbench_attention",
    css=source("view.css", "attention.css"),
    js=source("palette.js", "picture.js", "view.js", "head_grid.js", "zoom.js", "attention.js"),
)


def attention_canvas(
    *,
    scores: np.ndarray,
    score_name: str,
    score_limits: tuple[float, float],
    thumbnails: np.ndarray,
    tokens: Sequence[TokenLabel],
    pattern: np.ndarray,
    head: tuple[int, int],
    title: str,
    signed: bool = False,
    limit: float = 1.0,
    about: str = "",
    file: str = "picture",
    key: str,
    on_lock: Callable[[tuple[int, int]], None] | None = None,
) -> tuple[int, int] | None:
    """Draw all heads and the locked one; returns the head the user has just locked, else None.

    Shapes: `scores` [layer, head] (NaN = not defined), `thumbnails` [layer, head, side, side] of
    uint8 (0..255 for 0..limit; if `signed`, 1..255 for -limit..limit with 128 = 0), `pattern`
    [query, key] of the locked `head`. `on_lock` is called before the script runs again, so a page
    that stores the head there (for example in `st.query_params`) needs one run per lock, not two.
    A saved PNG has `about` below it and is named `file` and what it shows.
    """
    scores = np.asarray(scores, dtype=np.float32)
    pattern = np.asarray(pattern, dtype=np.float32)
    thumbnails = np.asarray(thumbnails)
    _check(scores, thumbnails, pattern, tokens, head)
    _check_limits(score_limits, limit)
    data = pack(
        {
            "score_name": score_name,
            "score_limits": [float(bound) for bound in score_limits],
            "tokens": labels(tokens),
            "head": [int(head[0]), int(head[1])],
            "title": title,
            "signed": bool(signed),
            "limit": float(limit),
            "about": about,
            "file": file,
        },
        {"scores": scores, "thumbnails": thumbnails, "pattern": pattern},
    )

    def locked() -> None:
        chosen = _head(st.session_state[key].get("locked"), scores.shape)
        if on_lock is not None and chosen is not None:
            on_lock(chosen)

    result = _mount(key=key, data=data, on_locked_change=locked)
    chosen = _head(result.get("locked"), scores.shape)
    return None if chosen == (int(head[0]), int(head[1])) else chosen


def _head(value: object, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """A head that the browser names, or None if it names none that exists."""
    match value:
        case [int(layer), int(head)] if 0 <= layer < shape[0] and 0 <= head < shape[1]:
            return layer, head
    return None


def _check(
    scores: np.ndarray,
    thumbnails: np.ndarray,
    pattern: np.ndarray,
    tokens: Sequence[TokenLabel],
    head: tuple[int, int],
) -> None:
    """Refuse arrays that do not fit each other, naming what was given and what is needed."""
    n_tokens = len(tokens)
    if scores.ndim != 2 or 0 in scores.shape:
        raise ValueError(f"scores of shape {scores.shape} should be [layer, head], none empty.")
    if pattern.shape != (n_tokens, n_tokens) or not n_tokens:
        raise ValueError(
            f"pattern of shape {pattern.shape} should be [query, key] for {n_tokens} tokens,"
            " at least one."
        )
    side = thumbnails.shape[-1] if thumbnails.ndim else 0
    if thumbnails.shape != (*scores.shape, side, side) or not 1 <= side <= n_tokens:
        raise ValueError(
            f"thumbnails of shape {thumbnails.shape} should be [{scores.shape[0]},"
            f" {scores.shape[1]}, side, side] with side from 1 to the {n_tokens} tokens."
        )
    if thumbnails.dtype != np.uint8:
        raise ValueError(f"thumbnails of dtype {thumbnails.dtype} should be uint8.")
    if not (0 <= head[0] < scores.shape[0] and 0 <= head[1] < scores.shape[1]):
        raise ValueError(
            f"head {tuple(head)} is outside the {scores.shape[0]} layers x {scores.shape[1]} heads."
        )


def _check_limits(score_limits: tuple[float, float], limit: float) -> None:
    """Refuse colour limits that are not finite or do not span anything."""
    low, high = score_limits
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"score_limits {score_limits} should be two finite numbers, low < high.")
    if not (np.isfinite(limit) and limit > 0):
        raise ValueError(f"limit {limit} should be a finite number above 0.")

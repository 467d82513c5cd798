"""A head's weights, in a box under its pattern that computes nothing until it is opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from dashboards import exports, state
from dashboards.weights_export import partners_figure, weights_export
from dashboards.weights_view import SIGNS, Ends, weights_view
from workbench.sites import Head

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.models import Model

ABOUT = (
    "From the weights alone: the path straight from the embedding to the head and, for OV, "
    "straight from the head to the logits, with the norm before the attention folded in. "
    "Rotary positions are left out of QK. One sign's tokens at one end go with the same sign's at "
    "the other."
)
TABLE = "font-size:13px;table-layout:fixed;width:100%"
CELL = "text-align:left;vertical-align:top;padding:0 10px 3px 0"
TOKEN = (
    "display:inline-block;font-family:monospace;white-space:pre;margin:0 4px 2px 0;padding:0 3px;"
    "border:1px solid rgba(128,128,128,.4);border-radius:3px;vertical-align:bottom;"
    "max-width:100%;overflow:hidden;text-overflow:ellipsis"  # a token may be a long dashed line
)


def weights_box(model: Model, head: Head, choice: state.Choice) -> None:
    """Copying, tokens at both ends of OV and QK, and the heads it composes with."""
    state.allowed("circuits", ("true", "false"))
    box = st.expander(f"Weights of {head}: OV and QK", key="circuits", bind="query-params")
    if not box.open:
        return
    with box, state.plain_errors():
        with state.computing("Reading the weights …"):
            view = weights_view(model.identity.fingerprint, head, model)
        st.markdown(
            f"**Copying score of OV: {view.copies}.** "
            "1: every token raises its own logit; -1: lowers it; 0: neither."
        )
        names = {"OV": ("attending to", "raises"), "QK": ("a query of", "looks for a key of")}
        for column, (kind, ends) in zip(st.columns(2), view.circuits.items(), strict=True):
            with column:
                _table([kind, "", *names[kind]], _rows(ends), widths=(58, 18))
        left, right = st.columns([3, 2])
        made = choice.made("weights")
        camera = exports.camera(made, f"{head} partners")
        left.plotly_chart(partners_figure(view), key="partners", height=430, config=camera)
        with right:
            for told, rows in zip(("reads from", "is read by"), view.partners(), strict=True):
                header, none = [f"{head} {told}", "through", "score"], [["no head", "", ""]]
                _table(header, rows or none, widths=(140,))
        st.caption(f"{view.note}. {choice}. {ABOUT}")
        exports.files(weights_export(view, made), key="weights")


def _rows(ends: Ends) -> Iterable[Sequence[str]]:
    for direction, value in enumerate(ends.values):
        for index, sign in enumerate(SIGNS):
            left, right = (_tokens(side[direction, index]) for side in (ends.left, ends.right))
            yield f"{value:.2f}" if index == 0 else "", sign, left, right


def _tokens(tokens: Iterable[str]) -> str:
    from workbench.models import visible

    return "".join(f"<span style='{TOKEN}'>{escape(visible(token))}</span>" for token in tokens)


def _table(
    header: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int] = ()
) -> None:
    """A table of HTML cells: `st.table` would fetch a megabyte of Arrow's scripts."""
    columns = "".join(f"<col style='width:{width}px'>" for width in widths)
    lines = ["".join(f"<td style='{CELL}'>{cell}</td>" for cell in row) for row in rows]
    heads = "".join(f"<th style='{CELL}'>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    st.html(f"<table style='{TABLE}'>{columns}<tr>{heads}</tr>{body}</table>")

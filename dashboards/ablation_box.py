"""A head ablated, in a box under its pattern that computes nothing until it is opened."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from dashboards import exports, state
from dashboards.ablation_export import ablation_export, told
from dashboards.ablation_view import HOW, WHEN, NextTokens, ablation_view
from workbench.sites import Head

if TYPE_CHECKING:  # torch must not load before it is needed
    from dashboards.prompts import Asked
    from workbench.models import Model

HEADS = ("", "before", "logit", "p", "after", "logit", "p")
TABLE = "font-size:13px;border-collapse:collapse;font-variant-numeric:tabular-nums"
CELL = "text-align:left;white-space:pre;padding:3px 10px 3px 0;"
TOKEN = "font-family:monospace;max-width:12em;overflow:hidden;text-overflow:ellipsis"
ABOUT = (
    "zero: the head writes nothing. mean: it writes the same everywhere, its mean over the "
    "positions of this prompt but for BOS. Of several sequences the first is run."
)


def ablation_box(model: Model, asked: Asked, head: Head, made: exports.Made) -> None:
    """The next tokens with the head and without it."""
    state.allowed("ablate", ("true", "false"))
    box = st.expander(
        f"Ablate {head}: next tokens before and after", key="ablate", bind="query-params"
    )
    if not box.open:
        return
    with box, state.plain_errors():
        state.allowed("how", HOW)
        how = st.selectbox("In its place", HOW, key="how", bind="query-params", width=260)
        with state.computing("Running without the head …"):
            view = ablation_view(model, asked, head, str(how))
        st.markdown(f"**{told(view.next)}**")
        token_table(view.next)
        st.caption(f"{view.note}. {made.about}; {head}.z at all positions: {view.how}. {ABOUT}")
        exports.files(ablation_export(view, made, bos=asked.tokens.bos), key="ablation")


def token_table(found: NextTokens) -> None:
    """Ranks, tokens, logits and probabilities, as HTML: `st.table` would fetch Arrow's scripts."""
    tokens = {when: [repr(token) for token in found.tokens[when]] for when in WHEN}
    heads = "".join(f"<th style='{CELL}'>{name}</th>" for name in HEADS)
    lines = []
    for rank, row in enumerate(zip(*found.shown.values(), strict=True)):
        titles = {1: tokens["before"][rank], 4: tokens["after"][rank]}
        cells = (
            f"<td style='{CELL}{TOKEN if at in titles else ''}' "
            f"title='{escape(titles.get(at, ''))}'>{escape(cell)}</td>"
            for at, cell in enumerate(row)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    table = f"<table style='{TABLE}'><tr>{heads}</tr>{''.join(lines)}</table>"
    st.html(f"<div style='overflow-x:auto'>{table}</div>")

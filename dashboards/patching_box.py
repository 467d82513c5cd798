"""The chosen cell beside the Patching page's map: which it is, and what would be said next."""

from __future__ import annotations

from html import escape

import streamlit as st

from dashboards import prompts, state
from dashboards.example import Example
from dashboards.patching_cell import Heads, Inside, as_typed, choices, head_named
from dashboards.patching_pairs import PairsAsked
from dashboards.patching_sweeps import EXACT
from dashboards.patching_view import Cell, PatchingView

CELL = "text-align:left;padding:1px 8px 1px 0;white-space:nowrap"
TOKEN = (
    "display:inline-block;font-family:monospace;white-space:pre;vertical-align:bottom;"
    "padding:0 2px;border:1px solid rgba(128,128,128,.4);border-radius:3px;"
    "max-width:10ch;overflow:hidden;text-overflow:ellipsis"
)
ANSWER, WRONG = "✓", "✗"


def choose_cell(view: PatchingView) -> Cell:
    """The cell that the address names; layer and column can be chosen from the keyboard, too."""
    asked = st.query_params.get("cell")
    cell = state.or_default(lambda: view.cell(asked), lambda: view.cell(None))
    st.session_state["cell layer"] = view.layers[cell.row]
    st.session_state["cell column"] = view.columns[cell.column]
    layer, column = st.columns(2)
    labels = dict(zip(view.columns, view.shown, strict=True))
    layer.selectbox("Layer", view.layers, key="cell layer", on_change=_moved)
    column.selectbox(
        "Head" if view.by_head else "Place",
        view.columns,
        key="cell column",
        format_func=lambda name: str(labels.get(name, name)),
        on_change=_moved,
    )
    return cell


def _moved() -> None:
    layer, column = (st.session_state[f"cell {axis}"] for axis in ("layer", "column"))
    st.query_params["cell"] = f"{layer}.{column}"
    st.query_params.pop("head", None)


def choose_head(view: PatchingView, cell: Cell, heads: Heads | None) -> int:
    """The head whose attention is shown: the address', else the strongest at the cell."""
    known = choices(view, cell, heads)
    asked = st.query_params.get("head")
    head = state.or_default(lambda: head_named(asked, known), lambda: known[0])
    if len(known) > 1:
        st.session_state["cell head"] = f"H{head}"
        st.selectbox(
            "Attention of", [f"H{one}" for one in known], key="cell head", on_change=_turned
        )
    return head


def _turned() -> None:
    st.query_params["head"] = st.session_state["cell head"]


def said_table(view: PatchingView, inside: Inside) -> None:
    """The likeliest next tokens before and after the patch, and in the run patched from."""
    from workbench.models import visible

    row, vocabulary = view.source.pairs.rows[inside.number], view.source.model.vocabulary
    marks = {vocabulary.string(token): ANSWER for token in row.answers}
    marks |= {vocabulary.string(token): WRONG for token in row.wrongs}
    header = "".join(f"<th style='{CELL}'>{escape(one.run)}</th>" for one in inside.said)
    lines = []
    for rank in range(len(inside.said[0].tokens)):
        cells = []
        for one in inside.said:
            token = one.tokens[rank]
            mark = marks.get(token, "")
            weight = ";font-weight:700" if token in marks else ""
            told = f"{token!r}: logit {one.logits[rank]:.3f}, probability {one.probs[rank]:.4f}"
            cells.append(
                f"<td style='{CELL}' title='{escape(told, quote=True)}'>"
                f"<span style='{TOKEN}{weight}'>{escape(visible(token))}</span> "
                f"{one.logits[rank]:.2f} {mark}</td>"
            )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    by = "" if view.method == EXACT else f" by {view.method}"
    mean = view.bounds[0][inside.cell.row, inside.cell.column]
    st.markdown(
        f"**{state.literal(inside.name)}: effect {mean:.3f}{by}**. Next tokens of pair "
        f"{inside.number} by logit ({ANSWER} answer, {WRONG} wrong):"
    )
    table = f"<table style='font-size:12px'><tr>{header}</tr>{''.join(lines)}</table>"
    st.html(f"<div style='overflow-x:auto'>{table}</div>")


def open_attention(
    view: PatchingView, inside: Inside, asked: PairsAsked, choice: state.Choice
) -> None:
    """A link to the head on the Attention page, where its prompt box makes the same tokens."""
    clean = view.source.pairs.rows[inside.number].clean
    if not as_typed(view.source.model, clean, asked.with_bos):
        return
    head = f"L{inside.cell.layer}H{inside.head}"
    settings = {"model": choice.model, "processing": choice.processing, "dtype": choice.dtype}
    settings |= {"device": choice.device, "prompt": clean.text, "bos": asked.bos}
    prompts.link(
        Example("Attention", "", f"{head} on this prompt", settings, {"head": head}),
        f"Open {head} on the Attention page →",
    )

"""Attention: find the head (layer x head grid), then look (the zoomed pattern)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboards import exports, prompts, state
from dashboards.ablation_box import ablation_box
from dashboards.attention_export import attention_export
from dashboards.attention_view import KINDS, SHOWN, AttentionView, attention_view
from dashboards.components import attention_canvas
from dashboards.weights_box import weights_box
from workbench.sites import Head

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.models import Model

CAP = 256  # tokens: 270 heads of 256 x 256 are 70 MB of patterns
SCORE_NAMES = ("induction", "previous token", "duplicate token", "first token", "self", "entropy")


def page() -> None:
    st.header("Attention")
    choice = state.picker()
    question = prompts.box("Attention", random=True)
    if question is None:
        return
    state.allowed("score", SCORE_NAMES)
    state.allowed("weights", KINDS)
    state.allowed("shown", SHOWN)
    columns = st.columns([1, 1, 1, 2])
    score = columns[0].selectbox("Colour heads by", SCORE_NAMES, key="score", bind="query-params")
    kind = columns[1].selectbox("Weights", KINDS, key="weights", bind="query-params")
    shown = columns[2].selectbox("Zoom shows", SHOWN, key="shown", bind="query-params")
    other = columns[3].text_input(
        "Minus another prompt (same number of tokens)", key="minus", bind="query-params"
    )
    model = state.model(choice)
    asked = prompts.ask(model, question, cap=CAP)
    with state.computing("Running the model …"):
        view = attention_view(
            model, state.store(), asked, str(kind), other, bos=question.with_bos, chat=question.chat
        )
    taken_off = question.tokenized(other) if other.strip() else None
    made = asked.made("attention", choice)
    _canvas(model, choice, asked, view, str(score), str(shown), made, taken_off)


@st.fragment
def _canvas(
    model: Model,
    choice: state.Choice,
    asked: prompts.Asked,
    view: AttentionView,
    score: str,
    shown: str,
    made: exports.Made,
    taken_off: str | None,
) -> None:
    """Only this part runs again when a head is clicked."""
    named = st.query_params.get("head")
    head = state.or_default(lambda: view.head(named, score), lambda: view.head(None, score))
    layers, heads = view.scores[score].shape
    st.markdown(f"**Top by {score}:** {view.top(score)}")
    attention_canvas(
        scores=view.scores[score],
        score_name=score,
        score_limits=view.limits(score),
        thumbnails=view.thumbnails,
        tokens=view.labels,
        pattern=view.pattern(head, shown),
        head=(head.layer, head.head),
        title=view.title(head, shown),
        signed=view.signed,
        limit=view.limit,
        about=made.note,
        file=exports.slug(made.file),
        key="attention_canvas",
        on_lock=lambda place: st.query_params.update({"head": str(Head(*place))}),
    )
    st.caption(
        f"{view.note}. {made.about}; {len(view.labels)} tokens, {layers} x {heads} heads. "
        "The address of this page is its permalink."
    )
    exports.offer(attention_export(view, made, head, score, shown, taken_off))
    ablation_box(model, asked, head, made)
    weights_box(model, head, choice)

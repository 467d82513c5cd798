"""Attention: find the head (layer x head grid), then look (the zoomed pattern)."""

import streamlit as st

from dashboards import prompts, state
from dashboards.attention_view import KINDS, SHOWN, AttentionView, attention_view
from dashboards.components import attention_canvas
from workbench.sites import Head

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
    with state.plain_errors(), st.spinner("Running the model …", show_time=True):
        view = attention_view(
            model, state.store(), asked, str(kind), other, bos=question.with_bos, chat=question.chat
        )
    _canvas(view, str(score), str(shown), f"{choice}; {asked.about}")


@st.fragment
def _canvas(view: AttentionView, score: str, shown: str, about: str) -> None:
    """Only this part runs again when a head is clicked."""
    asked = st.query_params.get("head")
    head = state.or_default(lambda: view.head(asked, score), lambda: view.head(None, score))
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
        key="attention_canvas",
        on_lock=lambda place: st.query_params.update({"head": str(Head(*place))}),
    )
    st.caption(
        f"{view.note}. {about}; {len(view.labels)} tokens, {layers} x {heads} heads. "
        "The address of this page is its permalink."
    )

"""Steering: a vector added to a layer, the plain text beside the steered one, KL by strength."""

from __future__ import annotations

import streamlit as st

from dashboards import exports, prompts, state
from dashboards import steering_view as numbers
from dashboards.ablation_box import token_table
from dashboards.ablation_view import shown_tokens
from dashboards.steering_box import Source, progress_box, push_box, source_box, text_box
from dashboards.steering_export import curve, safetensors, steering_export
from dashboards.steering_view import SteeringView

CAP = 256  # tokens
PERMALINK = "The address of this page is its permalink"


def page() -> None:
    st.header("Steering")
    choice = state.picker()
    question = prompts.box("Steering", random=False)
    if question is None:
        return
    model, store = state.model(choice), state.store()
    source = source_box(model.architecture.n_layers, question.with_bos)
    push = push_box()  # also without a source: what is not drawn is forgotten
    if source is None:
        return
    asked = prompts.ask(model, question, cap=CAP)
    slot = st.empty()
    bar = progress_box(slot)
    with state.computing():
        try:
            direction = numbers.direction_of(source, model, store)
            view = numbers.steering_view(
                model,
                shown_tokens(model, asked),
                direction,
                push,
                lambda done, total, what: bar.progress(done / total, f"{done}/{total}: {what} …"),
            )
        finally:
            slot.empty()
    _results(view, asked.text, asked.made("steering", choice), source)


def _results(view: SteeringView, prompt: str, made: exports.Made, source: Source) -> None:
    push = view.asked.push
    st.markdown(f"**{state.literal(view.about)}**")
    names = ("Plain", f"Steered, strength {push.strength:g}")
    for column, name, row in zip(st.columns(2), names, (view.plain, view.steered), strict=True):
        with column:
            text_box(name, prompt, row, numbers.written(row))
    left, right = st.columns([4, 5])
    left.plotly_chart(
        curve(view),
        key="curve",
        on_select=_clicked,
        selection_mode="points",
        config=exports.camera(made, "curve"),
    )
    with right:
        st.markdown("**The next token after the prompt**")
        token_table(view.next)
    st.caption(
        f"{view.note}. {made.about}; {len(view.asked.prompt)} tokens; {state.literal(view.sum)}. "
        f"Both texts: seed {push.seed}, temperature {push.temperature:g}. {PERMALINK}"
        f"{' but for the file.' if source.file else '.'}"
    )
    exports.offer(steering_export(view, made, source))
    direction = view.asked.direction
    st.download_button(
        "The vector (safetensors)",
        lambda: safetensors(direction),
        f"{exports.slug(direction.name)[:60]}.safetensors",
        on_click="ignore",
    )


def _clicked() -> None:
    """A click on a point of the curve is the choice of its strength."""
    for point in st.session_state["curve"].selection.points:
        st.session_state["strength"] = float(point["x"])

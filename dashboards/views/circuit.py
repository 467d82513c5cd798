"""Circuit: the edges that carry an answer, how few of them do, and what they keep of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from dashboards import circuit_box, circuit_finding, exports, patching_pairs, state
from dashboards import circuit_view as numbers
from dashboards.circuit_export import circuit_export, curves_figure, drawing
from dashboards.circuit_finding import Question, Task
from dashboards.circuit_view import Found
from dashboards.exports import Made
from dashboards.patching_sweeps import Source
from dashboards.progress import progress_bar

if TYPE_CHECKING:  # torch must not load before it is needed
    from dashboards.circuit_finding import Curves
    from workbench.patching.edges import EdgeScores


def page() -> None:
    st.header("Circuit")
    choice = state.picker()
    asked = patching_pairs.box("Circuit")
    if asked is None:
        return
    question = circuit_box.question_box()
    model, store = state.model(choice), state.store()
    pairs = patching_pairs.made_of(model, asked)
    patching_pairs.shown(pairs)
    task = Task.of(Source(model, store, pairs))
    bar = st.empty()
    with state.computing("Scoring edges …"):
        scores, known = circuit_finding.scored(task, question, partial(progress_bar, bar))
    bar.empty()
    seconds = "cached" if known else f"computed, {scores.spent.seconds:.2f} s"
    _circuit(task, question, scores, asked.made(choice, "circuit"), f"Scores {seconds}")


@st.fragment
def _circuit(task: Task, question: Question, scores: EdgeScores, made: Made, note: str) -> None:
    """Only this part runs again when the size or a pin is changed."""
    chosen = circuit_box.chosen_box(scores)
    found = state.or_default(
        lambda: numbers.find(task, question, scores, chosen),
        lambda: numbers.find(task, question, scores, chosen.without_pins),
    )
    said = st.empty()
    figures = {"circuit": drawing(found)}
    st.plotly_chart(figures["circuit"], key="chart circuit", config=exports.camera(made, "circuit"))
    st.caption(
        "Blue edges help the clean answer, red and dashed ones work against it; the wider, the "
        "more. M: an MLP. The dot on an edge tells its name. Positions are no part of this graph: "
        "an edge is cut at all of them at once."
    )
    left, right = st.columns(2)
    with right:
        circuit_box.strongest_table(found)
    with state.computing():
        view = numbers.judge(found, partial(progress_bar, said))
    said.markdown(f"**{state.literal(view.said)}**")
    with left:
        circuit_box.kept_table(view)
    curves = _by_size(found)
    if curves is not None:
        figures["curve"] = curves_figure(curves)
        st.plotly_chart(figures["curve"], key="chart curve", config=exports.camera(made, "curve"))
    st.caption(
        f"{note}. {state.literal(view.about)}. {made.about}. The address of this page is its "
        "permalink."
    )
    exports.offer(circuit_export(view, curves, made, figures))
    circuit_box.circuit_file(found, made)


def _by_size(found: Found) -> Curves | None:
    """The curves, once they were asked for."""
    task, question = found.task, found.question
    slot = st.empty()
    if not circuit_finding.curves_held(task, question):
        from workbench.patching.edges import FRACTIONS

        count = 2 * len(FRACTIONS)
        if not slot.button(f"Faithfulness by size, CPR and CMD (runs {count} circuits)"):
            return None
    with state.computing():
        curves = circuit_finding.curves(task, question, found.scores, partial(progress_bar, slot))
    slot.empty()
    return curves

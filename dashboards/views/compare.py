"""Compare: two models, two checkpoints of a ladder, or two prompts, and what differs."""

from __future__ import annotations

from functools import partial

import streamlit as st

from dashboards import compare_box, exports, state
from dashboards.compare_export import compare_export
from dashboards.compare_sides import SAME, VIEWS, Place, chosen, names
from dashboards.compare_view import Picture
from dashboards.progress import progress_bar


def page() -> None:
    st.header("Compare")
    state.allowed("on", VIEWS)
    on = st.segmented_control(
        "Compare on", VIEWS, default=VIEWS[0], key="on", bind="query-params"
    ) or VIEWS[0]  # fmt: skip
    known = names()
    first = state.picker(known)
    with st.sidebar:
        second = st.selectbox(
            "Model of B",
            [SAME, *known],
            key="model_b",
            bind="query-params",
            accept_new_options=True,
            help="NAME@STEP is a checkpoint of a ladder; or type a folder or a Hub name.",
        )
    other = first.model if second in (None, SAME) else str(second)
    with state.plain_errors():
        choices = [chosen(first, name) for name in (first.model, other)]
    asked = compare_box.questions(on)
    if asked is None:
        return
    if on != "SAE" and other == first.model and asked[0] == asked[1]:
        st.info("A and B are the same: give B another model, a checkpoint or another prompt.")
        return
    places = []
    for letter, name, choice, question in zip(
        "AB", (first.model, other), choices, asked, strict=True
    ):
        model = state.model(choice)
        with state.plain_errors():
            of_model = compare_box.asked_of(model, question)
        shown = compare_box.text_of(question) if other == first.model else ""
        places.append(Place(letter, name, shown or name, choice, model, state.store(), of_model))
    _charts(on, places[0], places[1])


def _charts(on: str, a: Place, b: Place) -> None:
    with state.plain_errors():
        make = compare_box.MAKERS[on](a, b)
    if make is None:
        return
    bar = st.empty()
    with state.computing("Computing both sides …"):
        pictures: list[Picture] = make(partial(progress_bar, bar))
        bar.empty()
    figures = [picture.figure() for picture in pictures]
    for number, (picture, figure) in enumerate(zip(pictures, figures, strict=True)):
        st.plotly_chart(
            figure, key=f"chart {number}", config=exports.camera(a.made, f"compare {picture.what}")
        )
        for note in picture.notes:
            st.info(f"{state.plain(note)}.")
    told = state.literal("; ".join(f"{place.letter}: {place.made.note}" for place in (a, b)))
    st.caption(
        f"{told}. A and B share a scale; the difference, A less B, has its own, about 0. "
        "The address of this page is its permalink."
    )
    exports.offer(compare_export(pictures, figures, a, b))

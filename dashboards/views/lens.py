"""Lens: what every layer would say next, at every position."""

import streamlit as st

from dashboards import exports, prompts, state
from dashboards.components import lens_canvas
from dashboards.lens_export import lens_export
from dashboards.lens_view import VALUES, LensView, cell_of, lens_view

CAP = 96  # positions: every one costs an unembedding at each layer


def page() -> None:
    st.header("Logit lens")
    choice = state.picker()
    question = prompts.box("Lens", random=False)
    if question is None:
        return
    state.allowed("value", VALUES)
    columns = st.columns([1, 1, 3])
    value = columns[0].selectbox("Shade by", VALUES, key="value", bind="query-params")
    followed = columns[1].text_input(
        "Follow a token",
        key="follow",
        bind="query-params",
        placeholder="the cell's own",
        help="Its rank through the layers; words inside a sentence begin with a space.",
    )
    model = state.model(choice)
    asked = prompts.ask(model, question, cap=CAP)
    with state.computing("Reading every layer …"):
        view = lens_view(model, state.store(), asked)
    _canvas(view, str(value), followed, asked.made("lens", choice))


@st.fragment
def _canvas(view: LensView, value: str, followed: str, made: exports.Made) -> None:
    """Only this part runs again when a cell is clicked."""
    shape = view.values[value].shape
    asked = st.query_params.get("cell")
    cell = state.or_default(lambda: cell_of(asked, shape), lambda: cell_of(None, shape))
    curve = state.or_default(lambda: view.curve(cell, followed), lambda: None)
    if curve is None:
        curve, followed = view.curve(cell, ""), ""
    lens_canvas(
        tokens=view.labels,
        layers=view.layers,
        top_ids=view.top_ids,
        top_probs=view.top_probs,
        names=view.names,
        value=view.values[value],
        value_name=value,
        value_limits=view.limits(value),
        cell=cell,
        curve=curve,
        about=made.note,
        file=exports.slug(made.file),
        key="lens_canvas",
        on_select=lambda place: st.query_params.update({"cell": f"{place[0]}.{place[1]}"}),
    )
    st.caption(
        f"{view.note}. {made.about}; {shape[1]} tokens, {shape[0]} rows (embedding and "
        f"{shape[0] - 1} layers), final norm and unembedding applied to each. "
        "The address of this page is its permalink."
    )
    exports.offer(lens_export(view, made, value, cell, curve, followed))

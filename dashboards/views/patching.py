"""Patching: which activations carry an answer, found by putting them into another run."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from dashboards import exports, patching_pairs, state
from dashboards.patching_box import choose_cell, choose_head, open_attention, said_table
from dashboards.patching_cell import heads_of, inside_of
from dashboards.patching_export import patching_export, patching_figures
from dashboards.patching_settings import ask_before_running, places_box, settings_box
from dashboards.patching_sweeps import EXACT, Asked, Source, is_large
from dashboards.patching_view import PatchingView, patching_view
from dashboards.progress import progress_bar


def page() -> None:
    st.header("Activation patching")
    choice = state.picker()
    asked = patching_pairs.box()
    if asked is None:
        return
    site, direction, metric, method, compare = settings_box()
    model, store = state.model(choice), state.store()
    source = Source(model, store, patching_pairs.made_of(model, asked))
    number = patching_pairs.shown(source.pairs)
    patch = Asked(site, places_box(source, site), direction, metric)
    with state.plain_errors():
        if (method == EXACT or compare) and is_large(source, patch):
            ask_before_running(source, patch)
        with state.computing("Patching …"):
            bar = st.empty()
            progress = partial(progress_bar, bar)
            view = patching_view(source, patch, method, compare=compare, progress=progress)
            bar.empty()
    _charts(view, number, asked, choice)


@st.fragment
def _charts(
    view: PatchingView, number: int, asked: patching_pairs.PairsAsked, choice: state.Choice
) -> None:
    """Only this part runs again when a cell or a head is clicked."""
    made = asked.made(choice)
    st.markdown(f"**{state.literal(view.anchors)}**")
    left, right = st.columns([11, 9])
    with right, state.computing("Looking into the cell …"):
        cell = choose_cell(view)
        heads = heads_of(view, cell)
        head = choose_head(view, cell, heads)
        inside = inside_of(view, cell, heads, head, number)
        said_table(view, inside)
    figures = patching_figures(view, inside)
    boxes = {"map": left, "heads": right, "estimate": right, "attention": st.container()}
    clicks = {"map": partial(_clicked_cell, view.layers, view.columns), "heads": _clicked_head}
    for name, figure in figures.items():
        boxes[name].plotly_chart(
            figure,
            key=f"chart {name}",
            on_select=clicks.get(name, "ignore"),
            selection_mode="points",
            config=exports.camera(made, name),
        )
    open_attention(view, inside, asked, choice)
    intervals = "; 95 % bootstrap intervals over pairs" if len(view.source.pairs) > 1 else ""
    st.caption(
        f"{view.note}. {made.about}; {view.what}: effect on the {view.found.metric} at the "
        f"prompts' end{intervals}. The address of this page is its permalink."
    )
    exports.offer(patching_export(view, made, inside, figures))


def _clicked_cell(layers: Sequence[str], columns: Sequence[str]) -> None:
    for point in st.session_state["chart map"].selection.points:
        st.query_params["cell"] = f"{layers[int(point['y'])]}.{columns[int(point['x'])]}"
        st.query_params.pop("head", None)


def _clicked_head() -> None:
    for point in st.session_state["chart heads"].selection.points:
        st.query_params["head"] = point["customdata"]

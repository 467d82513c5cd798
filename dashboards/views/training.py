"""Training: curves of dictionaries and small models, live while a process trains them."""

from __future__ import annotations

import streamlit as st

from dashboards import exports, state
from dashboards.training_export import curves, made_of, training_export
from dashboards.training_view import TrainingView, training_view, trainings, written

EVERY = 2.0  # seconds between looks at a running training
NONE = """There is no training on this machine yet. Start one, and watch it here:

    workbench sae train --site 12.resid_post
    workbench train othello-6x6
"""


def page() -> None:
    st.header("Training")
    name = _chosen()
    if name is None:
        st.info(NONE)
        return
    with state.plain_errors():
        view = training_view(name)
    log = st.toggle(
        "Steps on a log scale", key="log", bind="query-params", help="Early steps in full."
    )
    # A fragment that looks again by itself as long as there is something to wait for.
    st.fragment(_live, run_every=EVERY if view.running else None)(name, bool(log), view.running)
    exports.offer(training_export(view, bool(log)))


def _chosen() -> str | None:
    """One of the home's trainings, or a folder that is typed."""
    known = list(trainings())
    return st.selectbox(
        "Training",
        known,
        index=0 if known else None,
        key="training",
        bind="query-params",
        accept_new_options=True,
        help="The latest first; or type a folder that holds a state.safetensors.",
    )


def _live(name: str, log: bool, watched: bool) -> None:
    with state.plain_errors():
        view = training_view(name)
    if watched and not view.running:
        st.rerun()  # it has ended: nothing to look at again for
    st.progress(min(1.0, view.done / view.total), state.literal(view.standing))
    if view.panels:
        made = made_of(view)
        st.plotly_chart(curves(view, log), key="curves", config=exports.camera(made, "curves"))
    else:
        st.info("Nothing is logged yet.")
    _note(view)


def _note(view: TrainingView) -> None:
    again = f", looked at again every {EVERY:.0f} s" if view.running else ""
    st.caption(
        f"{state.literal(view.sort)} in `{view.folder}`; state of {written(view)}{again}. "
        "Losses are means since the row before, on training data; dead: silent for as many rows "
        "as the recipe says. The address of this page is its permalink."
    )

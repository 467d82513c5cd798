"""Induction: the phase change, scrubbed through: losses, heads and circuits at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboards import exports, live, state
from dashboards import induction_export as drawn
from dashboards.induction_view import (
    DEPTHS,
    SEEDS,
    STEPS,
    InductionView,
    Shot,
    Watch,
    live_recipe,
    live_view,
    place_of,
    shipped_view,
)

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.training import NextToken

ABOUT = (
    "Random labels of which a block comes again and again: only what followed a label before tells "
    "what follows it now. Two layers learn that all at once, one cannot (Olsson et al. 2022)."
)
LIVE = ("trained here", "shipped")


def page() -> None:
    st.header("Induction")
    st.caption(ABOUT)
    with state.computing("Reading the shipped ladder …"):
        shipped_view()
        recipe = _asked()
    live.box("induction", recipe, Watch(recipe), _draw)


def _asked() -> NextToken:
    """What to train on the spot."""
    state.allowed("layers", list(DEPTHS))
    columns = st.columns([1, 1, 1, 3])
    layers = columns[0].selectbox("Layers", list(DEPTHS), key="layers", bind="query-params")
    seed = columns[1].number_input(
        "Seed", *SEEDS, value=0, key="seed", bind=state.in_range("seed", *SEEDS)
    )
    steps = columns[2].number_input(
        "Steps", *STEPS, value=800, step=50, key="steps", bind=state.in_range("steps", *STEPS)
    )
    return live_recipe(str(layers), int(seed), int(steps))


def _view(held: live.Live[Shot] | None) -> InductionView:
    """The training on the spot, where there is one, unless the shipped one is asked for."""
    if held is None or held.shot is None or st.session_state.get("of") == LIVE[1]:
        return shipped_view()
    return live_view(held.shot)


def _key(view: InductionView) -> str:
    """Of the slider: a new one, at the last step, whenever more is seen of a training."""
    return "step" if view.trained is None else f"step of {len(view.steps)}"


def _draw(held: live.Live[Shot] | None) -> None:
    """The picture; again whenever more is seen of a training, and when a knob is turned."""
    columns = st.columns([3, 1, 1])
    if held is not None:
        columns[2].selectbox("Show", LIVE, key="of")
    view = _view(held)
    names, shipped = [str(step) for step in view.steps], view.trained is None
    if shipped:
        state.allowed("step", names)
    state.allowed("head", view.heads)
    bind = "query-params" if shipped else None
    step = columns[0].select_slider("Step", names, names[-1], key=_key(view), bind=bind)
    best = view.heads.index(view.best)
    head = columns[1].selectbox("Head", view.heads, best, key="head", bind="query-params")
    place = place_of(view, str(step), str(head))
    made = drawn.made_of(view, place)
    _chart(st, "curves", drawn.curves(view, place), made)
    left, right = st.columns([3, 2])
    for name, figure in drawn.heads(view, place).items():
        _chart(left if name == "pattern" else right, name, figure, made)
    if held is None or not held.running:  # the rest is drawn once a training has ended
        circuits = drawn.circuits(view, place).items()
        for box, (name, figure) in zip(st.columns([2, 3]), circuits, strict=False):
            _chart(box, name, figure, made)
        _chart(st, "loss by position", drawn.positions(view, place), made)
    st.caption(f"{state.plain(made.about)}. {view.told} The address of this page is its permalink.")
    if held is None or not held.running:
        exports.offer(drawn.induction_export(view, place))


def _chart(box, name: str, figure, made: exports.Made) -> None:
    box.plotly_chart(figure, key=f"chart {name}", config=exports.camera(made, name))

"""What the Grokking page asks, and how it shows one epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboards import exports, state
from dashboards.grokking_export import figures_of, made_of
from dashboards.grokking_view import MAPS, Asked, Course, Moment, course, courses, most

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.labs.grokking import Grokking

LIVE = {  # what a page may train: least, most, default, step
    "p": (5, 127, 59, 1),
    "steps": (100, 20_000, 2_800, 100),
    "seed": (0, 10**6, 0, 1),
}
LARGEST = "largest"
SHARES = {
    "fraction": ("% of pairs", (20, 30, 40, 50, 60, 70, 80, 90), 50),
    "decay": ("Weight decay", (0.0, 0.3, 1.0, 2.0), 1.0),
    "attention": ("Attention", (0.0, 0.25, 0.5, 0.75, 1.0), 1.0),
}


def course_box() -> tuple[Course, int]:
    """Which training, and which of its rungs."""
    left, right = st.columns([2, 5], gap="large")
    with left:
        name = st.selectbox(
            "Training",
            courses(),
            key="training",
            bind="query-params",
            accept_new_options=True,
            help="The shipped one, or a folder that `workbench train grokking` wrote.",
        )
    with state.computing("Reading the ladder …"):
        found = course(str(name))
    epochs = list(found.rungs)
    state.allowed("epoch", [str(epoch) for epoch in epochs])
    with right:
        epoch = st.select_slider("Epoch", epochs, epochs[-1], key="epoch", bind="query-params")
    assert isinstance(epoch, int)
    return found, epoch


def recipe_box() -> Grokking:
    """The knobs of a training on the spot. Raises `InputError` for what the recipe refuses."""
    from workbench.labs.grokking import Grokking

    cells = st.columns(6)
    numbers = {
        name: cell.number_input(
            name.capitalize() if name != "p" else "p",
            low,
            high,
            default,
            step,
            key=name,
            bind=state.in_range(name, low, high),
        )
        for (name, (low, high, default, step)), cell in zip(LIVE.items(), cells, strict=False)
    }
    chosen = {}
    for (name, (label, options, default)), cell in zip(SHARES.items(), cells[3:], strict=True):
        state.allowed(name, [str(one) for one in options])
        chosen[name] = cell.selectbox(
            label,
            options,
            options.index(default),
            key=name,
            bind="query-params",
        )
    return Grokking(
        p=int(numbers["p"]),
        steps=int(numbers["steps"]),
        seed=int(numbers["seed"]),
        fraction=int(chosen["fraction"]) / 100,
        weight_decay=float(chosen["decay"]),
        attention=float(chosen["attention"]),
    )


def asked_box(moment: Moment) -> None:
    """The circle's frequency, and what to draw over all pairs; `chosen` says what was."""
    cells = st.columns([2, 2, 1, 3], vertical_alignment="bottom")
    half = moment.p // 2
    others = (k for k in range(1, half + 1) if k not in moment.keys)
    likely = [LARGEST, *map(str, (*moment.keys, *others))]
    state.allowed("frequency", likely)
    if st.session_state.get("frequency") not in (None, *likely):
        del st.session_state["frequency"]  # of a larger p
    cells[0].selectbox(
        "Circle of frequency",
        likely,
        help="The largest of the embedding at each epoch, or one for all; keys come first.",
        key="frequency",
        bind="query-params",
    )
    state.allowed("map", MAPS)
    kind = str(cells[1].selectbox("Over all pairs", MAPS, 2, key="map", bind="query-params"))
    high = most(moment.weights, kind)
    if st.session_state.get("number", 0) > high:
        del st.session_state["number"]
    named = {"neuron": "Neuron", "logit": "Answer"}.get(kind, "Head")
    cells[2].number_input(named, 0, high, 0, key="number", bind=state.in_range("number", 0, high))


def chosen(moment: Moment) -> tuple[int, Asked]:
    """What `asked_box` was told; for what runs outside of the part of the page that holds it."""
    held = st.session_state
    kind = str(held["map"])
    number = min(int(held["number"]), most(moment.weights, kind))
    frequency = held["frequency"]
    largest = int(moment.norms.argmax()) + 1
    return largest if frequency == LARGEST else int(frequency), Asked(kind, number)


def told_box(moment: Moment) -> None:
    """What the weights do, in a line."""
    keys = ", ".join(map(str, moment.keys)) or "none"
    share = moment.now("variance in key frequencies")
    st.markdown(
        f"**Epoch {moment.epoch:,}**: test accuracy {moment.now('test accuracy'):.1%}, test loss "
        f"{moment.now('test loss'):.3g}. Key frequencies {keys}: {share:.0%} of the logits' "
        f"variance; loss with nothing else {moment.now('restricted loss'):.3g}, without them "
        f"{moment.now('excluded loss'):.3g}. {_verdict(moment)}."
    )


def _verdict(moment: Moment) -> str:
    """By what it adds, once it can."""
    if not moment.now("test accuracy") >= 0.99:
        return "Not grokked, so neither clock nor pizza"
    found = moment.algorithm
    named = {"clock": "A clock", "pizza": "A pizza"}.get(found.name, "Neither clock nor pizza")
    return (
        f"{named}: gradient symmetricity {found.symmetricity:.2f}, distance irrelevance "
        f"{found.irrelevance:.2f}"
    )


def pictures(moment: Moment, frequency: int, asked: Asked) -> None:
    """All five figures of one epoch."""
    made = made_of(moment)
    drawn = figures_of(moment, frequency, asked)
    for row in (("curves",), ("frequencies", "circle"), ("map", "spectrum")):
        for cell, name in zip(st.columns(len(row), gap="medium"), row, strict=True):
            figure, config = drawn[name], exports.camera(made, name)
            cell.plotly_chart(figure, key=f"drawn {name}", config=config)

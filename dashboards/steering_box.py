"""Boxes of the Steering page: where the vector comes from, how long it is, what was written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboards import state
from workbench.commands.steer import UNITS
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.generation import Generation

SOURCES = ("two prompts", "a file")
READ = ("last token", "all positions")
SEEDS, NEW_TOKENS, STRENGTHS, TEMPERATURES = (0, 10**6), (1, 200), (-1e4, 1e4), (0.0, 5.0)
TEXT = (
    "white-space:pre-wrap;overflow-wrap:anywhere;max-height:16rem;overflow:auto;padding:.6rem;"
    "border:1px solid rgba(128,128,128,.4);border-radius:.4rem;font-size:.95rem"
)
Where = tuple[int, ...] | Literal["new"] | None


@dataclass(frozen=True)
class Source:
    """Where a vector comes from: two texts read at a layer, or a file that was handed over."""

    wanted: str = ""
    against: str = ""
    read: str = READ[0]
    layer: int = 0
    bos: bool | None = None
    file: str = ""
    content: bytes = b""

    @property
    def position(self) -> int | None:
        """The position of the texts that is read, None for all."""
        return -1 if self.read == READ[0] else None


@dataclass(frozen=True)
class Push:
    """How strongly is steered, where, and how the text is drawn."""

    strength: float
    unit: str
    positions: Where
    seed: int
    temperature: float
    new_tokens: int


def source_box(layers: int, bos: bool | None) -> Source | None:
    """The widgets of a vector; None, and what is missing, until there is one.

    `bos` is the policy of its texts, the prompt's own.
    """
    state.allowed("source", SOURCES)
    kind = st.segmented_control(
        "Vector from", SOURCES, default=SOURCES[0], key="source", bind="query-params"
    )
    if kind == SOURCES[1]:
        given = st.file_uploader(
            "A direction's file",
            key="file",
            help="As `workbench steer --save` and this page write it: safetensors, whose layer it "
            "names itself. The file is no part of the address.",
        )
        if given is None:
            st.info("Give a file that `workbench steer --save FILE` or this page has written.")
            return None
        return Source(file=given.name, content=given.getvalue())
    state.allowed("read", READ)
    names = [str(layer) for layer in range(layers)]
    state.allowed("layer", names)
    columns = st.columns([2.5, 2.5, 1.5, 1])
    wanted = columns[0].text_input("Towards", key="towards", bind="query-params")
    against = columns[1].text_input("Away from", key="away", bind="query-params")
    read = columns[2].selectbox("Read at", READ, key="read", bind="query-params")
    layer = columns[3].selectbox(
        "After layer", names, index=layers // 2, key="layer", bind="query-params"
    )
    if not (wanted.strip() and against.strip()):
        st.info("Write a text to steer towards and one to steer away from, such as love and hate.")
        return None
    return Source(wanted, against, str(read), int(layer), bos)


def push_box() -> Push:
    """The widgets of strength, positions and draw."""
    state.allowed("unit", UNITS)
    columns = st.columns([1.2, 1.2, 1.2, 1, 1, 1])
    strength = columns[0].number_input(
        "Strength", *STRENGTHS, 1.0, 0.5, key="strength", bind=_bound("strength", STRENGTHS)
    )
    unit = columns[1].selectbox(
        "Unit",
        UNITS,
        index=UNITS.index("made"),
        key="unit",
        bind="query-params",
        help="made: the length of the difference. norm: the mean length of the prompt's "
        "activations there. absolute: 1.",
    )
    written = columns[2].text_input(
        "Positions",
        key="positions",
        bind="query-params",
        placeholder="all",
        help="all; new (only tokens that are written); or numbers of the prompt, such as 3,-1",
    )
    positions: Where = state.or_default(lambda: positions_of(written), lambda: None)
    seed = columns[3].number_input(
        "Seed", *SEEDS, 0, key="seed", bind=state.in_range("seed", *SEEDS)
    )
    temperature = columns[4].number_input(
        "Temperature",
        *TEMPERATURES,
        0.0,
        0.1,
        key="temperature",
        bind=_bound("temperature", TEMPERATURES),
        help="0 takes the likeliest token each time.",
    )
    n = columns[5].number_input(
        "New tokens", *NEW_TOKENS, 30, key="new", bind=state.in_range("new", *NEW_TOKENS)
    )
    return Push(float(strength), str(unit), positions, int(seed), float(temperature), int(n))


def progress_box(slot: DeltaGenerator) -> DeltaGenerator:
    """How far it is, and a button that ends it: a click runs the page anew from the top."""
    with slot.container():
        bar = st.progress(0.0, "Making the vector …")
        stopped = st.button("Stop")
    if stopped:
        slot.info("Stopped. What was computed is kept.")
        st.button("Go on")
        st.stop()
    return bar


def text_box(name: str, prompt: str, row: Generation, about: str) -> None:
    """What was written, as it was written: text that has fallen apart is shown as well."""
    st.markdown(f"**{state.literal(name)}**")
    given = f"<span style='opacity:.75'>{escape(prompt)}</span>"
    st.html(f"<div style='{TEXT}' tabindex='0'>{given}{escape(row.text)}</div>")
    st.caption(about)


def positions_of(text: str) -> Where:
    """Positions as they are written: all, new, or numbers with commas between."""
    word = text.strip()
    if word in ("", "all"):
        return None
    if word == "new":
        return "new"
    if not re.fullmatch(r"-?\d{1,6}( *, *-?\d{1,6})*", word):
        raise InputError(
            f"positions {text!r} should be all, new, or whole numbers with commas between, "
            "such as 3,-1"
        )
    return tuple(int(one) for one in word.split(","))


def _bound(name: str, bounds: tuple[float, float]) -> Literal["query-params"] | None:
    """`state.in_range` for a number that need not be whole."""
    given, (low, high) = st.query_params.get(name), bounds
    number = _number(given or "")
    if given is None or (number is not None and low <= number <= high):
        return "query-params"
    st.warning(
        state.plain(
            f"the address asks for {name} “{given[:40]}”, which is not a number from {low:g} to "
            f"{high:g}; the default is shown."
        )
    )
    # Streamlit resets what it cannot use, but ends in a traceback at infinity.
    return "query-params" if number is None or math.isfinite(number) else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

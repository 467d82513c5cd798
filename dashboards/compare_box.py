"""The boxes of the page Compare: what is asked of both sides, and what is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from dashboards import compare_view as numbers
from dashboards import patching_pairs, prompts, state
from dashboards.compare_sides import VIEWS, Place
from dashboards.compare_view import Picture
from dashboards.lens_view import VALUES
from dashboards.patching_pairs import TASKS, PairsAsked
from dashboards.patching_settings import ask_before_running
from dashboards.patching_sweeps import HEADS, METRICS, STREAM, Asked, Source, is_large, places_of
from dashboards.progress import Progress
from dashboards.prompts import Question

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.models import Model

CAP = 64  # tokens of a prompt: three pictures stand side by side
THE_SAME = "the same"
SCORES = ("induction", "previous token", "duplicate token", "first token", "self", "entropy")
Make = Callable[[Callable[[str], Progress]], list[Picture]]
Asks = Question | PairsAsked


def questions(on: str) -> tuple[Asks, Asks] | None:
    """What A and B are asked; None (and the examples) while that is nothing."""
    if on == "Patching":
        pairs = patching_pairs.box("Compare")
        if pairs is None:
            return None
        state.allowed("task_b", [THE_SAME, *TASKS])
        task = st.selectbox("Task of B", [THE_SAME, *TASKS], key="task_b", bind="query-params")
        if task in (None, THE_SAME):
            return pairs, pairs
        return pairs, PairsAsked(str(task), pairs.n, pairs.seed)
    question = prompts.box("Compare", random=on == "Attention")
    if question is None:
        return None
    text = "" if question.random else st.text_input(
        "Prompt of B", key="prompt_b", bind="query-params", placeholder="the same prompt"
    )  # fmt: skip
    return question, replace(question, text=text) if text.strip() else question


def text_of(asked: Asks) -> str:
    """A prompt's words, or the task; of random tokens none."""
    return asked.text if isinstance(asked, Question) else asked.task or asked.clean


def asked_of(model: Model, asked: Asks) -> prompts.Asked | PairsAsked:
    """A prompt becomes this model's tokens; pairs are made when they are patched."""
    return prompts.ask(model, asked, cap=CAP) if isinstance(asked, Question) else asked


def _attention(a: Place, b: Place) -> Make:
    state.allowed("score", SCORES)
    columns = st.columns([1, 1, 2])
    score = columns[0].selectbox("Score of heads", SCORES, key="score", bind="query-params")
    head = columns[1].text_input(
        "Head", key="head", bind="query-params", placeholder="A's first", help="Such as L1H2."
    )
    return lambda progress: numbers.attention(a, b, str(score), head.strip())


def _lens(a: Place, b: Place) -> Make:
    state.allowed("value", VALUES)
    columns = st.columns([1, 1, 2])
    value = columns[0].selectbox("Shade by", VALUES, key="value", bind="query-params")
    token = columns[1].text_input(
        "Follow a token",
        key="follow",
        bind="query-params",
        placeholder="what A says at last",
        help="Words inside a sentence begin with a space.",
    )
    return lambda progress: numbers.lens(a, b, str(value), token)


def _patching(a: Place, b: Place) -> Make:
    sites = (*STREAM, *HEADS)
    state.allowed("site", sites)
    state.allowed("metric", METRICS)
    columns = st.columns([1, 1, 2])
    site = str(columns[0].selectbox("Patch", sites, key="site", bind="query-params"))
    metric = str(columns[1].selectbox("Metric", METRICS, key="metric", bind="query-params"))
    patch = {}
    for place in (a, b):
        source = Source(place.model, place.store, numbers.pairs_of(place))
        where = "all" if site in HEADS else places_of(source.pairs)
        patch[place.letter] = Asked(site, where, "denoising", metric)
        if is_large(source, patch[place.letter]):
            ask_before_running(source, patch[place.letter])
    return partial(numbers.patching, a, b, patch)


def _sae(a: Place, b: Place) -> Make | None:
    from dashboards.sae_view import fitting, opened

    found = []
    columns: Sequence = st.columns(2)
    for column, place, key in zip(columns, (a, b), ("sae", "sae_b"), strict=True):
        known = fitting(place.model)
        name = column.selectbox(
            f"SAE of {place.letter}",
            list(known),
            index=0 if known else None,
            key=key,
            bind="query-params",
            accept_new_options=True,
            placeholder="none is of this model; type a folder",
        )
        if name:
            found.append(opened(str(name), known, place.model))
    if len(found) < 2:
        st.info("A side has no dictionary: `workbench sae train` makes one; or type a folder.")
        return None
    return lambda progress: numbers.latents(a, b, (found[0], found[1]))


MAKERS: dict[str, Callable[[Place, Place], Make | None]] = dict(
    zip(VIEWS, (_attention, _lens, _patching, _sae), strict=True)
)

"""Boxes of the Circuit page: how a circuit is found, how large it is, and what it keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from dashboards import exports, state
from dashboards.circuit_finding import Question
from dashboards.circuit_view import Chosen, CircuitView, Found, first_size, offered, sizes
from dashboards.patching_sweeps import METRICS

if TYPE_CHECKING:  # torch must not load before it is needed
    from dashboards.exports import Made
    from workbench.patching.edges import EdgeScores

METHODS = ("EAP-IG", "EAP", "exact")
SEARCHES = ("greedy", "threshold")
ABLATIONS = ("resample", "mean", "zero")
STEPS, RIVALS = (1, 50), (0, 10)
# Top-1 accuracy has no gradient to estimate scores from.
SETTINGS: Mapping[str, tuple[str, Sequence[str], str]] = {
    "metric": (
        "Metric",
        [name for name in METRICS if name != "top-1 accuracy"],
        "Taken at each prompt's end.",
    ),
    "method": (
        "Edges scored by",
        METHODS,
        "EAP-IG: gradients along the line from the corrupted to the clean embedding. EAP: at the "
        "clean run alone. exact: one run for each edge, for small models.",
    ),
    "search": (
        "Chosen by",
        SEARCHES,
        "greedy: one by one from the logits, each edge leading to them. threshold: the largest "
        "scores, less those that carry nothing.",
    ),
    "ablation": (
        "Other edges carry",
        ABLATIONS,
        "resample: the corrupted prompt. mean: its mean over the pairs. zero: nothing.",
    ),
}
CELL = "text-align:left;padding:1px 10px 1px 0;white-space:nowrap"
MONO = f"{CELL};font-family:monospace"


def question_box() -> Question:
    """The widgets of how edges are scored, chosen and judged."""
    columns = st.columns([4, 3, 2, 3, 3], vertical_alignment="bottom")
    boxes = dict(zip(SETTINGS, (columns[n] for n in (0, 1, 3, 4)), strict=True))
    found = {}
    for key, (label, known, told) in SETTINGS.items():
        state.allowed(key, known)
        found[key] = str(
            boxes[key].selectbox(label, known, key=key, bind="query-params", help=told)
        )
    steps = columns[2].number_input(
        "Steps",
        *STEPS,
        5,
        key="steps",
        bind=state.in_range("steps", *STEPS),
        disabled=found["method"] != "EAP-IG",
        help="Gradients along the line of EAP-IG.",
    )
    return Question(steps=int(steps), **found)


def chosen_box(scores: EdgeScores) -> Chosen:
    """The widgets of how many edges, which in any case, and how many random circuits."""
    known = sizes(scores.graph)
    names = [str(size) for size in known]
    state.allowed("edges", names)
    columns = st.columns([5, 5, 2], vertical_alignment="bottom")
    size = columns[0].select_slider(
        "Edges kept",
        names,
        str(first_size(known)),
        key="edges",
        bind="query-params",
        help="The strongest edges that the search takes; all others are ablated.",
    )
    pins = columns[1].multiselect(
        "Pinned: kept in any case",
        offered(scores),
        key="pins",
        bind="query-params",
        accept_new_options=True,
        placeholder="Edges or components",
        help="An edge, or a component: all edges into it and out of it. The strongest are listed; "
        "type any other, such as L0H1->L1.mlp or L0H1.",
    )
    rivals = columns[2].number_input(
        "Random circuits",
        *RIVALS,
        3,
        key="random",
        bind=state.in_range("random", *RIVALS),
        help="Of as many edges, grown from the logits like a greedy one.",
    )
    return Chosen(int(size), tuple(map(str, pins)), int(rivals))


def kept_table(view: CircuitView) -> None:
    """The share of the metric that the circuit keeps, beside its rivals."""
    st.markdown("**Faithfulness**: 1 is the whole model, 0 no edge at all")
    rows = [
        [row.name, _plain(row.mean), *_bounds(row.low, row.high, view.one)] for row in view.kept
    ]
    _table(["edges that stay", "faithfulness", *_header(view.one)], rows)


def strongest_table(found: Found) -> None:
    """The strongest edges of the whole model, and which of them are kept."""
    one = len(found.scores.clean) == 1
    st.markdown(f"**Strongest edges**: share that goes with each, by {found.question.method}")
    rows = [
        [
            row.name,
            _plain(row.share, "+"),
            *_bounds(row.low, row.high, one),
            "✓" if row.kept else "–",
        ]
        for row in found.strongest()
    ]
    _table(["edge", "share", *_header(one), "kept"], rows)


def _header(one: bool) -> list[str]:
    return [] if one else ["95 % interval"]


def _bounds(low: float, high: float, one: bool) -> list[str]:
    """The interval's cell; one pair has none."""
    return [] if one else [f"[{_plain(low)}, {_plain(high)}]"]


def _plain(value: float, sign: str = "") -> str:
    """Three digits, without the sign of a nothing."""
    return f"{round(value, 3) + 0.0:{sign}.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows of text; a long table scrolls."""
    head = "".join(f"<th style='{CELL}'>{escape(name)}</th>" for name in header)
    lines = "".join(
        f"<tr>{''.join(f'<td style={MONO!r}>{escape(cell)}</td>' for cell in row)}</tr>"
        for row in rows
    )
    st.html(
        "<div style='overflow:auto;max-height:260px' tabindex='0'>"
        f"<table style='font-size:13px'><tr>{head}</tr>{lines}</table></div>"
    )


def circuit_file(found: Found, made: Made) -> None:
    """The circuit as a file that `workbench circuit --circuit` reads."""
    circuit = found.circuit
    st.download_button(
        "The circuit (JSON)",
        circuit.text,
        f"{exports.slug(f'{made.file} {len(circuit)} edges')}.json",
        "application/json",
        on_click="ignore",
    )

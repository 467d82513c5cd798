"""What is patched and how, as the page Patching asks for it."""

import streamlit as st

from dashboards import state
from dashboards.patching_sweeps import (
    DIRECTIONS,
    EXACT,
    HEADS,
    METHODS,
    METRICS,
    STREAM,
    Asked,
    Source,
    place_of,
    places_of,
)


def settings_box() -> tuple[str, str, str, str, bool]:
    """Site, direction, metric, method, and whether it is held against the exact sweep."""
    columns = st.columns([3, 3, 4, 2, 4], vertical_alignment="bottom")
    found = []
    for column, (key, label, known) in zip(
        columns,
        [
            ("site", "Patch", (*STREAM, *HEADS)),
            ("direction", "Direction", DIRECTIONS),
            ("metric", "Metric", METRICS),
            ("method", "Method", METHODS),
        ],
        strict=False,
    ):
        state.allowed(key, known)
        found.append(
            str(column.selectbox(label, known, key=key, bind="query-params", help=ABOUT[key]))
        )
    site, direction, metric, method = found
    state.allowed("compare", ("true", "false"))
    compare = method != EXACT and columns[4].toggle(
        "Beside the exact sweep", key="compare", bind="query-params"
    )
    return site, direction, metric, method, compare


ABOUT = {
    "site": "The residual stream before, within and after a block, outputs of attention and MLP: "
    "layer by position. z, q, k, v: layer by head.",
    "direction": "denoising: clean activations into the corrupted run. noising: corrupted ones "
    "into the clean run.",
    "metric": "Taken at each prompt's end.",
    "method": "exact: every patch is run. AtP, AtP*, IG: estimated from gradients, in few runs.",
}


def places_box(source: Source, site: str) -> str | tuple[str | int, ...]:
    """Where to patch: positions are the map's columns, or heads are patched at one of them."""
    every = places_of(source.pairs)
    if site not in HEADS:
        if every != "each":
            lengths = ", ".join(map(str, source.pairs.by_length))
            st.caption(
                f"Prompts of {lengths} tokens have no positions in common: patched at the places "
                "that all of them name."
            )
        return every
    names = list(map(str, range(len(source.pairs.rows[0])))) if every == "each" else [*every]
    labels = source.pairs.labels(names)
    known = ["all positions together", *labels]
    state.allowed("heads", known)
    chosen = st.selectbox("Heads patched at", known, key="heads", bind="query-params", width=300)
    return "all" if chosen == known[0] else (place_of(names[labels.index(str(chosen))]),)


def ask_before_running(source: Source, patch: Asked) -> None:
    """End the page unless the user has said so."""
    cost = source.cost(patch)
    agreed = f"run {hash((source.key, patch))}"
    if st.session_state.get(agreed):
        return
    st.info(
        f"The exact sweep takes {cost.runs:,} patched runs, {cost.tokens:,} tokens. Fewer pairs "
        "make it shorter; AtP estimates it from a few runs."
    )
    if not st.button(f"Run {cost.runs:,} patched runs"):
        st.stop()
    st.session_state[agreed] = True

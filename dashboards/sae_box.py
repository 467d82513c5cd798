"""Boxes of the SAE page: which dictionary, which latent, what it is, what is done to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from dashboards import state
from dashboards.sae_edits import ABLATE, HOW, STRENGTHS, Push
from dashboards.sae_export import densities
from dashboards.sae_view import (
    CAP,
    DENSITIES,
    F1S,
    ORDERS,
    Find,
    Opened,
    Reading,
    columns,
    fitting,
    found,
    opened,
)
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.models import Model

BY = ("the table", "a prompt")
SEEDS, NEW_TOKENS = (0, 10**6), (1, 100)
TEMPERATURES = ("0", "0.5", "0.7", "1", "1.5")


def opened_box(model: Model) -> Opened | None:
    """The dictionary that is looked at: one in the list, or a folder; None where there is none."""
    known = fitting(model)
    name = st.selectbox(
        "SAE",
        list(known),
        index=0 if known else None,
        key="sae",
        bind="query-params",
        accept_new_options=True,
        placeholder="none is of this model; type a folder",
        help="Shipped, or trained into the home by `workbench sae train`; or type a folder.",
    )
    if not name:
        st.info(
            "No dictionary of this model is here. `workbench sae train` makes one; or type the "
            "folder of one above."
        )
        return None
    view = opened(str(name), known, model)
    st.caption(state.literal(f"{view.about}{f'; {view.counted}' if view.counted else ''}."))
    if view.atlas is None:
        st.info(
            f"What its latents are active on is not known yet: `{view.command}` reads the corpus "
            "once and keeps it. A prompt can be read without."
        )
    return view


def by_box(view: Opened) -> str:
    """Where latents are looked for."""
    if view.atlas is None:
        return BY[1]
    state.allowed("by", BY)
    by = st.segmented_control(
        "Find a latent in", BY, default=BY[0], required=True, key="by", bind="query-params"
    )
    return str(by)


def table_box(view: Opened) -> list[int]:
    """The latents found, in a table and by density; a click on a row chooses one."""
    assert view.atlas is not None, "there is nothing to find in without one"
    latents = found(view.atlas, find_box())
    shown = latents[:CAP]
    if not shown:
        st.info("No latent is like this; ask for less.")
        return []
    _table("table", columns(view.atlas, shown), shown, 300)
    cut = f", the first {CAP} shown" if len(latents) > CAP else ""
    n = f"{len(latents):,} of {view.sae.n_latents:,} latents"
    st.caption(f"{n}{cut}. Tick a row to look at its latent.")
    box = st.expander("How often latents are active", key="densities", on_change="rerun")
    if box.open:
        box.plotly_chart(densities(view), key="chart densities")
    return latents


def find_box() -> Find:
    """Which latents the table shows."""
    words = st.columns([3, 1.4, 1.2, 1.3])
    for name, values in (("density", DENSITIES), ("f1", F1S), ("order", ORDERS)):
        state.allowed(name, list(values))
    text = words[0].text_input(
        "Search",
        key="find",
        bind="query-params",
        placeholder="words of the rule, of tokens, of what is promoted, of the strongest example",
    )
    density = words[1].selectbox("Density", DENSITIES, key="density", bind="query-params")
    f1 = words[2].selectbox("F1, held out", F1S, key="f1", bind="query-params")
    order = words[3].selectbox("First", ORDERS, key="order", bind="query-params")
    return Find(text, str(density), str(f1), str(order))


def loudest_table(view: Opened, said: Reading, pos: int | None) -> list[int]:
    """The latents that say most at a token of the prompt, or anywhere in it."""
    latents = said.loudest(pos)
    if not latents:
        st.info(f"Not read: {said.why(pos or 0) or 'nothing is active here'}.")
        return []
    values = said.largest if pos is None else said.acts[pos]
    made: dict[str, list[Any]] = {
        "latent": latents,
        "activation": [float(values[i]) for i in latents],
    }
    if view.atlas is not None:
        held = columns(view.atlas, latents)
        made["of its largest"] = [100 * float(values[i]) / view.unit(i) for i in latents]
        made |= {name: held[name] for name in ("rule", "F1", "promotes", "strongest example")}
    _table("loudest", made, latents, "auto")
    left = int((~said.readable).sum())
    st.caption(
        f"{len(said.tokens)} tokens; ⊘ marks {left} that {'is' if left == 1 else 'are'} not read: "
        "BOS and attention sinks, on which no dictionary is trained."
    )
    return latents


def _table(
    key: str, table: Mapping[str, Any], latents: Sequence[int], height: int | Literal["auto"]
) -> None:
    st.dataframe(
        dict(table),
        key=key,
        height=height,
        hide_index=True,
        row_height=30,
        on_select=partial(_picked, key, latents),
        selection_mode="single-row",
        column_config=_columns(),
    )


def token_pills(said: Reading) -> int | None:
    """The token that is looked at, None for all."""
    marks = {"": "", "BOS": " ⊘", "an attention sink": " ⊘"}
    places = [str(pos) for pos in range(len(said.tokens))]
    labels = {
        place: f"{state.literal(label)}{marks[said.why(pos)]}"
        for pos, (place, label) in enumerate(zip(places, said.tokens.labels, strict=True))
    }
    state.allowed("token", places)
    asked = st.query_params.get("token")
    st.session_state["token"] = asked if asked in places else None
    place = st.pills(
        "Token (none: all of them)",
        places,
        format_func=lambda place: labels[place],
        key="token",
        on_change=_pointed,  # bound to the address, it would be named by its label
    )
    return None if place is None else int(place)


def latent_box(view: Opened, first: int) -> int:
    """The latent that is looked at: the address', or `first`."""
    most = view.sae.n_latents - 1
    asked = st.query_params.get("latent")
    latent = state.or_default(lambda: latent_of(asked, most, first), lambda: first)
    st.session_state["latent"] = latent
    st.number_input("Latent", 0, most, key="latent", on_change=_typed, width=160)
    return latent


def latent_of(text: str | None, most: int, first: int) -> int:
    """The latent that an address names."""
    if text is None:
        return first
    if not (re.fullmatch(r"\d{1,9}", text) and int(text) <= most):
        raise InputError(f"the address asks for latent {text[:40]!r}; there are 0 to {most:,}")
    return int(text)


def push_box(view: Opened, latent: int) -> Push:
    """What is done to the latent, and how the texts are drawn."""
    unit = "x its largest activation" if view.atlas is not None else "x its decoder row"
    for name, values in (("how", HOW), ("strength", STRENGTHS), ("temperature", TEMPERATURES)):
        state.allowed(name, values)
    cells = st.columns([2.5, 2.5, 1, 1.1, 1])
    how = cells[0].segmented_control(
        "The latent", HOW, default=ABLATE, required=True, key="how", bind="query-params"
    )
    strength = cells[1].select_slider(
        f"Strength ({unit})",
        STRENGTHS,
        "2",
        key="strength",
        bind="query-params",
        disabled=how == ABLATE,
    )
    seed = cells[2].number_input("Seed", *SEEDS, 0, key="seed", bind=state.in_range("seed", *SEEDS))
    temperature = cells[3].selectbox(
        "Temperature", TEMPERATURES, key="temperature", bind="query-params"
    )
    n = cells[4].number_input(
        "New tokens", *NEW_TOKENS, 30, key="new", bind=state.in_range("new", *NEW_TOKENS)
    )
    return Push(latent, str(how), float(str(strength)), int(seed), float(temperature), int(n))


def _picked(key: str, latents: Sequence[int]) -> None:
    """A click on a row is the choice of its latent."""
    for row in st.session_state[key].selection.rows:
        choose(latents[row])


def _pointed() -> None:
    """A click on a token, or on the same one again."""
    place = st.session_state["token"]
    if place is None:
        st.query_params.pop("token", None)
    else:
        st.query_params["token"] = place


def _typed() -> None:
    choose(st.session_state["latent"])


def choose(latent: int) -> None:
    """Look at another latent, as a click does."""
    st.query_params["latent"] = str(latent)


def _columns() -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "latent": number(width=70, format="%d"),
        "rule": st.column_config.TextColumn(width=230),
        "F1": number(width=55, format="%.2f", help="Of the rule, on held-out text."),
        "density": number(width=80, format="%.3f %%", help="The share of rows where it is active."),
        "largest": number(width=75, format="%.1f", help="Its largest activation."),
        "activation": number(width=85, format="%.2f"),
        "of its largest": number(width=105, format="%.0f %%"),
        "activations": st.column_config.BarChartColumn(
            width=110, help="How often it says how much, from just above 0 to its largest."
        ),
        "promotes": st.column_config.TextColumn(width=150),
        "strongest example": st.column_config.TextColumn(width="large"),
    }

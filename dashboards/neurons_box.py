"""Boxes of the Neurons page: which layer over which text, which neuron, what it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboards import state
from dashboards.neurons_view import (
    CAP,
    CONTEXTS,
    HELD_OUT,
    ORDERS,
    Layer,
    Text,
    layer_view,
)
from dashboards.progress import progress_bar
from dashboards.shading import grid, lines, shaded
from workbench.registry import listed

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.labs.neurons import Example, Neuron
    from workbench.models import Model


def text_box() -> Text:
    """Which text, and how much of it."""
    state.allowed("contexts", CONTEXTS)
    cells = st.columns([3, 1.2, 3], vertical_alignment="bottom")
    names = [HELD_OUT, *listed("corpora")]
    name = cells[0].selectbox(
        "Text",
        names,
        key="text",
        bind="query-params",
        accept_new_options=True,
        help="Held out of the small models' training; or a corpus, or type a file of text.",
    )
    contexts = cells[1].selectbox(
        "Contexts", CONTEXTS, CONTEXTS.index("64"), key="contexts", bind="query-params"
    )
    return Text(str(name or HELD_OUT), int(str(contexts)))


def has_neurons(model: Model) -> bool:
    """Whether there is an MLP; where there is none, a sentence says where to look."""
    from workbench.labs.neurons import has_mlp

    if has_mlp(model, model.architecture.n_layers - 1):
        return True
    st.info(
        f"{state.plain(model.name)} has no MLPs and so no neurons; “Heads” reads its attention "
        "from the weights. Choose another model in the sidebar to see neurons."
    )
    return False


def layer_box(model: Model) -> int:
    """Which layer; the middle one at first."""
    most = max(0, model.architecture.n_layers - 1)
    bound = state.in_range("layer", 0, most)
    held = st.session_state.get("layer")
    if held is not None and held > most:
        del st.session_state["layer"]  # of a deeper model
    return int(
        st.number_input("Layer", 0, most, model.architecture.n_layers // 2 if most else 0,
                        key="layer", bind=bound, width=120)
    )  # fmt: skip


def read_box(model: Model, layer: int, text: Text) -> Layer:
    """The layer over the text, with a line of progress where it is computed."""
    slot = st.empty()
    with state.computing():
        progress = partial(progress_bar, slot)
        view = layer_view(model, layer, text, progress)
    slot.empty()
    return view


def table_box(view: Layer, key: str = "neurons") -> list[int]:
    """The neurons found, in a table; a tick chooses one."""
    state.allowed("order", list(ORDERS))
    cells = st.columns([2, 1, 4], vertical_alignment="bottom")
    words = cells[0].text_input(
        "Find", key="find", bind="query-params", placeholder="the commonest top token"
    )
    order = cells[1].selectbox("First", ORDERS, key="order", bind="query-params")
    neurons = view.listed(str(order), words)
    shown = neurons[:CAP]
    if not shown:
        st.info("No neuron's strongest examples have such a token in common; ask for another.")
        return []
    st.dataframe(
        view.columns(shown),
        key=key,
        height=300,
        hide_index=True,
        row_height=30,
        on_select=partial(_picked, key, shown),
        selection_mode="single-row",
        column_config=_columns(),
    )
    cut = f", the first {CAP} shown" if len(neurons) > CAP else ""
    st.caption(f"{len(neurons):,} of {len(view.told):,} neurons{cut}. Tick a row to look at one.")
    return neurons


def neuron_box(view: Layer, first: int) -> int:
    """The neuron that is looked at: the address', or `first`."""
    most = view.found.n_neurons - 1
    asked = st.query_params.get("neuron")
    good = asked is not None and bool(re.fullmatch(r"\d{1,9}", asked)) and int(asked) <= most
    if asked is not None and not good:
        st.warning(
            state.plain(
                f"the address asks for neuron “{asked[:40]}”; there are 0 to {most:,}; "
                "the first of the table is shown."
            )
        )
    neuron = int(asked) if asked is not None and good else first
    st.session_state["neuron"] = neuron
    st.number_input("Neuron", 0, most, key="neuron", on_change=_typed, width=160)
    return neuron


def told_box(view: Layer, neuron: int) -> None:
    """What its strongest examples have in common, in a sentence."""
    told = view.told
    token = state.literal(repr(view.string(int(told.token[neuron]))))
    st.markdown(
        f"**{told.share[neuron]:.0%} of its {told.top.shape[1]} strongest examples are at {token}**"
        f" (entropy {told.entropy[neuron]:.1f} bits; at tokens drawn at random the commonest has "
        f"{view.chance:.0%}). Excess kurtosis {told.kurtosis[neuron]:.1f}, largest "
        f"{told.largest[neuron]:.3g}, mean {told.mean[neuron]:.3g}, standard deviation "
        f"{told.std[neuron]:.3g}."
    )


def examples_box(view: Layer, page: Neuron, n: int = 20) -> None:
    """The strongest examples, and in a box those at the other end."""
    st.markdown("**Strongest examples**, one of each context")
    st.html(_lines(view, page.top[:n]))
    if page.lowest[0].value < 0:
        with st.expander("The other end: where it is lowest"):
            st.html(_lines(view, page.lowest[:n]))


def logits_box(view: Layer, page: Neuron) -> None:
    """The tokens whose logits it raises and lowers."""
    from workbench.models import visible

    st.markdown("**Raises and lowers** (W_out W_U, per unit of activation)")
    rows = [
        (visible(view.string(up[0])), f"{up[1]:+.3f}", visible(view.string(down[0])),
         f"{down[1]:+.3f}")
        for up, down in zip(page.promoted, page.suppressed, strict=True)
    ]  # fmt: skip
    st.html(grid(("raises", "", "lowers", ""), rows))


def _lines(view: Layer, examples: Sequence[Example]) -> str:
    most, told = max(abs(one.value) for one in examples), []
    for one in examples:
        strings = [view.string(int(token)) for token in one.ids]
        told.append((f"{one.value:.3g}", shaded(strings, one.values.tolist(), most, one.at)))
    return lines(told)


def _picked(key: str, neurons: Sequence[int]) -> None:
    """A tick in a row is the choice of its neuron."""
    for row in st.session_state[key].selection.rows:
        st.query_params["neuron"] = str(neurons[row])


def _typed() -> None:
    st.query_params["neuron"] = str(st.session_state["neuron"])


def _columns() -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "neuron": number(width=70, format="%d"),
        "kurtosis": number(width=80, format="%.1f", help="Excess: 0 for a normal distribution."),
        "commonest": st.column_config.TextColumn(
            width=120, help="The commonest token among its strongest examples."
        ),
        "share": number(width=70, format="%.0f %%", help="That token's share of them."),
        "entropy": number(width=75, format="%.2f", help="Of those examples' tokens, in bits."),
        "largest": number(width=80, format="%.3g"),
        "mean": number(width=80, format="%.3g"),
        "std": number(width=80, format="%.3g"),
    }

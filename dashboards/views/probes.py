"""Probes: what is there to read at each place, beside all controls; what is read at each token."""

from __future__ import annotations

from functools import partial

import streamlit as st

from dashboards import exports, probes_box, state
from dashboards.probes_export import curve, inside, probes_export
from dashboards.probes_view import ProbesView, is_held, probes_view
from dashboards.progress import progress_bar

PERMALINK = "The address of this page is its permalink"
SAMPLE = "the first of the samples, perhaps one trained on"


def page() -> None:
    st.header("Probes")
    choice = state.picker()
    model = state.model(choice)
    asked = probes_box.asked_box(model)
    if asked is None:
        return
    slot = st.empty()
    with state.computing():
        try:
            bar = slot if is_held(model, asked) else probes_box.progress_box(slot)
            view = probes_view(model, asked, partial(progress_bar, bar))
        finally:
            slot.empty()
    _results(view, choice.made("probes"))


@st.fragment
def _results(view: ProbesView, made: exports.Made) -> None:
    """Only this part runs again when a site is chosen or a text is typed."""
    best = str(view.sweep.best)
    left, right = st.columns([3, 2])
    with right:
        site = probes_box.chosen_site(view.sites, best)
        first, _, rest = view.worth(site).partition(";")
        st.markdown(f"**{state.literal(first)}**; {state.literal(rest)}")
        st.caption(
            f"Best on the samples to choose on: {best}. embedding only: the token by itself. "
            "random weights: the same model untrained. control task: a random label for each "
            "token type."
        )
    left.plotly_chart(
        curve(view, site),
        key="curve",
        on_select=_clicked,
        selection_mode="points",
        config=exports.camera(made, "curve"),
    )
    for column, (name, figure) in zip(st.columns(2), inside(view, site).items(), strict=False):
        column.plotly_chart(figure, key=f"chart {name}", config=exports.camera(made, name))
    _tokens(view, made, site)


def _tokens(view: ProbesView, made: exports.Made, site: str) -> None:
    """What the chosen probe reads at each token of a text."""
    tasks, classes = view.sweep.tasks, view.sweep.classes
    columns = st.columns([4, 1, 1])
    text = columns[0].text_input(
        "Read a text",
        key="text",
        bind="query-params",
        placeholder="the first of the samples; type your own",
    )
    state.allowed("task", tasks)
    shown = (probes_box.ANSWER, *classes)
    state.allowed("shown", shown)
    task = str(columns[1].selectbox("Task", tasks, key="task", bind="query-params"))
    show = str(columns[2].selectbox("Colour", shown, key="shown", bind="query-params"))
    mine = "your text" if text.strip() else SAMPLE
    tokens, whole, mine = state.or_default(
        lambda: (*view.tokens(text), mine), lambda: (*view.tokens(""), SAMPLE)
    )
    with state.plain_errors():
        shares = view.shares(site, tokens)[:, tasks.index(task)]
    probes_box.token_box(tokens.labels, shares, classes, show)
    cut = f"The first {len(tokens)} of {whole:,}" if len(tokens) < whole else str(whole)
    st.caption(
        f"{cut} tokens of {mine}, read by the {view.sweep.kind} probe at "
        f"{site}; hover for all shares. {view.note}. {made.about}; {state.literal(view.about)}. "
        f"{PERMALINK}{' but for the file' if view.asked.labels.name == probes_box.FILE else ''}."
    )
    exports.offer(probes_export(view, made, site, task, tokens, shares))


def _clicked() -> None:
    """A click on a point of the curve is the site that is looked at."""
    for point in st.session_state["curve"].selection.points:
        if point.get("customdata"):
            st.session_state["site"] = str(point["customdata"])

"""Attribution: which component wrote a logit difference, and from which position."""

from functools import partial

import streamlit as st

from dashboards import attribution_view as numbers
from dashboards import exports, prompts, state
from dashboards.attribution_export import attribution_export, attribution_figures
from dashboards.attribution_view import AttributionView, Part

CAP = 256  # tokens
SPACE = "One token; words inside a sentence begin with a space."


def page() -> None:
    st.header("Direct logit attribution")
    choice = state.picker()
    question = prompts.box("Attribution", random=False)
    if question is None:
        return
    columns = st.columns([1, 1, 1, 2])
    answer = columns[0].text_input(
        "Answer", key="answer", bind="query-params", placeholder="the model's first", help=SPACE
    )
    wrong = columns[1].text_input(
        "Against", key="wrong", bind="query-params", placeholder="the model's next", help=SPACE
    )
    place = columns[2].text_input(
        "After position", key="position", bind="query-params", placeholder="the last"
    )
    model, store = state.model(choice), state.store()
    asked = prompts.ask(model, question, cap=CAP)
    with state.computing("Taking the logits apart …"):
        position = state.or_default(
            lambda: numbers.position_of(place, asked), lambda: numbers.position_of("", asked)
        )
        tops = numbers.likely(model, store, asked, position)
        pair = state.or_default(
            lambda: numbers.pair_of(answer, wrong, model, tops), lambda: (tops[0], tops[1])
        )
        view = numbers.attribution_view(model, store, asked, pair, position)
    _charts(view, asked.made("attribution", choice))


@st.fragment
def _charts(view: AttributionView, made: exports.Made) -> None:
    """Only this part runs again when a bar or a head is clicked."""
    st.markdown(f"**{state.literal(view.about)}**")
    state.allowed("part", view.choices)
    top = st.container()
    left, right = st.columns(2)
    chosen = right.selectbox("Look inside", view.choices, key="part", bind="query-params")
    part = Part.parse(str(chosen))
    inside = view.inside(part)
    figures = attribution_figures(view, part, inside)
    for name, box in (("components", top), ("heads", left), ("inside", right)):
        box.plotly_chart(
            figures[name],
            key=f"chart {name}",
            on_select=partial(_clicked, name),
            selection_mode="points",
            config=exports.camera(made, name),
        )
    st.caption(
        f"{view.note}. {made.about}; {len(view.labels)} tokens. Shares are of direct paths, with "
        "the final norm held at its scale. The address of this page is its permalink."
    )
    exports.offer(attribution_export(view, made, part, inside, figures))


def _clicked(chart: str) -> None:
    """A click on a bar or a head is the choice of what to look into."""
    for point in st.session_state[f"chart {chart}"].selection.points:
        if numbers.has_inside(str(point.get("customdata"))):
            st.session_state["part"] = point["customdata"]

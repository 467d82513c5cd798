"""Othello: does the model hold the board, and does it play by it? Step, look, flip a disc."""

from __future__ import annotations

from functools import partial

import streamlit as st

from dashboards import exports, othello_box, state
from dashboards import othello_view as numbers
from dashboards.components import board_canvas
from dashboards.othello_box import GameAsked, Moment
from dashboards.othello_export import accuracy, board_edit, othello_export
from dashboards.othello_view import GAMES, OthelloView
from dashboards.progress import progress_bar


def page() -> None:
    st.header("Othello")
    choice = state.picker(othello_box.boards())
    if not choice.model:
        st.info(
            "Type the folder of an Othello model on the left; `workbench train othello-6x6` makes "
            "one."
        )
        return
    asked = othello_box.game_box()
    if asked is None:
        return
    model = state.model(choice)
    bar = st.empty()
    with state.plain_errors():
        moves = othello_box.moves_of(asked, numbers.sequences_of(model))
        with state.computing():
            sweeps = numbers.probes_of(model, partial(progress_bar, bar))
        bar.empty()
        layers = model.architecture.n_layers
        push = othello_box.push_box(layers, numbers.best_layers(sweeps))
        view = numbers.othello_view(model, moves, sweeps, push)
    made = asked.made(choice)
    _board(view, asked, made)
    for column, (which, figure) in zip(st.columns(2), accuracy(view).items(), strict=True):
        key = f"curve {which}"
        column.plotly_chart(
            figure,
            key=key,
            on_select=partial(_clicked, key),
            selection_mode="points",
            config=exports.camera(made, f"accuracy {which}"),
        )
    st.caption(
        f"{state.literal(view.about)}. Ridge probes on {GAMES:,} random games: 70 % to fit, 10 % "
        "to choose their strength, 20 % to test; 95 % bootstrap intervals over games. Controls "
        f"are of the {view.push.reading} probes: the same model untrained, the token by itself, a "
        "random label for each token type, labels in another order. A click on a point reads "
        "after that layer."
    )


@st.fragment
def _board(view: OthelloView, asked: GameAsked, made: exports.Made) -> None:
    """Only this part runs again when a disc is clicked or the game is stepped through."""
    length = len(view.game)
    moment = state.or_default(
        lambda: othello_box.moment_of(st.query_params, length, view.names),
        lambda: othello_box.moment_of({}, length, view.names),
    )
    changed = state.or_default(lambda: numbers.changed_view(view, moment), lambda: None)
    if changed is None:
        moment = Moment(moment.number)
    board_canvas(
        held=view.game.held,
        legal=view.game.legal,
        reading=view.scores,
        probability=view.game.probability,
        moves=view.game.moves.tolist(),
        black=view.game.black.tolist(),
        names=view.names,
        reader=view.reader,
        relative=view.push.reading == "mine/theirs",
        move=moment.number,
        edit=None if changed is None else board_edit(view, moment, changed),
        about=made.note,
        file=exports.slug(made.file),
        key="board",
        on_ask=partial(othello_box.into_address, view.names),
    )
    st.caption(f"{view.note}. {made.about}. The address of this page is its permalink.")
    exports.offer(othello_export(view, made, asked, moment, changed))


def _clicked(key: str) -> None:
    """A click on a point of a curve is the layer that is read."""
    for point in st.session_state[key].selection.points:
        if point.get("customdata"):
            st.session_state["probe"] = str(point["customdata"])

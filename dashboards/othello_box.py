"""Boxes of the Othello page: which game, which probes, and how squares are changed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import streamlit as st

from dashboards import prompts, state
from dashboards.components import BoardAsked
from dashboards.examples import examples
from dashboards.exports import Made
from dashboards.state import Choice
from workbench.errors import InputError
from workbench.registry import listed

if TYPE_CHECKING:  # torch must not load before it is needed
    from collections.abc import Mapping, Sequence

    from probes.othello.cases import Change
    from probes.othello.games import Moves
    from probes.othello.sequences import Sequences

GAMES = ("random legal game", "typed moves")
READINGS = ("mine/theirs", "black/white")
SEEDS, FIRST_MOVE = (1, 10**6), 12
ALPHAS = (0.0, 2.0)


@dataclass(frozen=True)
class GameAsked:
    """A random game by its seed, or one of those that a text holds."""

    seed: int
    text: str = ""
    number: int = 1

    @property
    def code(self) -> str:
        """The Python that makes its moves."""
        if not self.text:
            return f"sequences.held_out(1, seed={self.seed})"
        n = self.number
        return f"parse_games(sequences.board, {self.text!r}, only={n})[{n - 1}:{n}]"

    @property
    def about(self) -> str:
        """What was asked, in words."""
        if not self.text:
            return f"random game, seed {self.seed}"
        return f"game {self.number} of the moves typed"

    def made(self, choice: Choice) -> Made:
        """What a view of it is made from, for its exports."""
        about = f"{choice}; {self.about}"
        return replace(choice.made("othello"), about=about, note=about)


@dataclass(frozen=True)
class Push:
    """Which probes read and change the board, the layer that is shown, and how far is pushed."""

    reading: str
    layer: int
    first: int
    last: int
    alpha: float


@dataclass(frozen=True)
class Moment:
    """After which move, and the squares that are changed there."""

    number: int
    changes: tuple[tuple[int, Change], ...] = ()


def boards() -> list[str]:
    """The built-in models that play Othello, as far as names tell: no library is loaded for it."""
    return [name for name in listed("models") if name.startswith("othello")]


def game_box() -> GameAsked | None:
    """The widgets of a game; None, and what is missing, until moves are typed."""
    state.allowed("game", GAMES)
    row = st.container(horizontal=True, vertical_alignment="top")
    kind = row.segmented_control("Game", GAMES, default=GAMES[0], key="game", bind="query-params")
    if kind != GAMES[1]:
        seed = row.number_input(
            "Seed of the game",
            *SEEDS,
            1,
            key="seed",
            bind=state.in_range("seed", *SEEDS),
            width=180,
        )
        return GameAsked(int(seed))
    left, right = st.columns([5, 1])
    text = left.text_area(
        "Moves, or a record (PGN)",
        key="moves",
        bind="query-params",
        height=80,
        placeholder="b3 d2 e3 … then press Ctrl+Enter",
        help="Squares in the order they were played, black first; passes may be left out.",
    )
    number = right.number_input(
        "Game no.", 1, 10**4, 1, key="number", bind=state.in_range("number", 1, 10**4)
    )
    if not text.strip():
        st.info("Type moves above, or start from an example:")
        for example in examples("Othello"):
            prompts.link(example, example.title)
        return None
    return GameAsked(0, text, int(number))


def moves_of(asked: GameAsked, sequences: Sequences) -> Moves:
    """The moves of one game; a sentence and the position where they are against the rules."""
    from probes.othello.records import parse_games

    if not asked.text:
        return sequences.held_out(1, seed=asked.seed)
    try:
        games = parse_games(sequences.board, asked.text, only=asked.number)
        if asked.number > len(games):
            raise InputError(
                f"the text holds {len(games)} games, so there is no game {asked.number}; give a "
                f"number from 1 to {len(games)}"
            )
    except InputError as error:
        told, _, position = str(error).partition("\n")
        st.error(state.plain(told))
        if position:
            st.code(position, language=None)
        st.stop()
    return games[asked.number - 1 : asked.number]


def push_box(layers: int, best: Mapping[str, int]) -> Push:
    """The widgets of probes and change; `best` is the layer that each reading is best at."""
    names = [f"L{layer}" for layer in range(layers)]
    state.allowed("reading", READINGS)
    for key in ("probe", "from", "to"):
        state.allowed(key, names)
    columns = st.columns([1.5, 1.5, 1, 1, 1])
    reading = columns[0].selectbox(
        "Probes tell apart",
        READINGS,
        key="reading",
        bind="query-params",
        help="mine/theirs: relative to the side that moves next (Nanda et al. 2023); "
        "black/white: by colour (Li et al. 2023). Both know empty squares.",
    )
    probe = columns[1].selectbox(
        "Read after layer", names, index=best[str(reading)], key="probe", bind="query-params"
    )
    low, high = (1, layers - 2) if layers > 2 else (layers - 1, layers - 1)
    first = columns[2].selectbox(
        "Change from",
        names,
        index=low,
        key="from",
        bind="query-params",
        help="A clicked square is changed in the residual stream after each of these layers, at "
        "the last move, along the probe's direction there.",
    )
    last = columns[3].selectbox("to", names, index=high, key="to", bind="query-params")
    alpha = columns[4].number_input(
        "Strength",
        *ALPHAS,
        0.2,
        0.05,
        key="alpha",
        bind="query-params",
        help="The step at each layer, as a share of the activation's length.",
    )
    ends = sorted(names.index(str(name)) for name in (first, last))
    return Push(str(reading), names.index(str(probe)), ends[0], ends[1], float(alpha))


def moment_of(params: Mapping[str, str], length: int, names: Sequence[str]) -> Moment:
    """The moment and the changes that an address names. Raises `InputError` for others."""
    given = params.get("move", str(min(FIRST_MOVE, length)))
    if not re.fullmatch(r"\d{1,3}", given) or not 1 <= int(given) <= length:
        raise InputError(
            f"the address asks for move {given[:40]!r}; this game has 1 to {length} before its end"
        )
    changes: dict[int, Change] = {}
    what: Change
    for what in ("flip", "erase"):
        for square in filter(None, params.get(what, "").split(",")):
            if square not in names:
                raise InputError(
                    f"the address asks to {what} {square[:40]!r}, which is no square of this "
                    f"board; give {names[0]} to {names[-1]}"
                )
            changes[names.index(square)] = what
    return Moment(int(given), tuple(sorted(changes.items())))


def into_address(names: Sequence[str], asked: BoardAsked) -> None:
    """A step or a click becomes part of the address."""
    st.query_params["move"] = str(asked.move)
    for what in ("flip", "erase"):
        squares = [names[square] for square, how in asked.changes.items() if how == what]
        st.query_params.pop(what, None)
        if squares:
            st.query_params[what] = ",".join(squares)

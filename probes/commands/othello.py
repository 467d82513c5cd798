"""`workbench othello`: a board in the terminal, what a model would play, and known answers."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands import options, output
from workbench.errors import InputError
from workbench.registry import Command

if TYPE_CHECKING:  # torch must not load for --help
    from probes.othello.games import Moves, Turn
    from probes.othello.rules import Board
    from workbench.models import Model

_GAMES = 20_000  # whose drawing is timed
_WANTED = 80_000  # of them a second, on 8x8
_HELD_OUT = 500  # that a model is asked about


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=("play", "selftest"))
    group = parser.add_argument_group("play")
    given = group.add_mutually_exclusive_group()
    given.add_argument("--moves", help="show the position after these (f5d6c3) and do not ask")
    given.add_argument("--record", type=Path, metavar="FILE", help="the same, of a PGN or a list")
    group.add_argument("--game", type=int, default=1, help="which of the record's games (1)")
    group.add_argument(
        "--size", type=int, choices=(4, 6, 8), help="of the board (the model's, or 8)"
    )
    group.add_argument("--top", type=int, default=8, help="of the model's moves are shown (8)")
    options.add_model(parser)
    parser.set_defaults(model=None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a board")


def run(arguments: Namespace) -> int:
    return {"play": _play, "selftest": _selftest}[arguments.action](arguments)


@dataclass(frozen=True, eq=False)
class _Table:
    """What is played on, and who is asked."""

    board: Board
    model: Model | None
    top: int


@dataclass(frozen=True, eq=False)
class _Position:
    """The board after some moves, and the model's likeliest moves with their probabilities."""

    moves: list[str]
    board: str
    to_move: str | None  # None: the game is over
    legal: list[str]
    discs: dict[str, int]
    top: list[tuple[str, float]] | None = None
    legal_mass: float | None = None


def _play(arguments: Namespace) -> int:
    # numpy and torch load here, not for --help
    from probes.othello.records import read_games

    if (asks := arguments.moves is None and arguments.record is None) and arguments.json:
        raise InputError("--json shows one position; give it with --moves or --record")
    if arguments.top < 1:
        raise InputError(f"--top {arguments.top} shows nothing; give a whole number from 1")
    table = _table(arguments)
    if asks:
        return _asked(table)
    if arguments.record is not None:
        moves = read_games(table.board, arguments.record, only=arguments.game)
    else:
        moves = _parsed(table.board, arguments.moves or "")
    if not 1 <= arguments.game <= len(moves):
        games = "one game" if len(moves) == 1 else f"{len(moves)} games, 1 to {len(moves)}"
        raise InputError(f"there is no --game {arguments.game}: the record has {games}")
    position = _position(table, moves[arguments.game - 1 : arguments.game])
    output.dump(asdict(position)) if arguments.json else _show(position)
    return 0


def _asked(table: _Table) -> int:
    """Both sides' moves from the terminal, until the game is over or the input ends."""
    text = ""
    while True:
        position = _position(table, _parsed(table.board, text))
        _show(position)
        if position.to_move is None:
            return 0
        try:
            said = output.console.input("a move, undo or quit: ").strip().lower()
        except EOFError:
            return 0
        if said in ("quit", "q"):
            return 0
        if said == "undo":
            text = " ".join(position.moves[:-1])
            continue
        try:
            _parsed(table.board, f"{text} {said}")
        except InputError as error:
            output.say(str(error))
        else:
            text = f"{text} {said}"


def _table(arguments: Namespace) -> _Table:
    from probes.othello.labels import sequences_of
    from probes.othello.rules import Board

    if arguments.model is None:
        return _Table(Board(arguments.size or 8), None, arguments.top)
    model = options.open_model(arguments)
    board = sequences_of(model.vocabulary).board
    if arguments.size not in (None, board.size):
        raise InputError(
            f"--size {arguments.size}: the model plays on {board.size}x{board.size}; leave it out"
        )
    return _Table(board, model, arguments.top)


def _parsed(board: Board, text: str) -> Moves:
    """One game; no move is the start."""
    import numpy as np

    from probes.othello.records import parse_games

    if not text.strip():
        return np.full((1, board.n_squares - 4), -1, dtype=np.int8)
    moves = parse_games(board, text)
    if len(moves) > 1:
        raise InputError(f"the text holds {len(moves)} games; give one, or a file with --record")
    return moves


def _position(table: _Table, moves: Moves) -> _Position:
    from probes.othello.games import drawn, name, replayed, squares

    board, n = table.board, int((moves[0] >= 0).sum())
    turn = list(replayed(board, moves))[n]
    mine, theirs, black = int(turn.mine[0]), int(turn.theirs[0]), bool(turn.black[0])
    legal = [name(board, square) for square in squares(board, int(turn.legal[0]))]
    counts = mine.bit_count(), theirs.bit_count()
    top, mass = (
        _answers(table, moves, turn) if table.model is not None and n and legal else (None,) * 2
    )
    return _Position(
        moves=[name(board, int(square)) for square in moves[0, :n]],
        board=drawn(board, mine, theirs, black),
        to_move=("black" if black else "white") if legal else None,
        legal=legal,
        discs=dict(zip(("black", "white"), counts if black else counts[::-1], strict=True)),
        top=top,
        legal_mass=mass,
    )


def _answers(table: _Table, moves: Moves, turn: Turn) -> tuple[list[tuple[str, float]], float]:
    """The model's likeliest tokens, and its probability on legal moves."""
    from probes.othello.games import name, squares
    from probes.othello.sequences import Sequences
    from workbench import hooks
    from workbench.metrics import top_tokens

    assert table.model is not None
    sequences = Sequences(table.board)
    ids = sequences.ids(moves[:, moves[0] >= 0])
    logits = hooks.run(table.model, ids, logits_at=-1).logits
    assert logits is not None, "a run without reads reaches the logits"
    found = top_tokens(logits[0, -1].cpu(), sequences.vocabulary.size)
    likely = {
        sequences.vocabulary.labels[token]: probability
        for token, probability in zip(found.ids.tolist(), found.probabilities.tolist(), strict=True)
    }
    legal = [name(table.board, square) for square in squares(table.board, int(turn.legal[0]))]
    return list(likely.items())[: table.top], sum(likely[move] for move in legal)


def _show(position: _Position) -> None:
    output.say(position.board)
    black, white = position.discs["black"], position.discs["white"]
    if position.to_move is None:
        output.say(f"the game is over: black {black}, white {white}")
        return
    sign = "X" if position.to_move == "black" else "O"
    output.say(
        f"{position.to_move} ({sign}) moves: {', '.join(position.legal)}; "
        f"black {black}, white {white} discs"
    )
    if position.top is not None:
        output.say(f"the model puts {position.legal_mass:.3f} on legal moves:")
        rows = [
            [move, f"{probability:.4f}", "yes" if move in position.legal else "NO"]
            for move, probability in position.top
        ]
        output.table("", ["move", "probability", "legal"], rows)


def _selftest(arguments: Namespace) -> int:
    # numpy and torch load here, not for --help
    from probes.claims import perfect_player_on_flips, perft_counts

    table = _table(arguments)
    outcomes = {"perft": perft_counts(), "a perfect player": perfect_player_on_flips()}
    speed = _games_per_second(table.board)
    found: dict[str, Any] = {
        "claims": {name: asdict(outcome) for name, outcome in outcomes.items()},
        "games_per_second": {f"{table.board.size}x{table.board.size}": round(speed)},
    }
    if table.model is not None:
        found["model"] = {"name": table.model.name, **_rules_kept(table.model)}
    if arguments.json:
        output.dump(found)
    else:
        rows = [[n, o.expected, o.found, "yes" if o.holds else "NO"] for n, o in outcomes.items()]
        output.table("Othello", ["claim", "expected", "found", "holds"], rows)
        size = f"{table.board.size}x{table.board.size}"
        output.say(f"{speed:,.0f} random games a second on {size} (wanted: {_WANTED:,} on 8x8)")
        if table.model is not None:
            measures = [
                [name, f"{value:,.4g}"] for name, value in found["model"].items() if name != "name"
            ]
            output.say(f"{table.model.name} on {_HELD_OUT} games that it has not seen:")
            output.table("", ["measure", "value"], measures)
    return 0 if all(outcome.holds for outcome in outcomes.values()) else 1


def _games_per_second(board: Board) -> float:
    import numpy as np

    from probes.othello.games import random_games

    started = time.perf_counter()
    random_games(board, _GAMES, np.random.default_rng(0))
    return _GAMES / (time.perf_counter() - started)


def _rules_kept(model: Model) -> dict[str, float]:
    """How well a model keeps the rules, on games that no training draws from."""
    from probes.othello.labels import sequences_of
    from probes.othello.sequences import played
    from workbench import hooks

    def logits(ids):
        found = hooks.run(model, ids).logits
        assert found is not None, "a run without reads reaches the logits"
        return found

    sequences = sequences_of(model.vocabulary)
    return asdict(played(sequences, logits, sequences.held_out(_HELD_OUT, seed=2), batch=100))


COMMAND = Command("an Othello board, what a model plays on it, and known answers", configure, run)

"""Whole games: drawn at random, or replayed from their moves, many at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int8, UInt64

from probes.othello.rules import Board, Squares
from workbench.errors import InputError

Moves = Int8[np.ndarray, "game move"]
"""Squares in the order they were played, -1 after the end; passes are left out (Li et al. 2023)."""


@dataclass(frozen=True)
class Turn:
    """All games at one moment: whose turn it is, both sides' discs, and where that side may play.

    `black` is True where black is to move; a game that is over has no legal move.
    """

    mine: UInt64[np.ndarray, " game"]
    theirs: UInt64[np.ndarray, " game"]
    black: Bool[np.ndarray, " game"]
    legal: UInt64[np.ndarray, " game"]


def opening(board: Board, games: int) -> Turn:
    """Black to move on the first position."""
    black, white = board.start(games)
    return Turn(black, white, np.ones(games, dtype=bool), board.legal(black, white))


def after(board: Board, turn: Turn, move: Squares) -> Turn:
    """The next turn; a side that cannot move passes.

    `move` is one bit, or none where a game is over.
    """
    turned = board.flipped(turn.mine, turn.theirs, move)
    mine, theirs = turn.theirs & ~turned, turn.mine | turned | move
    legal = board.legal(mine, theirs)
    stuck = np.flatnonzero(legal == 0)
    black = ~turn.black
    if len(stuck):
        mine[stuck], theirs[stuck] = theirs[stuck], mine[stuck]
        black[stuck] = ~black[stuck]
        legal[stuck] = board.legal(mine[stuck], theirs[stuck])
    return Turn(mine, theirs, black, legal)


def random_games(board: Board, games: int, generator: np.random.Generator) -> Moves:
    """Games in which each move is drawn from the legal ones, all equally likely."""
    most = board.n_squares - 4
    moves = np.full((games, most), -1, dtype=np.int8)
    turn = opening(board, games)
    for number in range(most):
        count = np.bitwise_count(turn.legal)
        chosen = (generator.random(games) * count).astype(np.uint8)
        square = _nth_square(turn.legal, chosen)
        over = turn.legal == 0
        moves[:, number] = np.where(over, -1, square)
        turn = after(board, turn, np.where(over, 0, np.uint64(1) << square.astype(np.uint64)))
    return moves


def replayed(board: Board, moves: Moves) -> Iterator[Turn]:
    """The turn before each move, and the one after the last.

    Raises `InputError` for a move that is not legal: which game, which move, and what was.
    """
    turn = opening(board, len(moves))
    yield turn
    for number in range(moves.shape[1]):
        square = moves[:, number]
        bit = np.where(square < 0, 0, np.uint64(1) << np.maximum(square, 0).astype(np.uint64))
        wrong = (square >= board.n_squares) | ((square >= 0) & (bit & turn.legal == 0))
        wrong |= (square < 0) & (moves[:, number:] >= 0).any(1)
        if wrong.any():
            _refuse(board, turn, moves, int(np.flatnonzero(wrong)[0]), number)
        turn = after(board, turn, bit)
        yield turn


def name(board: Board, square: int) -> str:
    """A square as players write it: `d3`, column and row."""
    row, column = divmod(square, board.size)
    return f"{'abcdefgh'[column]}{row + 1}"


def drawn(board: Board, mine: int, theirs: int, black: bool) -> str:
    """A position as text: X is black, O white, . empty."""
    signs = "XO" if black else "OX"
    rows = ["  " + " ".join("abcdefgh"[: board.size])]
    for row in range(board.size):
        cells = []
        for column in range(board.size):
            bit = 1 << (row * board.size + column)
            cells.append(signs[0] if mine & bit else signs[1] if theirs & bit else ".")
        rows.append(f"{row + 1} {' '.join(cells)}")
    return "\n".join(rows)


def squares(board: Board, bits: int) -> list[int]:
    return [square for square in range(board.n_squares) if bits >> square & 1]


def _refuse(board: Board, turn: Turn, moves: Moves, game: int, number: int) -> None:
    square, side = int(moves[game, number]), "black" if turn.black[game] else "white"
    legal = [name(board, one) for one in squares(board, int(turn.legal[game]))]
    if square < 0:
        what = "is left out, moves follow it"
    elif square >= board.n_squares:
        what = f"is square {square}, there are {board.n_squares}"
    else:
        what = f"is {name(board, square)}, not legal for {side}"
    may = f"legal: {', '.join(legal)}" if legal else "the game is over"
    position = drawn(board, int(turn.mine[game]), int(turn.theirs[game]), bool(turn.black[game]))
    raise InputError(
        f"game {game + 1}: move {number + 1} {what} ({may}) in this position:\n{position}"
    )


def _nth_square(bits: UInt64[np.ndarray, " game"], n: np.ndarray) -> np.ndarray:
    """The n-th set bit of each number, counted from the lowest; any where there are fewer."""
    left, place = n.copy(), np.zeros_like(n)
    for width in (32, 16, 8, 4, 2, 1):
        low = np.uint64((1 << width) - 1)
        below = np.bitwise_count((bits >> place.astype(np.uint64)) & low)
        beyond = left >= below
        left -= np.where(beyond, below, 0).astype(np.uint8)
        place += np.where(beyond, width, 0).astype(np.uint8)
    return place

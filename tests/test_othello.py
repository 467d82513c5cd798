"""Othello's rules: known counts, a plain reference, whole games."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.othello import Board, after, opening, random_games, replayed
from workbench.errors import InputError

WAYS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]


def _turned(size: int, mine: set[int], theirs: set[int], square: int) -> set[int]:
    """The discs that a move turns, square by square."""
    found = set()
    for down, right in WAYS:
        row, column = square // size + down, square % size + right
        line = []
        while 0 <= row < size and 0 <= column < size and row * size + column in theirs:
            line.append(row * size + column)
            row, column = row + down, column + right
        if 0 <= row < size and 0 <= column < size and row * size + column in mine:
            found |= set(line)
    return found


def _set(bits: np.uint64) -> set[int]:
    return {square for square in range(64) if int(bits) >> square & 1}


def _bits(squares: set[int]) -> np.ndarray:
    return np.array([sum(1 << square for square in squares)], dtype=np.uint64)


@pytest.mark.parametrize("depth, count", [(1, 4), (2, 12), (3, 56), (4, 244), (5, 1396), (6, 8200)])
def test_as_many_games_as_are_known(depth: int, count: int) -> None:
    board = Board(8)
    turn = opening(board, 1)
    for _ in range(depth):
        rows, moves = [], []
        for row, legal in enumerate(turn.legal):
            for square in sorted(_set(legal)):
                rows.append(row)
                moves.append(1 << square)
        chosen = type(turn)(*(getattr(turn, part)[rows] for part in vars(turn)))
        turn = after(board, chosen, np.array(moves, dtype=np.uint64))
    assert len(turn.legal) == count


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.sampled_from([4, 6, 8]))
def test_moves_are_those_of_the_plain_rules(data, size: int) -> None:
    board = Board(size)
    signs = data.draw(st.lists(st.sampled_from("mt."), min_size=size**2, max_size=size**2))
    mine, theirs = ({n for n, sign in enumerate(signs) if sign == side} for side in "mt")
    expected = {
        square: turned
        for square in range(size**2)
        if signs[square] == "." and (turned := _turned(size, mine, theirs, square))
    }
    assert _set(board.legal(_bits(mine), _bits(theirs))[0]) == set(expected)
    for square, turned in expected.items():
        found = board.flipped(_bits(mine), _bits(theirs), _bits({square}))[0]
        assert _set(found) == turned


@pytest.mark.parametrize("size", [4, 6, 8])
def test_random_games_are_legal_and_played_to_their_end(size: int) -> None:
    board = Board(size)
    moves = random_games(board, 200, np.random.default_rng(3))
    assert moves.shape == (200, size**2 - 4)
    *_, last = replayed(board, moves)
    played = (moves >= 0).sum(1)
    assert np.array_equal(np.bitwise_count(last.mine | last.theirs), played + 4)
    assert not last.legal.any() and not (last.mine & last.theirs).any()
    over = board.legal(last.theirs, last.mine)
    assert not over.any()
    assert np.array_equal(moves, random_games(board, 200, np.random.default_rng(3)))
    assert not np.array_equal(moves, random_games(board, 200, np.random.default_rng(4)))


def test_every_legal_move_is_as_likely() -> None:
    board = Board(6)
    first = random_games(board, 8000, np.random.default_rng(0))[:, 0]
    squares, counts = np.unique(first, return_counts=True)
    assert set(squares.tolist()) == _set(opening(board, 1).legal[0])
    assert counts.min() > 1850 and counts.max() < 2150


def test_a_side_that_cannot_move_passes() -> None:
    board = Board(8)
    moves = random_games(board, 3000, np.random.default_rng(1))
    turns = list(replayed(board, moves))
    passed = 0
    for before, then, square in zip(turns, turns[1:], moves.T, strict=False):
        again = (before.black == then.black) & (square >= 0) & (then.legal != 0)
        bits = np.uint64(1) << np.maximum(square, 0).astype(np.uint64)
        turned = board.flipped(before.mine, before.theirs, bits)
        theirs, mine = before.mine | turned | bits, before.theirs & ~turned
        assert not board.legal(mine, theirs)[again].any()
        passed += int(again.sum())
    assert passed > 0


@pytest.mark.parametrize(
    "change, told",
    [
        ((5, 0), r"game 2: move 6 is a1, not legal for \w+ \(legal: "),
        ((5, 64), r"game 2: move 6 is square 64, there are 64"),
        ((5, -1), r"game 2: move 6 is left out, moves follow it"),
    ],
)
def test_an_illegal_move_is_shown_on_its_board(change: tuple[int, int], told: str) -> None:
    board = Board(8)
    moves = random_games(board, 3, np.random.default_rng(0))
    moves[1, change[0]] = change[1]
    with pytest.raises(InputError, match=told) as raised:
        list(replayed(board, moves))
    lines = str(raised.value).splitlines()
    assert len(lines) == 10 and lines[1] == "  a b c d e f g h"
    assert sum(line.count("X") + line.count("O") for line in lines[2:]) == 9


def test_a_move_after_the_end_is_refused() -> None:
    board = Board(4)
    moves = random_games(board, 50, np.random.default_rng(0))
    short = int(np.flatnonzero((moves < 0).any(1))[0])
    moves[short, (moves[short] >= 0).sum()] = 0
    with pytest.raises(InputError, match=f"game {short + 1}: .*the game is over"):
        list(replayed(board, moves))


def test_sizes() -> None:
    with pytest.raises(ValueError, match="sizes are 4, 6 and 8"):
        Board(5)

"""The exercises of notebook 14: the rule of Othello, whose disc it is, a push."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from notebooks.check import Hint, exercise, like, tried
from probes.othello.games import random_games, replayed
from probes.othello.rules import Board, unpacked

Grid = Bool[np.ndarray, "row column"]
_SIZE = 6


@exercise("14.turned")
def turned(answer: Callable[[Grid, Grid, int, int], Grid]) -> None:
    """Against the rules on bitboards, at legal moves of random games and at some that are not."""
    board = Board(_SIZE)
    for turn in replayed(board, random_games(board, 3, np.random.default_rng(0))):
        mine, theirs = (unpacked(board, side) for side in (turn.mine, turn.theirs))
        for game in range(len(mine)):
            for square in np.flatnonzero(~(mine[game] | theirs[game]))[::3].tolist():
                bit = np.array([1 << square], dtype=np.uint64)
                one = slice(game, game + 1)
                wanted = unpacked(board, board.flipped(turn.mine[one], turn.theirs[one], bit))[0]
                sides = [side[game].reshape(_SIZE, _SIZE).copy() for side in (mine, theirs)]
                row, column = divmod(square, _SIZE)
                told = f"a position, row {row}, column {column}"
                given = [side.copy() for side in sides]
                found = np.asarray(tried(answer, *given, row, column, told=told))
                if any((one != side).any() for one, side in zip(given, sides, strict=True)):
                    raise Hint("it changes the boards that it is given; return a new array")
                if found.shape != (_SIZE, _SIZE):
                    raise Hint(f"an array [6, 6] is asked for; yours has the shape {found.shape}")
                _compare(found.astype(bool), wanted.reshape(_SIZE, _SIZE), sides, row, column)


def _compare(found: Grid, wanted: Grid, sides: list[Grid], row: int, column: int) -> None:
    if (found == wanted).all():
        return
    mine, theirs = sides
    if (found & mine).any():
        raise Hint("a disc of mine is turned over; only theirs are")
    if (found & ~theirs).any():
        raise Hint("a square is turned over that holds no disc of theirs")
    more, fewer = found & ~wanted, wanted & ~found
    if more.any() and not wanted.any():
        raise Hint(
            "discs turn over on a square where no move is legal: does each line end in a disc of "
            "mine, on the board?"
        )
    if more.any():
        raise Hint("a line turns over that does not end in a disc of mine, or goes on behind it")
    places = np.argwhere(fewer) - (row, column)
    if (np.abs(places).min(1) > 0).all():
        raise Hint("lines along the diagonals are missed; there are eight directions")
    raise Hint("a line is missed, or only a part of it turns over: is it all that is enclosed?")


@exercise("14.as_seen")
def as_seen(answer: Callable[..., Int[np.ndarray, "move square"]]) -> None:
    """Colours change places where white is to move; empty stays."""
    generator = np.random.default_rng(0)
    for n in (2, 5, 8):
        held, black = generator.integers(0, 3, (n, 7)), generator.random(n) < 0.5
        black[:2] = False, True
        found = np.asarray(tried(answer, held.copy(), black.copy(), told="held, black_moves"))
        wanted = np.where(held == 2, 2, np.where(black[:, None], held, 1 - held))
        if found.shape == wanted.shape and (found != wanted).any():
            if (found[held == 2] != 2).any():
                raise Hint("an empty square has become a disc; empty is 2 for both sides")
            if (found == np.where(held == 2, 2, np.where(black[:, None], 1 - held, held))).all():
                raise Hint("mine and theirs have changed places: black_moves says who is to move")
            if (found == held).all():
                raise Hint("that is black and white still; nothing depends on who is to move")
        like(found, wanted, "your board")


@exercise("14.push")
def push(answer: Callable[..., Float[Tensor, "row d_model"]]) -> None:
    """By a share of each row's own length."""
    generator = torch.Generator().manual_seed(0)
    for rows, width, alpha in ((3, 8, 0.2), (5, 4, 1.0), (2, 6, 0.0)):
        x = torch.randn(rows, width, generator=generator) * torch.arange(1, rows + 1)[:, None]
        direction = 3 * torch.randn(width, generator=generator)
        given = x.clone()
        found = tried(answer, given, direction.clone(), alpha, told=f"x, direction, {alpha}")
        if not torch.equal(given, x):
            raise Hint("it changes the x that it is given; return a new tensor")
        unit = direction / direction.norm()
        wanted = x + alpha * x.norm(dim=-1, keepdim=True) * unit
        for other, hint in (
            (x + alpha * x.norm(dim=-1, keepdim=True) * direction, _UNIT),
            (x + alpha * unit, "the push has the length alpha; it should be a share of each row's"),
            (x + alpha * x.norm() * unit, "one length for all rows; each row has its own"),
            (alpha * x.norm(dim=-1, keepdim=True) * unit, "x itself is gone; it is to be moved"),
        ):
            if alpha and isinstance(found, Tensor) and _same(found, other):
                raise Hint(hint)
        like(found, wanted, "what your function returns")


_UNIT = "the push grows with the direction's length, which should not count"


def _same(found: Tensor, other: Tensor) -> bool:
    close = found.shape == other.shape
    return close and bool(torch.allclose(found.double(), other.double(), atol=1e-5))

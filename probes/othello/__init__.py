"""Othello: the game, its records, and what a board looks like to a probe."""

from probes.othello.games import Moves, Turn, after, opening, random_games, replayed
from probes.othello.rules import Board, Squares

__all__ = [
    "Board",
    "Moves",
    "Squares",
    "Turn",
    "after",
    "opening",
    "random_games",
    "replayed",
]

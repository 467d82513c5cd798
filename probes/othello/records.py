"""Game records as text: Liveothello's PGN, and plain strings of moves."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from probes.othello.games import Moves, Turn, drawn, name, replayed, squares
from probes.othello.rules import Board
from workbench.errors import InputError

_COMMENT = re.compile(r"\{.*?\}|;[^\n]*", re.DOTALL)
_HEADER = re.compile(r"^[ \t]*\[[ \t]*(\w*)[^\n]*\][ \t]*$", re.MULTILINE)
_NUMBER = re.compile(r"^\d+(\.+|$)")  # "12.", "12...", and "12" by itself
_RESULT = re.compile(r"\d+-\d+|1/2-1/2|\*")
_PLAY = re.compile(r"[a-z]\d{1,3}|pass|pa|ps|-+")


@dataclass(frozen=True)
class _Record:
    """What one game's text says: the squares, and after how many of them a pass is written."""

    squares: list[int]
    passes: list[int]


def parse_games(board: Board, text: str, *, only: int | None = None) -> Moves:
    """All games of a text, checked by playing them.

    With header lines (`[Event "..."]`) the text is PGN, a game for each block of them; without, a
    game for each line. Moves read `F5 D6`, `1. f5 d6`, `f5,d6` or `f5d6`; comments (`{}`, `;`) and
    results are passed over, and a pass may be written (`--`, `pa`, `pass`, `ps`) or left out. Black
    moves first, to d3, c4, f5 or e6 (on 8x8); a game may stop before its end. With `only`, a number
    from 1, the moves of the other games are not read: they stay empty.

    Raises `InputError` for a text without games, for what is no move, and for a move or a pass
    that the rules do not allow: which game, which move, why, and the position.
    """
    records = [
        _record(board, n, body if only in (None, n) else "")
        for n, body in enumerate(_bodies(text), 1)
    ]
    if not records:
        raise InputError("the text holds no game; give moves such as f5d6c3 or a PGN of Othello")
    width = max(board.n_squares - 4, *(len(record.squares) for record in records))
    moves = np.full((len(records), width), -1, dtype=np.int8)
    for row, record in zip(moves, records, strict=True):
        row[: len(record.squares)] = record.squares
    turns = list(replayed(board, moves))
    for game, record in enumerate(records):
        _check_passes(board, turns, game, record.passes)
    return moves


def read_games(board: Board, path: Path, *, only: int | None = None) -> Moves:
    """As `parse_games`, of a file. Raises `InputError` also where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")  # players' names, in old files
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return parse_games(board, text, only=only)


def _bodies(text: str) -> list[str]:
    """The moves of each game, as text; of a PGN's game that has headers alone, none."""
    marked = _HEADER.sub(r"[\1]", text)  # before comments: a name may hold their signs
    lines = [line.strip() for line in _COMMENT.sub(" ", marked).splitlines()]
    if not any(_HEADER.fullmatch(line) for line in lines):
        return [line for line in lines if line]
    bodies: list[str] = []
    tags: set[str] = set()
    for line in filter(None, lines):
        header = _HEADER.fullmatch(line)
        if header and header[1] in tags:  # the next game's: this one has no moves
            bodies.append("")
            tags = set()
        if header:
            tags.add(header[1])
            continue
        if tags or not bodies:
            bodies.append("")
        tags = set()
        bodies[-1] += f" {line}"
    return bodies + [""] * bool(tags) if any(bodies) else []


def _record(board: Board, game: int, body: str) -> _Record:
    played: list[int] = []
    passes: list[int] = []
    for word in body.lower().replace(",", " ").split():
        if _RESULT.fullmatch(word):
            continue
        for play in _plays(game, len(played), _NUMBER.sub("", word, count=1)):
            if play[0] == "-" or play in ("pa", "pass", "ps"):
                passes.append(len(played))
            else:
                played.append(_square(board, game, len(played) + 1, play))
    return _Record(played, passes)


def _plays(game: int, done: int, word: str) -> list[str]:
    """A word taken apart: `f5d6` is two moves."""
    plays = _PLAY.findall(word)
    if "".join(plays) != word:
        raise InputError(
            f"game {game}: after move {done} stands {word!r}, which is no move; write squares "
            "such as f5, and -- for a pass"
        )
    return plays


def _square(board: Board, game: int, number: int, play: str) -> int:
    column, row = ord(play[0]) - ord("a"), int(play[1:]) - 1
    if not (0 <= column < board.size and 0 <= row < board.size):
        last = name(board, board.n_squares - 1)
        raise InputError(
            f"game {game}: move {number} is {play}, no square of this board; give a1 to {last}"
        )
    return row * board.size + column


def _check_passes(board: Board, turns: Sequence[Turn], game: int, passes: Sequence[int]) -> None:
    """A pass is written only where it is due; after the end it says nothing."""
    for number in dict.fromkeys(passes):
        turn = turns[number]
        legal = int(turn.legal[game])
        due = number > 0 and turn.black[game] == turns[number - 1].black[game]
        if not legal or passes.count(number) <= due:
            continue
        side = "black" if turn.black[game] else "white"
        may = ", ".join(name(board, square) for square in squares(board, legal))
        position = drawn(board, int(turn.mine[game]), int(turn.theirs[game]), side == "black")
        raise InputError(
            f"game {game + 1}: a pass is written after move {number}, where {side} may play "
            f"{may}; take it out. The position:\n{position}"
        )

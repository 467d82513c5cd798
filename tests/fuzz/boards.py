"""Game records: PGN and strings of moves, as text and as files of bytes."""

from collections.abc import Iterator
from pathlib import Path

from dashboards.othello_box import moment_of
from probes.othello.games import name
from probes.othello.records import parse_games, read_games
from probes.othello.rules import Board
from tests.fuzz.target import Case, Target, folder_target, text_target, values_target

PGN = """[Event "Open"]
[Black "Ö. Name; with {signs}"]
[Result "33-31"]

1. f5 d6 2. c3 d3 3. c4 {a comment} f4 ; to the end
4. c5 -- 33-31

[Event "Second"]
f5f6e6
"""
PLAIN = "f5d6c3d3c4\nF5 D6 c3\n1. f5 f6 2. e6 pass\n"
SMALL = "d2 b1\nc1b1\n"


def targets(case: Case, made: Path) -> Iterator[Target]:
    large, small = Board(8), Board(4)
    yield text_target("games, PGN", [PGN.replace(" --", "")], lambda text: parse_games(large, text))
    yield text_target("games, plain", [PLAIN.replace(" pass", "")], _both)
    yield folder_target(
        "games, file",
        case,
        [{"games.txt": PGN.replace(" --", "").encode("latin-1")}, {"games.txt": b"f5d6c3\n"}],
        lambda at: read_games(large, at / "games.txt", only=1),
    )
    names = [name(small, square) for square in range(small.n_squares)]
    yield values_target(
        "address: game",
        [{"move": "3", "flip": "a1,b2", "erase": "c3"}, {"move": "1"}],
        lambda given: moment_of(given, 10, names),
    )


def _both(text: str) -> None:
    parse_games(Board(8), text)
    parse_games(Board(8), text, only=2)

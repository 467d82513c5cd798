"""Game records: Liveothello's PGN, plain strings, passes, and records that break the rules."""

from pathlib import Path

import numpy as np
import pytest

from probes.othello import Board, random_games, replayed
from probes.othello.games import name
from probes.othello.records import parse_games, read_games
from workbench.errors import InputError

BOARD = Board(8)
PGN = """[Event "Liveothello"]
[Site "Tokyo"]
[Black "Müller, A"]
[White "{odd} name"]
[Result "33-31"]

1. F5 D6 2. C3 D3
3. C4 {a comment
over lines} F4 33-31

[Event "Another"]
[Result "*"]

1. f5 f6 2. e6 ; the diagonal
*
"""


def names(moves: np.ndarray) -> list[str]:
    return [name(BOARD, int(square)) for square in moves if square >= 0]


def written(moves: np.ndarray) -> str:
    return "".join(names(moves))


def test_pgn() -> None:
    moves = parse_games(BOARD, PGN)
    assert moves.shape == (2, 60) and moves.dtype == np.int8
    assert names(moves[0]) == ["f5", "d6", "c3", "d3", "c4", "f4"]
    assert names(moves[1]) == ["f5", "f6", "e6"]
    assert (moves[0, 6:] == -1).all()


@pytest.mark.parametrize(
    "text",
    [
        "f5d6c3d3c4",
        "F5 D6 C3 D3 C4",
        "f5,d6,c3, d3,c4",
        "1. f5 d6 2. c3 d3 3. c4",
        "1.f5 d6 2.c3 d3 3.c4 34-30",
        "1 f5 2 d6 3 c3 4 d3 5 c4",
        "1... f5d6 c3d3c4 1/2-1/2",
    ],
)
def test_one_game_in_many_hands(text: str) -> None:
    (moves,) = parse_games(BOARD, text)
    assert names(moves) == ["f5", "d6", "c3", "d3", "c4"]


def test_whole_games_come_back_a_line_each(tmp_path: Path) -> None:
    games = random_games(BOARD, 40, np.random.default_rng(0))
    file = tmp_path / "games.txt"
    file.write_text("\n\n".join(written(game) for game in games))
    assert np.array_equal(read_games(BOARD, file), games)


def test_old_files_with_foreign_letters_are_read(tmp_path: Path) -> None:
    file = tmp_path / "games.pgn"
    file.write_bytes(PGN.encode("latin-1"))
    assert np.array_equal(read_games(BOARD, file), parse_games(BOARD, PGN))


def with_pass() -> tuple[np.ndarray, int]:
    """A random game in which a side passes, and after how many moves."""
    games = random_games(BOARD, 300, np.random.default_rng(1))
    turns = list(replayed(BOARD, games))
    black = np.stack([turn.black for turn in turns], 1)
    alive = np.stack([turn.legal for turn in turns], 1) != 0
    passed = (black[:, 1:] == black[:, :-1]) & alive[:, 1:]
    game = int(np.flatnonzero(passed.sum(1) == 1)[0])
    return games[game], int(np.flatnonzero(passed[game])[0]) + 1


@pytest.mark.parametrize("word", ["--", "pa", "PA", "pass", "ps", "-"])
def test_a_pass_may_be_written(word: str) -> None:
    game, at = with_pass()
    first, rest = written(game[:at]), written(game[at:])
    for text in (f"{first} {word} {rest}", first + rest):
        assert np.array_equal(parse_games(BOARD, text)[0], game)
    if word.isalpha():
        assert np.array_equal(parse_games(BOARD, first + word + rest)[0], game)


def test_passes_after_the_end_say_nothing() -> None:
    games = random_games(BOARD, 50, np.random.default_rng(2))
    text = "\n".join(f"{written(game)} -- --" for game in games)
    assert np.array_equal(parse_games(BOARD, text), games)


def test_a_pass_that_is_not_due_is_refused() -> None:
    game, at = with_pass()
    first, rest = written(game[:at]), written(game[at:])
    told = rf"game 1: a pass is written after move {at}, where (black|white) may play "
    with pytest.raises(InputError, match=told):
        parse_games(BOARD, f"{first} -- -- {rest}")
    told = r"game 2: a pass is written after move 1, where white may play d6, f6, f4|f4, d6, f6"
    with pytest.raises(InputError, match=told) as raised:
        parse_games(BOARD, "f5d6\nf5 -- d6")
    assert len(str(raised.value).splitlines()) == 10
    with pytest.raises(InputError, match="after move 0, where black may play d3, c4, f5, e6"):
        parse_games(BOARD, "-- f5")


@pytest.mark.parametrize(
    "text, told",
    [
        ("f5d6\nf5f5", r"game 2: move 2 is f5, not legal for white \(legal: f4, d6, f6\)"),
        ("e3", r"game 1: move 1 is e3, not legal for black \(legal: d3, c4, f5, e6\)"),
        ("f5d9", r"game 1: move 2 is d9, no square of this board; give a1 to h8"),
        ("f5 i1", r"game 1: move 2 is i1, no square"),
        ("f5 d6 Nf3", r"game 1: after move 2 stands 'nf3', which is no move"),
        ("f5 a0", r"game 1: move 2 is a0, no square"),
        ("", "the text holds no game"),
        ('[Event "x"]\n[Result "*"]\n', "the text holds no game"),
    ],
)
def test_what_is_no_game_is_told(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_games(BOARD, text)


def test_an_illegal_move_is_shown_on_its_board() -> None:
    with pytest.raises(InputError) as raised:
        parse_games(BOARD, PGN.replace("C3 D3", "C3 A1"))
    first, *position = str(raised.value).splitlines()
    assert first.startswith("game 1: move 4 is a1, not legal for white")
    assert position[0] == "  a b c d e f g h" and position[5] == "5 . . . O X X . ."


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none\.pgn: No such file"):
        read_games(BOARD, tmp_path / "none.pgn")


def test_small_boards() -> None:
    assert parse_games(Board(6), "d5c5").shape == (1, 32)
    with pytest.raises(InputError, match="move 2 is g1, no square of this board; give a1 to f6"):
        parse_games(Board(6), "d5g1")


ODD = """[Event "one"]
[Black "Müller; Hans"]
[White "{unknown"]

1. f5 d6 {a comment
[Event "inside it"]
} 2. c3

[Event "two, never played"]
[Black "x"]

[Event "three"]
1. a1

[Event "four"]
1. f5 f6 *
"""


def test_headers_may_hold_a_comment_s_signs_and_a_game_no_moves():
    moves = parse_games(BOARD, ODD.replace("1. a1", "1. d3"))
    assert [int((row >= 0).sum()) for row in moves] == [3, 0, 1, 2]


def test_one_game_is_read_though_another_is_illegal():
    moves = parse_games(BOARD, ODD, only=4)
    assert [int((row >= 0).sum()) for row in moves] == [0, 0, 0, 2]
    with pytest.raises(InputError, match="game 3: move 1"):
        parse_games(BOARD, ODD, only=3)


def test_headers_alone_are_no_game():
    with pytest.raises(InputError, match="holds no game"):
        parse_games(BOARD, '[Event "x"]\n\n[Event "y"]\n')

"""`workbench othello`: boards in the terminal, a model's moves, and mistakes in a line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from probes.othello import Board
from probes.othello.sequences import Sequences
from workbench.__main__ import main
from workbench.commands import output
from workbench.hooks import run
from workbench.models import load
from workbench.models.native import Shape, network, save_native

START = """  a b c d e f g h
1 . . . . . . . .
2 . . . . . . . .
3 . . . . . . . .
4 . . . O X . . .
5 . . . X O . . .
6 . . . . . . . .
7 . . . . . . . .
8 . . . . . . . ."""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "console", Console(width=200))


@pytest.fixture(scope="module")
def player(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the 6x6 board."""
    sequences = Sequences(Board(6))
    shape = Shape(2, 2, 16, sequences.n_ctx, sequences.vocabulary.size, 32)
    folder = tmp_path_factory.mktemp("player")
    weights = {key: 9 * value for key, value in network(shape, seed=3).named_parameters()}
    save_native(folder, shape, sequences.vocabulary, weights, {})
    return folder


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    left = iter(lines)

    def answer(prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(output.console, "input", answer)


def test_a_position(workbench: Callable[..., str]) -> None:
    found = workbench("othello", "play", "--moves", "")
    assert found == f"{START}\nblack (X) moves: d3, c4, f5, e6; black 2, white 2 discs\n"
    found = workbench("othello", "play", "--moves", "1. F5 d6")
    assert "5 . . . X X X . ." not in found and "6 . . . O . . . ." in found
    assert "black (X) moves: c3, d3, e3, " not in found  # e3 would turn nothing
    assert "black 3, white 3 discs" in found


def test_a_position_as_json(workbench: Callable[..., str]) -> None:
    found = json.loads(workbench("othello", "play", "--moves", "d3", "--json"))
    assert found["moves"] == ["d3"] and found["to_move"] == "white"
    assert found["legal"] == ["c3", "e3", "c5"]
    assert found["discs"] == {"black": 4, "white": 1}
    assert found["top"] is None and found["board"].splitlines()[3] == "3 . . . X . . . ."


def test_a_game_that_is_over(workbench: Callable[..., str]) -> None:
    wiped_out = "e6 f4 e3 f6 g5 d6 e7 f5 c5"  # black has turned every white disc
    found = workbench("othello", "play", "--moves", wiped_out)
    assert found.endswith("the game is over: black 13, white 0\n")


def test_records(workbench: Callable[..., str], tmp_path: Path, capsys) -> None:
    record = tmp_path / "games.txt"
    record.write_text("f5d6c3\nd3")
    of_second = workbench("othello", "play", "--record", record, "--game", 2)
    assert of_second == workbench("othello", "play", "--moves", "d3")
    assert main(["othello", "play", "--record", str(record), "--game", "3"]) == 2
    assert "--game 3: the record has 2" in capsys.readouterr().err


def test_what_a_model_would_play(workbench: Callable[..., str], player: Path) -> None:
    command = ("othello", "play", "--model", player, "--device", "cpu", "--moves", "c2b2")
    found = json.loads(workbench(*command, "--top", 33, "--json"))
    sequences, model = Sequences(Board(6)), load(str(player), device="cpu")
    labels = sequences.vocabulary.labels
    logits = run(model, torch.tensor([[labels.index(move) for move in ("c2", "b2")]])).logits
    assert logits is not None
    expected = logits[0, -1].softmax(-1)
    assert len(found["top"]) == 33
    for move, probability in found["top"]:
        assert probability == pytest.approx(float(expected[labels.index(move)]), abs=1e-6)
    assert found["top"][0][1] == max(probability for _, probability in found["top"])
    mass = sum(float(expected[labels.index(move)]) for move in found["legal"])
    assert found["legal_mass"] == pytest.approx(mass, abs=1e-6)
    told = workbench(*command, "--top", 5)
    assert f"the model puts {mass:.3f} on legal moves" in told and told.count("│") == 5 * 4
    start = json.loads(workbench(*command[:-1], "", "--json"))
    assert start["top"] is None  # nothing was played that it could go on from


def test_both_sides_are_typed(workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "d3", "a1", "c5", "undo", "c3", "nonsense", "")
    found = workbench("othello", "play")
    assert "move 2 is a1, not legal for white (legal: c3, e3, c5) in this position" in found
    assert "'nonsense', which is no move" in found
    boards = found.split("  a b c d e f g h\n")
    assert boards[-1] == workbench("othello", "play", "--moves", "d3c3").split("g h\n")[-1]


@pytest.mark.parametrize("word", ["quit", "Q "])
def test_quit(workbench, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    typed(monkeypatch, "d3", word, "c3")
    assert workbench("othello", "play").count("a b c d") == 2


def test_the_game_ends_by_itself(workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "e6 f4 e3 f6 g5", "d6 e7 f5 c5", "d3")
    found = workbench("othello", "play")
    assert found.endswith("the game is over: black 13, white 0\n")


def test_selftest(workbench: Callable[..., str], player: Path) -> None:
    told = workbench("othello", "selftest", "--model", player, "--device", "cpu", "--json")
    found = json.loads(told)
    assert set(found["claims"]) == {"perft", "a perfect player"}
    assert all(claim["holds"] for claim in found["claims"].values())
    assert found["games_per_second"]["6x6"] > 100
    sequences = Sequences(Board(6))
    assert 0 < found["model"]["top1"] < 0.9 and found["model"]["excess_kl"] > 0
    held_out = sequences.held_out(500, seed=2)[:, : sequences.n_ctx]
    assert 0.9 * (held_out >= 0).sum() < found["model"]["moves"] < (held_out >= 0).sum()
    plain = workbench("othello", "selftest")
    assert "8,200" in plain and "a second on 8x8 (wanted: 80,000 on" in plain and "NO" not in plain


@pytest.mark.parametrize(
    "line, told",
    [
        ("play --moves f5a1", "game 1: move 2 is a1, not legal for white (legal: "),
        ("play --json", "--json shows one position; give it with --moves or --record"),
        ("play --moves f5 --top 0", "--top 0 shows nothing"),
        ("play --record none.pgn", "cannot read none.pgn: No such file"),
        ("play --model induction-by-hand --moves f5", "is no Othello board's"),
        ("play --model {player} --size 8 --moves f5", "--size 8: the model plays on 6x6"),
    ],
)
def test_mistakes_are_told_in_one_sentence(capsys, player: Path, line: str, told: str) -> None:
    assert main(["othello", *(word.format(player=player) for word in line.split())]) == 2
    assert told in capsys.readouterr().err


def test_two_games_in_one_text(capsys) -> None:
    assert main(["othello", "play", "--moves", "f5\nd3"]) == 2
    assert "the text holds 2 games; give one, or a file with --record" in capsys.readouterr().err

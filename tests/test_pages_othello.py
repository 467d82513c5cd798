"""The Othello page without a browser: what reaches the canvas, what is asked for, what goes out."""

import csv
import io
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboards import exports, othello_view
from dashboards.components import BoardAsked, BoardEdit, board
from dashboards.components.board import board_canvas
from dashboards.examples import examples
from dashboards.exports import Export
from dashboards.othello_box import Moment, boards, into_address, moment_of
from probes.othello.changing import change, usual_sites
from probes.othello.position import board_probes, play
from probes.othello.records import parse_games
from tests.boards import SEQUENCES, othello_folder
from tests.pages import BY_HAND, charts, forget, numbers, opened, sent
from workbench import runs
from workbench.errors import InputError
from workbench.models import Model, load

GAMES = 40  # few: the page's sums are what is tested
TYPED = {"game": "typed moves", "moves": "b3 d2 e3 b2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(othello_folder(tmp_path_factory.mktemp("othello")))


@pytest.fixture(scope="module")
def model(folder: str) -> Model:
    return load(folder)


@pytest.fixture(scope="module")
def fitted(model: Model):
    return board_probes(model, GAMES)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model, fitted) -> Iterator:
    """Its own records; the probes, which take longest, are held as if fitted before."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(othello_view, "GAMES", GAMES)
    forget()
    othello_view._held()[model.identity.fingerprint] = fitted
    yield
    forget()


def told(at: AppTest) -> list[str]:
    return [re.sub(r"\\(.)", r"\1", element.value) for element in (*at.error, *at.warning)]


def exported(monkeypatch: pytest.MonkeyPatch, **address: str) -> Export:
    offers: list[Export] = []
    with monkeypatch.context() as patch:
        patch.setattr(exports, "offer", offers.append)
        opened("Othello", **address)
    return offers[-1]


# --- what is shown -------------------------------------------------------------------------------


def test_the_canvas_is_told_what_the_core_computes(folder: str, model: Model, fitted) -> None:
    header, arrays = sent(opened("Othello", model=folder, seed="3", move="7", probe="L1"))
    game = play(model, SEQUENCES.held_out(1, seed=3))
    assert header["move"] == 7 and header["edit"] is None and header["relative"]
    assert header["moves"] == game.moves.tolist() and header["black"] == game.black.tolist()
    np.testing.assert_array_equal(arrays["held"], game.held)
    np.testing.assert_array_equal(arrays["legal"], game.legal)
    np.testing.assert_allclose(arrays["probability"], game.probability, atol=1e-6)
    probe = fitted["mine/theirs"]["1.resid_post"]
    np.testing.assert_allclose(arrays["reading"], game.read(probe), atol=1e-5)
    assert header["reader"] == "mine/theirs probe after L1"


def test_a_changed_disc_is_told_with_its_numbers(folder: str, model: Model, fitted) -> None:
    address = {"model": folder, "seed": "3", "move": "7", "probe": "L2", "reading": "black/white"}
    game = play(model, SEQUENCES.held_out(1, seed=3))
    square = next(int(s) for s in SEQUENCES.playable if game.held[6, s] < 2)
    name = SEQUENCES.vocabulary.labels[1 + SEQUENCES.playable.tolist().index(square)]
    at = opened("Othello", **address, flip=name, alpha="0.4")
    header, arrays = sent(at)
    sweep = fitted["black/white"]
    sites = list(sweep.probes)[1:2]
    assert tuple(sites) == usual_sites(sweep.probes)
    expected = change(model, game, 7, {square: "flip"}, sweep.probes, sites, 0.4)
    assert header["edit"]["changes"] == [[square, "flip"]]
    np.testing.assert_allclose(arrays["edit_probability"], expected.after, atol=1e-6)
    np.testing.assert_array_equal(arrays["edit_legal"], expected.edited)
    np.testing.assert_array_equal(arrays["edit_held"], expected.held)
    np.testing.assert_allclose(
        arrays["edit_reading"], expected.scores[list(sweep.probes)[2]], atol=1e-5
    )
    rows = {row[0]: row[1:] for row in header["edit"]["table"]}
    for run, row in (("before", "as it is"), ("after", "changed"), ("random", "random direction")):
        masses = [expected.illegal(run, edited=edited) for edited in (False, True)]
        assert rows[row] == [
            *(f"{mass:.3f}" for mass in masses),
            str(expected.errors(run, edited=True)),
        ]
    assert f"{name} flipped at L1, strength 0.4" in header["edit"]["told"]
    (record,) = [one for _, one in runs.kept() if one.kind == "othello change"]
    assert record.arguments["changes"] == {name: "flip"}
    assert not told(at)


def test_the_curves_show_all_squares_and_discs_beside_controls(folder: str, fitted) -> None:
    drawn = charts(opened("Othello", model=folder, probe="L0", reading="black/white"))
    assert len(drawn) == 2
    for curve, which in zip(drawn, ("reports", "among"), strict=True):
        lines = {trace.get("name"): trace for trace in curve["data"]}
        shown = {}
        for name, sweep in fitted.items():
            reports = list(getattr(sweep, which).values())
            for line, value in (
                (name, lambda report: report.evaluation.accuracy),
                (f"{name}: commonest class", lambda report: report.majority),
            ):
                expected = [value(report) for report in reports]
                np.testing.assert_allclose(numbers(lines[line]["y"]), expected, atol=1e-9)
            shown[name] = reports
        for line, value in (
            ("random weights", lambda report: report.random.accuracy),
            ("embedding only", lambda report: report.embedding.accuracy),
            ("control task", lambda report: report.control),
            ("shuffled labels", lambda report: report.shuffled),
        ):
            expected = [value(report) for report in shown["black/white"]]
            np.testing.assert_allclose(numbers(lines[line]["y"]), expected, atol=1e-9)
        (ring,) = [trace for trace in curve["data"] if "name" not in trace]
        assert numbers(ring["x"]).tolist() == [0]
        np.testing.assert_allclose(numbers(ring["y"]), numbers(lines["black/white"]["y"])[:1])


def test_a_model_by_hand_has_no_random_twin(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(model: Model) -> Model:
        raise InputError("no twin")

    monkeypatch.setattr("probes.othello.position.untrained", refuses)
    sweep = board_probes(model, 20)["mine/theirs"]
    assert sweep.random is None
    assert all(one.random is None for one in sweep.among.values())


def test_the_best_layer_is_shown_where_none_is_asked_for(folder: str, fitted) -> None:
    sweep = fitted["mine/theirs"]
    best = list(sweep.probes).index(sweep.best)
    at = opened("Othello", model=folder)
    assert at.selectbox(key="probe").value == f"L{best}"


def test_probes_are_fitted_where_none_are_held(folder: str, model: Model, fitted) -> None:
    othello_view._held().clear()
    header, arrays = sent(opened("Othello", model=folder, probe="L1"))
    game = play(model, SEQUENCES.held_out(1, seed=1))
    expected = game.read(fitted["mine/theirs"]["1.resid_post"])
    np.testing.assert_allclose(arrays["reading"], expected, atol=1e-4)
    assert [one.kind for _, one in runs.kept()] == ["othello probes"]
    assert header["move"] == 12


def test_a_second_visit_is_cached(folder: str) -> None:
    assert opened("Othello", model=folder, seed="9").caption[0].value.startswith("computed.")
    assert opened("Othello", model=folder, seed="9").caption[0].value.startswith("cached.")


# --- typed games ---------------------------------------------------------------------------------


def test_typed_moves_become_a_game(folder: str) -> None:
    header, _ = sent(opened("Othello", model=folder, **TYPED))
    moves = parse_games(SEQUENCES.board, TYPED["moves"])[0]
    assert header["moves"] == moves[moves >= 0].tolist() and header["move"] == 4


def test_one_of_several_games_is_chosen(folder: str) -> None:
    record = '[Event "a"]\n1. b3 d2\n\n[Event "b"]\n1. c2 b2 *\n'
    address = {"model": folder, "game": "typed moves", "moves": record}
    header, _ = sent(opened("Othello", **address, number="2"))
    assert [header["names"][square] for square in header["moves"]] == ["c2", "b2"]
    broken = {**address, "moves": record.replace("b3 d2", "b3 b3")}
    assert sent(opened("Othello", **broken, number="2"))[0]["moves"] == header["moves"]
    at = opened("Othello", **address, number="3")
    assert "holds 2 games, so there is no game 3" in told(at)[0]


def test_without_moves_there_is_an_example(folder: str) -> None:
    at = opened("Othello", model=folder, game="typed moves")
    assert "start from an example" in at.info[0].value
    bodies = " ".join(element.proto.body for element in at.get("html"))
    assert all(example.title in bodies for example in examples("Othello"))
    assert not at.get("bidi_component") and not charts(at)


def test_an_illegal_move_is_told_with_the_position(folder: str) -> None:
    at = opened("Othello", model=folder, game="typed moves", moves="b3 a1")
    assert told(at)[0].startswith("Game 1: move 2 is a1, not legal for white (legal: ")
    assert "3 . X X X . ." in at.code[0].value
    assert not at.get("bidi_component")


# --- what cannot be ------------------------------------------------------------------------------


def test_another_kind_of_model_is_a_sentence(tiny_folder) -> None:
    at = opened("Othello", model=str(tiny_folder("gpt2")))
    assert "is no Othello board's" in told(at)[0] and not at.get("bidi_component")


def test_another_pages_model_gives_way(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.othello_box.boards", lambda: [])
    at = AppTest.from_function(_page, default_timeout=120)
    at.session_state["model"] = BY_HAND
    at.run()
    assert not at.exception and "Type the folder of an Othello model" in at.info[0].value


def _page() -> None:
    from dashboards.views.othello import page

    page()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ({"move": "99"}, "the address asks for move '99'; this game has 1 to"),
        ({"move": "x"}, "the address asks for move 'x'"),
        ({"flip": "z9"}, "asks to flip 'z9', which is no square of this board; give a1 to f6"),
        ({"move": "4", "erase": "c3"}, "C3 is never empty in any game"),
        ({"probe": "L7"}, "the address asks for probe “L7”, which does not exist"),
        ({"seed": "0"}, "the address asks for seed “0”"),
    ],
)
def test_what_the_address_cannot_mean_is_told(folder: str, address, words) -> None:
    at = opened("Othello", model=folder, **address)
    assert any(words.lower() in word.lower() for word in told(at)), told(at)
    assert sent(at)[0]["edit"] is None


def test_an_empty_square_is_not_flipped(folder: str) -> None:
    at = opened("Othello", model=folder, **TYPED, flip="f6")
    assert "f6 holds no disc after move 4" in told(at)[0].replace("F6", "f6")


# --- what the canvas asks for --------------------------------------------------------------------


def test_what_a_browser_may_ask() -> None:
    held = np.full((2, 16), 2, dtype=np.uint8)
    held[1, [1, 4]] = 0
    changes = [[1, "flip"], [4, "erase"]]
    found = board._asked({"move": 2, "changes": changes, "serial": 1}, held)
    assert found == BoardAsked(2, {1: "flip", 4: "erase"})


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"move": 0, "changes": [], "serial": 1},
        {"move": 3, "changes": [[0, "flip"]], "serial": 1},
        {"move": 2, "changes": [[99, "flip"]], "serial": 1},
        {"move": 2, "changes": [[1, "paint"]], "serial": 1},
        {"move": 2, "changes": "flip", "serial": 1},
        {"move": 2, "changes": []},
    ],
)
def test_what_a_browser_may_not_ask(value) -> None:
    held = np.full((2, 16), 2, dtype=np.uint8)
    held[1, 1] = 0
    assert board._asked(value, held) is None


def test_moments_go_into_the_address_and_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    params: dict[str, str] = {"flip": "a1", "seed": "2"}
    monkeypatch.setattr("dashboards.othello_box.st.query_params", params)
    names = list(SEQUENCES.vocabulary.labels[1:5])
    into_address(names, BoardAsked(6, {2: "flip", 1: "erase", 0: "flip"}))
    assert params["seed"] == "2"
    assert moment_of(params, 9, names) == Moment(6, ((0, "flip"), (1, "erase"), (2, "flip")))
    into_address(names, BoardAsked(5))
    assert moment_of(params, 9, names) == Moment(5) and "flip" not in params
    with pytest.raises(InputError, match="asks for move '6'; this game has 1 to 5"):
        moment_of({"move": "6"}, 5, names)


def test_arrays_that_do_not_fit_are_refused() -> None:
    held = np.full((2, 16), 2, dtype=np.uint8)
    good = {
        "held": held,
        "legal": held < 2,
        "reading": np.zeros((2, 16, 3)),
        "probability": np.zeros((2, 16)),
        "moves": [0, 1],
        "black": [True, False],
        "names": [str(square) for square in range(16)],
        "reader": "r",
        "relative": False,
        "move": 1,
        "key": "board",
    }
    for wrong, words in (
        ({"names": ["a"] * 15}, "should be \\[move, square\\] of a board"),
        ({"probability": np.zeros((2, 15))}, "probability of shape"),
        ({"reading": np.zeros((2, 16, 2))}, "give black, white and empty"),
        ({"move": 3}, "boards are given for moves 1 to 2"),
    ):
        with pytest.raises(ValueError, match=words):
            board_canvas(**{**good, **wrong})
    edit = BoardEdit({}, held[0], held[0] < 2, np.zeros((15, 3)), np.zeros(16), "", [])
    with pytest.raises(ValueError, match="reading of shape"):
        board_canvas(**good, edit=edit)


# --- exports -------------------------------------------------------------------------------------


def test_the_tables_hold_what_is_shown(
    folder: str, monkeypatch: pytest.MonkeyPatch, fitted
) -> None:
    address = {"model": folder, **TYPED, "probe": "L1", "flip": "b3"}
    found = exported(monkeypatch, **address)
    header, arrays = sent(opened("Othello", **address))
    rows = list(csv.DictReader(io.StringIO(found.csv("board"))))
    assert [row["square"] for row in rows] == header["names"]
    read = [[float(row[f"reads {word}"]) for word in ("black", "white", "empty")] for row in rows]
    np.testing.assert_allclose(read, arrays["reading"][3], atol=1e-5)
    after = [float(row["changed: probability"]) for row in rows]
    np.testing.assert_allclose(after, arrays["edit_probability"], atol=1e-7)
    assert {row["held"] for row in rows} == {"black", "white", "empty"}
    curves = list(csv.DictReader(io.StringIO(found.csv("accuracy"))))
    assert len(curves) == 2 * 2 * 3
    (row,) = [
        row
        for row in curves
        if (row["probes"], row["squares"], row["layer"]) == ("mine/theirs", "discs", "1")
    ]
    report = list(fitted["mine/theirs"].among.values())[1]
    assert float(row["accuracy"]) == pytest.approx(report.evaluation.accuracy)
    assert float(row["control task"]) == pytest.approx(report.control)
    assert "b3 flipped" in found.title and found.html().count("plotly-graph-div") == 4


def test_the_python_gives_the_same_numbers(
    folder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fitted
) -> None:
    address = {"model": folder, **TYPED, "probe": "L1", "flip": "b3", "erase": "d2"}
    found = exported(monkeypatch, **address)
    _, arrays = sent(opened("Othello", **address))
    monkeypatch.setattr("probes.othello.position.board_probes", lambda model: fitted)
    path = tmp_path / "made.py"
    path.write_text(found.script, encoding="utf-8")
    made = runpy.run_path(str(path))
    np.testing.assert_allclose(made["scores"], arrays["reading"][3], atol=1e-6)
    np.testing.assert_allclose(made["changed"].after, arrays["edit_probability"], atol=1e-6)


def test_the_models_offered_play_othello() -> None:
    assert all(name.startswith("othello") for name in boards())

"""The Grokking page: scrubbing, training on the spot, its files."""

import csv
import io
import runpy
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboards import grokking_view
from dashboards.grokking_export import grokking_export
from dashboards.grokking_view import Asked, Watch, course, courses, moment
from tests.pages import charts, numbers, opened
from tests.test_labs_grokking import SMALL
from workbench.errors import InputError
from workbench.labs.grokking import logits, measure, split
from workbench.training import train_into


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    course.clear()
    moment.clear()
    yield tmp_path / "home"
    course.clear()
    moment.clear()


@pytest.fixture
def trained(own_home: Path) -> str:
    for _ in train_into(own_home / "training" / "mine", SMALL, device="cpu"):
        pass
    return "mine"


def titles(at: AppTest) -> list[str]:
    return [chart["layout"]["title"]["text"] for chart in charts(at)]


def told(at: AppTest) -> list[str]:
    return [element.value for element in (*at.error, *at.warning)]


def test_the_shipped_model_has_grokked_at_its_last_rung():
    at = opened("Grokking")
    assert not told(at)
    assert "**Epoch 2,400**: test accuracy 100.0%" in at.markdown[0].value
    assert "A clock: gradient symmetricity" in at.markdown[0].value
    curves, bars, circle, values, waves = charts(at)
    assert [one["name"] for one in curves["data"]][:2] == ["train loss", "test loss"]
    keys = numbers(bars["data"][0]["x"]).astype(int).tolist()
    assert sorted(keys) == sorted(course("grokked-113").keys) and len(keys) <= 8
    points = np.hypot(numbers(circle["data"][1]["x"]), numbers(circle["data"][1]["y"]))
    assert points.std() / points.mean() < 0.2, "the first key frequency is round"
    assert numbers(values["data"][0]["z"]).shape == (113, 113)
    assert numbers(waves["data"][0]["z"])[0, 0] == 0


def test_an_early_epoch_has_neither_circle_nor_accuracy():
    at = opened("Grokking", epoch="0")
    assert "**Epoch 0**: test accuracy 0." in at.markdown[0].value
    assert "Not grokked, so neither" in at.markdown[0].value
    assert {shape["x0"] for shape in charts(at)[0]["layout"]["shapes"]} == {0}


def test_the_address_says_what_is_drawn():
    at = opened("Grokking", epoch="1200", frequency="7", map="logit", number="5")
    assert titles(at)[2:] == ["Residues at frequency 7", "logit of 5", "Waves in logit of 5"]
    found = logits(moment("grokked-113", 1200).weights)
    expected = (found[..., 5] - found.mean(-1)).numpy()
    drawn = numbers(charts(at)[3]["data"][0]["z"])
    assert "**Epoch 1,200**" in at.markdown[0].value
    assert np.allclose(drawn, expected, atol=1e-4)
    at.selectbox(key="map").set_value("attention to a").run()
    assert "attention to a, head 0" in titles(at), "a number of the other sort is let go"
    at.select_slider(key="epoch").set_value(300).run()
    assert "**Epoch 300**" in at.markdown[0].value


@pytest.mark.parametrize(
    ("name", "value"),
    [("epoch", "17"), ("part", "odd"), ("map", "odd"), ("number", "-4"), ("frequency", "999")],
)
def test_a_bad_address_is_a_notice(name: str, value: str):
    at = opened("Grokking", **{name: value})
    assert any(f"asks for {name} “{value}”" in word for word in told(at))
    assert len(charts(at)) == 5


def test_a_training_of_ones_own_is_scrubbed_through(trained: str):
    assert courses() == ["grokked-113", "mine"]
    at = opened("Grokking", training=trained, epoch="20")
    assert "**Epoch 20**" in at.markdown[0].value
    assert "p 7, 60 % of the pairs" in at.caption[1].value.replace("\\", "")
    assert list(course(trained).rungs) == [0, 3, 6, 9, 10, 20, 30, 40]


def test_what_is_no_training_is_refused(tmp_path: Path, trained: str):
    at = opened("Grokking", training=str(tmp_path / "nowhere"))
    assert any("here is no ladder in" in word for word in told(at)) and not charts(at)
    (tmp_path / "home/training/mine/model/card.json").write_text('{"steps": 40, "recipe": {}}')
    with pytest.raises(InputError, match="has no card of this lab's recipe"):
        course(trained)


def test_training_on_the_spot(own_home: Path):
    asked = {"part": "Train here", "p": "7", "steps": "200", "attention": "0.5"}
    at = opened("Grokking", **asked)
    assert not charts(at) and "Press Train" in at.info[0].value
    at.button(key="train grokking").click().run()
    held = at.session_state["live grokking"]
    until = time.monotonic() + 60
    while held.running and time.monotonic() < until:
        time.sleep(0.05)
    at.run()
    assert held.finished and not at.exception
    assert "**Epoch 200**" in at.markdown[0].value
    assert len(charts(at)) == 5
    assert held.recipe.numbers()["attention"] == 0.5 and held.recipe.numbers()["p"] == 7
    assert numbers(charts(at)[0]["data"][0]["x"])[-1] == 200


def test_a_training_on_the_spot_is_cancelled_within_a_second():
    at = opened("Grokking", part="Train here", steps="20000")
    at.button(key="train grokking").click().run()
    held = at.session_state["live grokking"]
    until = time.monotonic() + 60
    while not held.done and time.monotonic() < until:
        time.sleep(0.05)
    started = time.monotonic()
    held.cancel()
    held.thread.join(timeout=10)
    assert not held.running and time.monotonic() - started < 1.5
    at.run()
    assert held.standing.startswith("stopped:") and not at.exception


def test_the_files_hold_what_is_shown_and_the_script_runs(
    trained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    now, asked = moment(trained, 30), Asked("neuron", 3)
    export = grokking_export(now, 2, asked)
    rows = list(csv.reader(io.StringIO(export.csv("neuron 3"))))
    assert rows[0] == ["a", "b", "activation"] and len(rows) == 50
    assert float(rows[1 + 2 * 7 + 4][2]) == pytest.approx(float(now.over_pairs(asked)[0][2, 4]))
    assert len(list(csv.reader(io.StringIO(export.csv("frequencies"))))) == 4
    assert export.csv("curves").splitlines()[0] == "quantity,epoch,value"
    assert len(export.csv("circle 2").splitlines()) == 8
    assert "cos 1" in export.csv("waves in neuron 3") and "plotly" in export.html()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(export.script, encoding="utf-8")
    made = runpy.run_path(str(tmp_path / "script.py"))
    assert np.allclose(made["values"].numpy(), now.over_pairs(asked)[0])
    assert (tmp_path / "grokking.html").stat().st_size > 10**6


@pytest.mark.parametrize("asked", [Asked("logit", 2), Asked("attention to b", 1)])
def test_the_script_of_a_live_training_trains_it_again(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    training, watch = SMALL.begin("cpu"), Watch(SMALL)
    for step in training.steps():
        if step.done == 25:
            break
    now = watch(training)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(
        grokking_export(now, 1, asked).script.replace(".begin()", '.begin("cpu")')
    )
    made = runpy.run_path(str(tmp_path / "script.py"))
    assert np.allclose(made["values"].numpy(), now.over_pairs(asked)[0], atol=1e-5)


def test_the_page_knows_its_own_trainings_only(own_home: Path, trained: str):
    other = own_home / "training" / "other" / "model"
    other.mkdir(parents=True)
    (other / "card.json").write_text("{}")
    (other / "config.json").write_text('{"n_layers": 2}')
    assert grokking_view.courses() == ["grokked-113", "mine"]


def test_every_shipped_rung_has_all_that_is_told_of_it():
    """The log's epochs are not the ladder's: at a rung what was measured there counts."""
    whole = course("grokked-113")
    assert len(whole.rungs) >= 16
    for epoch in whole.rungs:
        now = moment("grokked-113", epoch)
        found = {name: now.now(name) for name in grokking_view.MEASURES}
        assert all(np.isfinite(value) for value in found.values())
        straight = measure(now.weights, split(113, 0.5, 0)[0], whole.keys)
        assert found["test loss"] == pytest.approx(straight.test_loss, rel=0.02, abs=1e-4)
    epochs, _ = whole.curves["test loss"]
    assert list(epochs) == sorted(set(epochs)) and set(whole.rungs) <= set(epochs)

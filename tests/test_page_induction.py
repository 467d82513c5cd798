"""The Induction page: scrubbing, heads, training on the spot, its files."""

import csv
import io
import runpy
import time
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboards import induction_view
from dashboards.induction_export import induction_export
from dashboards.induction_view import Shot, Watch, live_recipe, live_view, place_of, shipped_view
from tests.pages import charts, numbers, opened
from workbench.errors import InputError
from workbench.labs.induction import TWO_LAYERS, read_log, run_folder, rungs


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))


def told(at: AppTest) -> list[str]:
    return [element.value for element in (*at.error, *at.warning)]


def titled(at: AppTest) -> dict[str, dict]:
    return {chart["layout"]["title"]["text"]: chart for chart in charts(at)}


def stripe(pattern: dict) -> float:
    """Mean attention, in the second block, to what followed the token in the first."""
    weights = numbers(pattern["data"][0]["z"])
    return float(np.mean([weights[query, query - 15] for query in range(17, 33)]))


def test_it_opens_on_what_is_shipped_at_its_end():
    at = opened("Induction")
    assert not told(at)
    curves, pattern, scores, previous, values, pairs, positions = charts(at)
    log = read_log(run_folder(TWO_LAYERS, 0))
    assert numbers(curves["data"][0]["y"]).tolist() == log.values["loss on repeated"]
    assert {line["name"] for line in curves["data"]} >= {"two layers", "one layer", "induction"}
    shaded = [shape for shape in curves["layout"]["shapes"] if shape["type"] == "rect"]
    assert len(shaded) == 3 and 0 < shaded[0]["x0"] < shaded[0]["x1"] <= shaded[0]["x0"] + 250
    assert stripe(pattern) > 0.5, "the default head is the best one"
    assert numbers(scores["data"][0]["z"]).shape == (2, 4)
    assert numbers(previous["data"][0]["z"])[0].max() > 0.4
    assert numbers(values["data"][0]["x"]).mean() > 0, "it copies"
    assert numbers(pairs["data"][0]["z"]).shape == (4, 12)
    assert len(positions["data"]) == 2
    assert "falls by 3." in at.caption[-1].value


def test_scrubbing_shows_the_head_before_it_did_anything():
    at = opened("Induction")
    at.select_slider(key="step").set_value("200").run()
    assert not at.exception and not told(at)
    before = next(chart for title, chart in titled(at).items() if "step 200" in title)
    assert stripe(before) < 0.1


def test_an_address_opens_the_step_and_the_head():
    at = opened("Induction", step="300", head="L0H2")
    assert not told(at)
    assert any("L0H2" in title and "step 300" in title for title in titled(at))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("step", "123", "step “123”"),
        ("head", "L9H9", "head “L9H9”"),
        ("layers", "3", "layers “3”"),
        ("seed", "-1", "seed “-1”"),
        ("steps", "10", "50 to 5,000"),
    ],
)
def test_what_does_not_exist_is_said(name: str, value: str, words: str):
    at = opened("Induction", **{name: value})
    assert any(words in word for word in told(at)), told(at)
    assert len(charts(at)) == 7


def test_it_trains_one_layer_on_the_spot():
    at = opened("Induction", layers="1", steps="50", seed="3")
    at.button(key="train induction").click().run()
    for _ in range(120):
        if not at.session_state["live induction"].running:
            break
        time.sleep(0.5)
        at.run()
    at.run()
    assert not at.exception and not told(at)
    held = at.session_state["live induction"]
    seen = list(held.shot.ladder)
    assert held.finished and (seen[0], seen[-1]) == (0, 50)
    assert held.shot.ladder[50].losses.repeated < held.shot.ladder[0].losses.repeated
    assert len(charts(at)) == 6, "one layer has no pairs"
    assert "One layer, trained here, seed 3" in at.caption[-1].value
    at.selectbox(key="of").set_value("shipped").run()
    assert len(charts(at)) == 7 and not at.exception


def test_a_watch_keeps_every_look(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(induction_view, "LOOK", 0)
    recipe = live_recipe("2", 0, 50)
    training, watch = recipe.begin("cpu"), Watch(recipe)
    first = watch(training)
    for step in training.steps():
        if step.done == 2:
            break
    second = watch(training)
    assert list(first.ladder) == [0] and list(second.ladder) == [0, 2]
    view = live_view(second)
    assert view.log.steps == [0, 2] and view.change is None, "two steps are no phase change"
    monkeypatch.setattr(induction_view, "DROP", -1)
    assert live_view(second).change is not None
    assert live_view(Shot(recipe, first.ladder)).change is None
    monkeypatch.setattr(induction_view, "LOOK", 60)
    next(training.steps())
    assert list(watch(training).ladder) == [0, 2], "it looks now and then"
    training.done = 50
    assert list(watch(training).ladder) == [0, 2, 50], "and at the end"


def test_a_place_that_is_not_there_is_refused():
    view = shipped_view()
    with pytest.raises(InputError, match="no head 'L2H0'"):
        place_of(view, "800", "L2H0")
    with pytest.raises(InputError, match="no step '7'"):
        place_of(view, "7", "L1H0")


# --- files ---------------------------------------------------------------------------------------


def test_its_tables_hold_what_is_drawn():
    view = shipped_view()
    export = induction_export(view, place_of(view, "800", "L1H0"))
    rows = list(csv.DictReader(io.StringIO(export.csv("heads"))))
    assert len(rows) == 8 * len(rungs(run_folder(TWO_LAYERS, 0)))
    last = {row["head"]: row for row in rows if row["step"] == "800"}
    found = view.ladder[800]
    assert float(last["L1H0"]["induction"]) == pytest.approx(float(found.induction[1, 0]))
    pairs = list(csv.DictReader(io.StringIO(export.csv("composition"))))
    best = max(pairs, key=lambda row: float(row["composition"]))
    assert best["reads"].startswith("K L1H") and best["writes"].startswith("L0H")
    curves = list(csv.DictReader(io.StringIO(export.csv("curves"))))
    assert {row["name"] for row in curves} >= {"two layers", "one layer"}
    assert export.html().count("plotly-graph-div") >= 7


@pytest.mark.parametrize("trained", [False, True])
def test_its_script_measures_the_same(
    trained: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    view, step = shipped_view(), "300"
    if trained:
        recipe = live_recipe("1", 2, 50)
        training, watch = recipe.begin(), Watch(recipe)
        for one in training.steps():
            if one.done == 3:
                break
        view, step = live_view(watch(training)), "3"
    place = place_of(view, step, "L0H1")
    (tmp_path / "script.py").write_text(induction_export(view, place).script)
    monkeypatch.chdir(tmp_path)
    made = runpy.run_path("script.py")
    assert made["found"].score == pytest.approx(view.ladder[int(step)].score, abs=1e-5)
    assert (tmp_path / "pattern.html").stat().st_size > 1000

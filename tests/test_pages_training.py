"""The Training page, without a browser; and curves from the card of a training's state."""

import csv
import io
import runpy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from dashboards.training_export import made_of, training_export
from dashboards.training_view import STATE, TrainingView, training_view, trainings
from tests.pages import charts, numbers, opened
from workbench.cache import DamagedError
from workbench.cache.locks import lock_folder
from workbench.carded import read_card, read_carded, write_carded
from workbench.errors import InputError
from workbench.figures.training import panels, training_curves


def sweep_card(done: int = 30) -> dict[str, Any]:
    """Two dictionaries, three rows each."""
    rows = [
        {
            "step": step,
            "name": name,
            "losses": {"reconstruction": 9 / step + n, "auxiliary": 0.0},
            "l0": 8.0,
            "n_dead": 100 - step,
        }
        for step in range(10, done + 1, 10)
        for n, name in enumerate(("k8", "k16"))
    ]
    recipes = [{"kind": "topk", "k": k, "steps": 60} for k in (8, 16)]
    return {"format": 1, "recipes": recipes, "done": done, "seconds": 6.0, "rows": rows}


def model_card() -> dict[str, Any]:
    rows = [
        {"step": s, "tokens": s, "loss": 3 / s, "metrics": {"top1": s / 40, "moves": 7}}
        for s in (10, 20, 40)
    ]
    recipe = {"name": "toy", "steps": 40}
    return {"format": 1, "recipe": recipe, "done": 40, "seconds": 100.0, "rows": rows}


def put(folder: Path, card: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    write_carded(folder / STATE, {"big": torch.ones(1000)}, card, what="checkpoint")
    return folder


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"


def told(at: AppTest) -> list[str]:
    return [element.value for element in (*at.error, *at.warning, *at.info)]


# --- the card of a file, without its tensors -----------------------------------------------------


def test_a_card_is_read_without_its_tensors(tmp_path: Path):
    path = put(tmp_path / "a", sweep_card()) / STATE
    whole, _ = read_carded(path, what="checkpoint", fmt=1)
    card = read_card(path, what="checkpoint")
    assert {k: v for k, v in card.items() if k != "checksum"} == whole
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # of a tensor: the card is as it was
    path.write_bytes(content)
    assert read_card(path, what="checkpoint") == card


@pytest.mark.parametrize("content", [b"", b"\xff" * 9, b"\x02" + bytes(7) + b"{}", b"\x08" * 30])
def test_what_has_no_card_is_damaged(tmp_path: Path, content: bytes):
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(DamagedError, match="expected safetensors with a checkpoint's card"):
        read_card(tmp_path / STATE, what="checkpoint")


# --- the numbers ---------------------------------------------------------------------------------


def test_panels_are_the_rows_by_quantity_and_name():
    found = panels(sweep_card())
    assert list(found) == ["reconstruction loss", "auxiliary loss", "L0", "dead"]
    steps, values = found["reconstruction loss"]["k16"]
    assert steps == [10, 20, 30] and values == pytest.approx([1.9, 1.45, 1.3])
    assert found["dead"]["k8"][1] == [90, 80, 70]
    assert panels(model_card()) == {  # what never changes is left out
        "loss": {"toy": ([10, 20, 40], [0.3, 0.15, 0.075])},
        "top1": {"toy": ([10, 20, 40], [0.25, 0.5, 1.0])},
    }


def test_losses_are_logarithmic_where_they_can_be():
    figure = training_curves(panels(sweep_card()), title="<t>")
    layout = figure.to_dict()["layout"]
    assert layout["title"]["text"] == "&lt;t&gt;"
    axes = [layout[f"yaxis{n or ''}"]["type"] for n in ("", 2, 3, 4)]
    assert axes == ["log", "linear", "linear", "linear"]  # the auxiliary loss has zeros
    assert layout["xaxis"]["type"] == "linear"
    early = training_curves(panels(model_card()), title="", log_steps=True)
    assert early.to_dict()["layout"]["xaxis"]["type"] == "log"
    traces = figure.to_dict()["data"]
    by_name = {trace["name"]: trace["line"]["color"] for trace in traces}
    assert len(traces) == 8 and len(set(by_name.values())) == 2
    assert all(trace["line"]["color"] == by_name[trace["name"]] for trace in traces)
    assert [trace["name"] for trace in traces if trace["showlegend"]] == ["k8", "k16"]
    with pytest.raises(ValueError, match="nothing to draw"):
        training_curves({}, title="")


def test_standing_says_how_far_and_how_long(own_home: Path):
    folder = put(own_home / "saes" / "a", sweep_card())
    view = training_view("saes/a")
    assert view.standing == "stopped: 30 of 60 steps in 6 s, 200.0 ms a step; --resume goes on"
    with lock_folder(folder, shared=False) or pytest.fail("not locked"):
        assert training_view("saes/a").standing.endswith("200.0 ms a step, about 6 s to go")
    assert not training_view("saes/a").running
    put(own_home / "training" / "toy", model_card())
    assert training_view("training/toy").standing.startswith("finished: 40 of 40 steps in 1 min 40")
    assert (view.sort, training_view("training/toy").sort) == (
        "2 dictionaries (topk)",
        "a model, toy",
    )


def test_looking_keeps_nobody_from_training(own_home: Path):
    folder = put(own_home / "saes" / "a", sweep_card())
    training_view("saes/a")
    lock = lock_folder(folder, shared=False, wait=False)
    assert lock is not None
    lock.release()


def test_the_latest_comes_first_and_others_are_refused(own_home: Path, tmp_path: Path):
    import os

    for age, name in enumerate(("new", "old")):
        path = put(own_home / "saes" / name, sweep_card()) / STATE
        os.utime(path, (1e9 - age, 1e9 - age))
    put(own_home / "training" / "toy", model_card())
    assert list(trainings()) == ["training/toy", "saes/new", "saes/old"]
    elsewhere = put(tmp_path / "else", model_card())
    assert training_view(str(elsewhere)).total == 40
    with pytest.raises(InputError, match="there is no training in"):
        training_view("saes/none")
    other = put(tmp_path / "other", {"format": 1})
    with pytest.raises(InputError, match="is no training's state"):
        training_view(str(other))


# --- the page ------------------------------------------------------------------------------------


def test_a_home_without_trainings_says_how_to_start_one():
    at = opened("Training")
    assert "There is no training on this machine yet" in told(at)[0]
    assert "workbench sae train" in told(at)[0]


def test_the_page_draws_the_log_and_grows_with_it(own_home: Path):
    folder = put(own_home / "saes" / "a", sweep_card(20))
    at = opened("Training")
    [figure] = charts(at)
    assert len(figure["data"]) == 8
    assert numbers(figure["data"][0]["x"]).tolist() == [10, 20]
    assert "2 dictionaries" in at.caption[0].value and "saes/a" in at.caption[0].value
    write_carded(folder / STATE, {"big": torch.ones(9)}, sweep_card(30), what="checkpoint")
    at.run()
    [figure] = charts(at)
    assert numbers(figure["data"][0]["x"]).tolist() == [10, 20, 30]
    at.toggle(key="log").set_value(True).run()
    assert charts(at)[0]["layout"]["xaxis"]["type"] == "log"
    assert charts(opened("Training", log="true"))[0]["layout"]["xaxis"]["type"] == "log"


def test_an_address_that_names_nothing_is_a_sentence(own_home: Path):
    put(own_home / "saes" / "a", sweep_card())
    at = opened("Training", training="saes/gone")
    assert "There is no training in saes/gone" in told(at)[0]


def test_the_files_hold_the_log_and_the_script_draws_it(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    put(own_home / "saes" / "a", sweep_card())
    view = training_view("saes/a")
    export = training_export(view, log_steps=False)
    header, *rows = csv.reader(io.StringIO(export.csv("log")))
    assert header == ["quantity", "name", "step", "value"] and len(rows) == 4 * 2 * 3
    assert ["dead", "k16", "20", "80.0"] in rows
    assert "Training of 2 dictionaries" in export.html()
    (tmp_path / "script.py").write_text(export.script)
    monkeypatch.chdir(tmp_path)
    found = runpy.run_path(str(tmp_path / "script.py"))["figure"]
    np.testing.assert_allclose(found.data[0].y, [0.9, 0.45, 0.3])
    assert (tmp_path / "training.html").exists()
    assert made_of(replace(view, name="x")).file == "training x"


def test_a_run_without_rows_has_no_curves_yet(own_home: Path):
    put(own_home / "saes" / "a", {**sweep_card(), "rows": []})
    at = opened("Training")
    assert told(at) == ["Nothing is logged yet."] and not charts(at)


def test_a_view_of_a_huge_training_tells_hours():
    card = {**model_card(), "done": 10, "seconds": 4000.0}
    view = TrainingView("toy", Path("toy"), card, running=True)
    assert view.standing.endswith("about 3 h 20 min to go")

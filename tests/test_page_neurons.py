"""The Neurons page, without a browser: a layer over a text, two models, heads, training."""

import csv
import io
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboards import neurons_view as numbers_of
from dashboards.exports import Export, Made
from dashboards.neurons_export import heads_export, neuron_export, pair_export
from dashboards.neurons_heads import Shown, heads_view, trigrams_view
from dashboards.neurons_live import Watch
from dashboards.neurons_pair import Pair, spreads
from dashboards.neurons_view import HELD_OUT, Layer, Text, corpus_of, drawn, layer_view
from dashboards.shading import shaded
from dashboards.state import Choice
from tests.pages import charts, forget, numbers, opened
from workbench.circuits import copying_scores
from workbench.labs.neurons import neuron_page, read_neurons, table
from workbench.models import Model, load

SMALL = {"model": "solu-1l", "contexts": "32"}
TEXT = Text(HELD_OUT, 32)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    forget()
    yield tmp_path
    forget()


@pytest.fixture(scope="module")
def model() -> Model:
    return load("solu-1l", device="cpu")


@pytest.fixture
def view(model: Model) -> Layer:
    return layer_view(model, 0, TEXT, lambda stage: lambda done, total: None)


@pytest.fixture
def made() -> Made:
    return Choice("solu-1l", "cpu", "float32", "raw").made("neurons")


def told(at: AppTest) -> list[str]:
    return [element.value for element in (*at.error, *at.warning, *at.info)]


def rows_of(export: Export, name: str) -> list[list[str]]:
    return [*csv.reader(io.StringIO(export.csv(name)))]


# --- a layer and a neuron ------------------------------------------------------------------------


def test_the_page_shows_what_the_core_computes(model: Model):
    at = opened("Neurons", **SMALL, neuron="7")
    found = read_neurons(model, 0, corpus_of(model, TEXT))
    page = neuron_page(found, model, 7, 4)
    assert not told(at)
    [figure] = charts(at)
    assert numbers(figure["data"][0]["y"]).tolist() == page.histogram.tolist()
    assert f"{len(found.places):,} tokens" in at.caption[0].value.replace("\\", "")
    shown = at.dataframe[0].value
    kurtosis = table(found, 4).kurtosis
    assert shown["neuron"].iloc[0] == int(kurtosis.nan_to_num(-3).argmax())
    assert shown["kurtosis"].is_monotonic_decreasing
    html = " ".join(element.proto.body for element in at.get("html"))
    assert f"{page.top[0].value:.3g}</b>" in html


def test_a_layer_is_read_once_and_then_held(model: Model):
    asked: list[str] = []

    def progress(stage: str) -> Any:
        asked.append(stage)
        return lambda done, total: None

    first = layer_view(model, 0, TEXT, progress)
    assert layer_view(model, 0, TEXT, progress) is first and asked == ["contexts read"]
    layer_view(model, 0, Text(HELD_OUT, 40), progress)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("address", "notice"),
    [
        ({"neuron": "512"}, "asks for neuron “512”; there are 0 to 511"),
        ({"neuron": "x"}, "asks for neuron “x”"),
        ({"contexts": "7"}, "asks for contexts “7”, which does not exist"),
        ({"order": "beauty"}, "asks for order “beauty”"),
        ({"part": "Nothing"}, "asks for part “Nothing”"),
        ({"layer": "3"}, "asks for layer “3”, which is not a whole number from 0 to 0"),
        ({"text": "nowhere.txt"}, "There is no file 'nowhere.txt'"),
    ],
)
def test_an_address_that_names_nothing_is_a_sentence(address: dict[str, str], notice: str):
    assert notice in " ".join(told(opened("Neurons", **{**SMALL, **address})))


def test_a_model_without_mlps_says_where_to_look():
    at = opened("Neurons", model="induction-by-hand")
    assert "no MLPs and so no neurons; “Heads” reads its attention" in told(at)[0]


def test_a_model_that_cannot_read_the_text_says_so():
    at = opened("Neurons", model="counter-by-hand")
    assert "not in this model's vocabulary" in told(at)[0]


def test_a_model_of_the_hubs_format_has_a_page(tiny_folder: Callable[[str], Path]):
    at = opened("Neurons", model=str(tiny_folder("llama")), contexts="32", layer="2")
    assert not told(at) and "up\\-projection" in at.caption[0].value


def test_words_find_neurons_by_their_commonest_token(view: Layer):
    every = view.listed("neuron", "")
    assert every == list(range(512))
    word = view.string(int(view.told.token[3])).strip() or " "
    assert 3 in view.listed("share", word) or not word.strip()
    assert view.listed("share", "nosuchtokenatall") == []
    shares = [float(view.told.share[n]) for n in view.listed("share", "")]
    assert shares == sorted(shares, reverse=True)


def test_shading_has_two_colours_and_escapes():
    html = shaded(["<b>", " x"], [2.0, -1.0], 2.0, at=0)
    assert "&lt;b&gt;" in html and html.count("rgba(") == 2 and html.count("underline") == 2
    blue, red = (part.split(")")[0] for part in html.split("rgba(")[1:])
    assert blue.endswith("0.50") and red.startswith("200,50,35") and red.endswith("0.25")


# --- two models, heads, training -----------------------------------------------------------------


def test_two_models_are_read_over_the_same_text():
    at = opened("Neurons", **SMALL, part="Two models", seed="3")
    kurtosis, share = charts(at)
    assert [trace["name"] for trace in kurtosis["data"]] == ["solu-1l (left)", "gelu-1l (right)"]
    assert len(numbers(share["data"][0]["y"])) == 512
    titles = [m.value for m in at.markdown if "neuron " in m.value and "strongest" not in m.value]
    for neuron in drawn(512, 3):
        assert any(f"neuron {neuron}**" in title for title in titles)
    assert drawn(512, 3) == drawn(512, 3) != drawn(512, 4) and len(drawn(2, 0)) == 2


def test_heads_show_their_copying_scores(model: Model):
    at = opened("Neurons", **SMALL, part="Heads", head="L0H2")
    heat, counted, plane, lifts = charts(at)
    scores = copying_scores(model).numpy()
    np.testing.assert_allclose(numbers(heat["data"][0]["z"]), scores, rtol=1e-5)
    assert sum(numbers(counted["data"][0]["y"])) == pytest.approx(100)
    assert len(scores[0]) == 4
    assert len(plane["data"]) == 4 and len(lifts["data"]) == 2
    view = trigrams_view(model.identity.fingerprint, model)
    assert len(view.listed) == 4
    html = " ".join(element.proto.body for element in at.get("html"))
    assert f"{view.listed[2][0].attention:.2f}" in html


def test_a_model_by_hand_has_heads_too():
    at = opened("Neurons", model="induction-by-hand", part="Heads")
    assert "copying score" in at.markdown[0].value and not told(at)


def test_training_here_looks_at_held_out_text(monkeypatch: pytest.MonkeyPatch):
    at = opened("Neurons", **SMALL, part="Train here", recipe="text-0l", steps="20", seed="1")
    assert "20 steps here and now" in " ".join(c.value for c in at.caption)
    from dataclasses import replace

    from workbench.labs.text.recipes import TEXT_0L

    training = replace(TEXT_0L, steps=12, batch=1).begin("cpu")
    watch = Watch()
    shots = [watch(training), *(watch(training) for _ in training.steps())]
    assert shots[-1].steps == (0, 10) and len(shots[-1].losses) == 2
    assert shots[-1].losses[1] < shots[-1].losses[0]


def test_a_number_of_steps_out_of_range_is_told_with_the_range():
    at = opened("Neurons", **SMALL, part="Train here", steps="5")
    assert "asks for steps “5”, which is not a whole number from 20 to 2,000" in told(at)[0]


# --- files ---------------------------------------------------------------------------------------


def test_a_neurons_files_hold_what_is_shown(
    view: Layer, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    page = view.neuron(11)
    export = neuron_export(view, page, made)
    header, *rows = rows_of(export, "neurons")
    assert header[:3] == ["neuron", "kurtosis", "commonest"] and len(rows) == 512
    header, *rows = rows_of(export, "examples")
    assert [row[0] for row in rows].count("strongest") == len(page.top)
    assert float(rows[0][1]) == pytest.approx(page.top[0].value)
    before, _, after = rows[0][5].partition("»")
    assert after.startswith(rows[0][4]) and isinstance(before, str)
    assert len(rows_of(export, "logits")) == 21
    assert "Neuron 11" in export.html()
    (tmp_path / "script.py").write_text(export.script)
    found = runpy.run_path(str(tmp_path / "script.py"))
    assert found["page"].top[0].value == pytest.approx(page.top[0].value)
    assert "kurtosis" in capsys.readouterr().out


def test_the_pairs_files_compare_them(
    view: Layer, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pair = Pair({"left": view, "right": view}, {"left": [0], "right": [0]})
    export = pair_export(pair, [*spreads(pair).values()], made)
    assert len(rows_of(export, "left solu-1l")) == 513
    (tmp_path / "script.py").write_text(export.script)
    runpy.run_path(str(tmp_path / "script.py"))
    assert "solu-1l loss" in capsys.readouterr().out


def test_the_heads_files_hold_their_scores(model: Model, made: Made, tmp_path: Path):
    shown = Shown(told=heads_view(model.identity.fingerprint, model).told)
    shown.tables["copying"] = lambda: [("layer", "head", "score"), (0, 1, 0.5)]
    export = heads_export(shown, made)
    assert rows_of(export, "copying")[1] == ["0", "1", "0.5"]
    (tmp_path / "script.py").write_text(export.script)
    found = runpy.run_path(str(tmp_path / "script.py"))
    assert found["scores"].shape == (1, 4)


def test_few_layers_are_held(model: Model):
    for contexts in (24, 25, 26, 27):
        layer_view(model, 0, Text(HELD_OUT, contexts), lambda stage: lambda done, total: None)
    assert len(numbers_of._held()) == numbers_of.MOST

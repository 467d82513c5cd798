"""The page Compare, without a browser: both sides, their difference, what has none."""

import csv
import io
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from dashboards import exports
from dashboards.compare_sides import checkpoints
from dashboards.exports import Export
from tests.pages import BY_HAND, charts, forget, numbers, opened
from workbench.attention import patterns, repeated_random
from workbench.figures.sides import Side, less, ranked, sides
from workbench.hooks import run
from workbench.models import load
from workbench.patching import sweep
from workbench.tasks import task

EARLY, LATE = "induction-2l@200", "induction-2l@800"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    forget()
    yield tmp_path
    forget()


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch):
    """(settings) -> what the page hands out."""

    def offered(**address: str) -> Export:
        offers: list[Export] = []
        with monkeypatch.context() as patch:
            patch.setattr(exports, "offer", offers.append)
            at = opened("Compare", **address)
        assert not at.error, at.error
        return offers[-1]

    return offered


def maps(at: AppTest, number: int = 0) -> list[np.ndarray]:
    """The heatmaps of one picture."""
    return [numbers(trace["z"]) for trace in charts(at)[number]["data"]]


def told(at: AppTest) -> str:
    return " ".join(element.value for element in (*at.error, *at.warning, *at.info))


def test_two_checkpoints_of_a_ladder() -> None:
    """Scores and pattern, each as the model itself gives them, and their difference."""
    asked = {"input": "random tokens", "length": "12", "batch": "3", "seed": "5", "head": "L1H2"}
    at = opened("Compare", model=EARLY, model_b=LATE, **asked)
    expected = []
    for name in (EARLY, LATE):
        model = load(str(checkpoints()[name]), device="cpu")
        found = patterns(model, repeated_random(model, length=12, batch=3, seed=5))
        expected.append((found.scores("induction").numpy(), found.weights[1, 0, 2].numpy()))
    for number in range(2):
        a, b, apart = maps(at, number)
        np.testing.assert_allclose(a, expected[0][number], atol=1e-6)
        np.testing.assert_allclose(b, expected[1][number], atol=1e-6)
        np.testing.assert_allclose(apart, a - b, atol=1e-6)
    assert expected[0][0].max() < 0.15 < 0.5 < expected[1][0].max(), "induction appears between"


def test_two_prompts_on_the_lens() -> None:
    at = opened("Compare", on="Lens", prompt="a b c a b", prompt_b="a b d a b", follow="d")
    model = load(BY_HAND, device="cpu")
    token = model.token_id("d")
    last = []
    for text in ("a b c a b", "a b d a b"):
        logits = run(model, model.tokenize(text).tensor()).logits
        assert logits is not None
        last.append(logits[0].softmax(-1)[:, token].numpy())
    a, b, apart = maps(at)
    np.testing.assert_allclose(a[-1], last[0], atol=1e-5)  # the last row is the model's own
    np.testing.assert_allclose(b[-1], last[1], atol=1e-5)
    np.testing.assert_allclose(apart, a - b, atol=1e-6)
    assert b[-1, -1] > 0.9 > 0.1 > a[-1, -1]


def test_two_models_on_a_task() -> None:
    at = opened(
        "Compare", on="Patching", task="induction", n="3", site="z", model=EARLY, model_b=LATE
    )
    found = maps(at)
    for name, shown in zip((EARLY, LATE), found, strict=False):
        model = load(str(checkpoints()[name]), device="cpu")
        pairs = task("induction").pairs(model, 3, 0, corruption="next")
        effects = sweep(model, pairs, "z", places="all").effects()
        np.testing.assert_allclose(shown, effects.mean[:, :, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(found[2], found[0] - found[1], atol=1e-5)


def test_one_dictionary_on_two_prompts() -> None:
    asked = {"model": "othello-6x6", "prompt": "c2 b2 b3", "prompt_b": "c2 d2 e2"}
    at = opened("Compare", on="SAE", **asked)
    a, b, apart = (numbers(trace["x"]) for trace in charts(at)[0]["data"])
    np.testing.assert_allclose(apart, a - b, atol=1e-5)
    order = np.abs(apart)
    assert (np.diff(order) <= 1e-6).all() and order[0] > 0 and (a > 0).sum() >= 5


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ({"prompt": "a b c a b"}, "A and B are the same"),
        ({"prompt": "a b c", "prompt_b": "a b"}, "A has 4 rows (query) and 4 columns (key), B 3 a"),
        ({"prompt": "a b c", "model_b": "text-1l", "head": "L1H3"}, "asks for head L1H3"),
        ({"prompt": "a b c", "model_b": "nothing@5"}, "neither built in nor a folder here"),
        ({"on": "Lens", "prompt": "a b c", "prompt_b": "a b", "follow": "zz"}, "zz"),
        ({"on": "Patching", "task": "induction", "task_b": "capitals"}, "capitals"),
        ({"on": "SAE", "prompt": "a b c", "prompt_b": "a b"}, "A side has no dictionary"),
        ({"on": "everything"}, "asks for on “everything”"),
        ({"prompt": "a b c", "prompt_b": "a c b", "score": "beauty"}, "asks for score “beauty”"),
    ],
)
def test_what_has_no_comparison_is_told(address: dict[str, str], words: str) -> None:
    at = opened("Compare", **address)
    assert words in re.sub(r"\\(.)", r"\1", told(at))


@pytest.mark.parametrize(
    "address",
    [
        {"model": EARLY, "model_b": LATE, "input": "random tokens", "length": "9"},
        {"on": "Lens", "prompt": "a b c a b", "prompt_b": "a b d a b", "follow": "c"},
        {"on": "Patching", "task": "induction", "n": "2", "model": EARLY, "model_b": LATE},
        {"on": "SAE", "model": "othello-6x6", "prompt": "c2 b2 b3", "prompt_b": "c2 d2 e2"},
    ],
)
def test_the_script_gives_the_numbers_of_the_table(
    address: dict[str, str], export, tmp_path: Path
) -> None:
    found = export(**address)
    path = tmp_path / "script.py"
    path.write_text(found.script)
    made: dict[str, Any] = runpy.run_path(str(path))
    (*_, last) = found.tables  # of several pictures, what the script leaves is the last one's
    header, *rows = csv.reader(io.StringIO(found.csv(last)))
    assert header == ["row", "column", "A", "B", "difference"]
    table = np.array([[float(value) for value in row[2:]] for row in rows])
    for column, name in enumerate(("a", "b", "difference")):
        np.testing.assert_allclose(np.ravel(made[name]), table[:, column], atol=1e-4)
    assert "<html" in found.html() and "cdn" not in found.html().split("<body>")[0]


def test_figures_take_sides_apart() -> None:
    x, y = np.array([[1.0, 2.0]]), np.array([[0.5, 4.0]])
    a, b = Side("A", x, ["r"], ["u", "v"]), Side("B", y, ["r"], ["u", "w"])
    assert less(a, b).columns == ["u", "v | w"]
    three: Any = sides(a, b, axes=("row", "column"), what="value", title="t")
    assert [trace.zmax for trace in three.data] == [4.0, 4.0, 2.0]
    assert three.data[2].zmin == -2.0 and three.data[0].zmin == 0
    narrow = Side("B", y[:, :1], ["r"], ["u"])
    two: Any = sides(a, narrow, axes=("row", "column"), what="value", title="t")
    assert len(two.data) == 2
    with pytest.raises(ValueError, match="no difference"):
        less(a, narrow)
    bars: Any = ranked(narrow, Side("A", x[:, :1], ["s"], ["u"]), what="value", title="t")
    assert len(bars.data) == 2, "rows of two dictionaries have no difference"


def test_an_undefined_value_stays_undefined() -> None:
    nan = torch.full((1, 2), torch.nan).numpy()
    a = Side("A", nan, ["r"], ["u", "v"])
    figure: Any = sides(a, a, axes=("row", "column"), what="value", title="t")
    assert [trace.zmax for trace in figure.data] == [1.0, 1.0, 1.0]

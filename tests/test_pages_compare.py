"""The page Compare, without a browser: both sides, their difference, what has none."""

import csv
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from dashboards import compare_box, exports
from dashboards.compare_sides import checkpoints
from dashboards.exports import Export
from sae.saved import listed_saes
from tests.pages import BY_HAND, charts, forget, numbers, opened
from workbench.attention import SCORES, patterns, repeated_random
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


def test_the_page_offers_every_score() -> None:
    assert sorted(compare_box.SCORES) == sorted(SCORES)


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


def test_an_unknown_checkpoint_is_told_with_those_that_are() -> None:
    at = opened("Compare", model="induction-2l@7", model_b=LATE, on="Attention")
    said = " ".join(one.value for one in (*at.error, *at.warning, *at.info))
    assert "No checkpoint is called induction-2l@7" in said and "steps 0, 50, " in said


def test_two_prompts_on_the_lens() -> None:
    at = opened("Compare", on="Lens", prompt="a b c a b", prompt_b="a b d a b", follow="d")
    model = load(BY_HAND, device="cpu")
    token = model.token_id("d")
    last = []
    for text in ("a b c a b", "a b d a b"):
        logits = run(model, model.tokenize(text).tensor()).logits
        assert logits is not None
        last.append(logits[0].softmax(-1)[:, token].numpy())
    a, b, apart = maps(at, 1)
    np.testing.assert_allclose(a[-1], last[0], atol=1e-5)  # the last row is the model's own
    np.testing.assert_allclose(b[-1], last[1], atol=1e-5)
    np.testing.assert_allclose(apart, a - b, atol=1e-6)
    assert b[-1, -1] > 0.9 > 0.1 > a[-1, -1]
    said = [trace["text"][-1][-1] for trace in charts(at)[0]["data"]]
    assert said == ["c", "d"], "what follows b, by each prompt, is written in the cell"
    assert len(maps(at)) == 2, "words of two sides have no difference"


@pytest.mark.parametrize("value", ["entropy", "KL to the output"])
def test_the_lens_is_shaded_by_what_is_asked_for(value: str) -> None:
    at = opened("Compare", on="Lens", value=value, prompt="a b c a b", prompt_b="a b d a b")
    model = load(BY_HAND, device="cpu")
    for text, shown in zip(("a b c a b", "a b d a b"), maps(at), strict=True):
        logits = run(model, model.tokenize(text).tensor()).logits
        assert logits is not None
        log = logits[0].log_softmax(-1)
        last = -(log.exp() * log).sum(-1) if value == "entropy" else torch.zeros(len(log))
        np.testing.assert_allclose(shown[-1], last.numpy(), atol=1e-4)


def test_a_head_that_both_models_have_is_looked_at() -> None:
    """A's best head is in a layer that B has not; the grids are there all the same."""
    prompt = "a b c a b"
    at = opened("Compare", prompt=prompt, model="induction-2l", model_b="gelu-1l")
    assert [len(maps(at, number)) for number in range(2)] == [2, 3]
    name = charts(at)[1]["layout"]["title"]["text"]
    assert name.startswith("attention of L0H") and "A has 2 x 4 values" in told(at)
    head = int(name[-1])
    for model_name, shown in zip(("induction-2l", "gelu-1l"), maps(at, 1), strict=False):
        model = load(model_name, device="cpu")
        weights = patterns(model, model.tokenize(prompt).tensor()).weights
        np.testing.assert_allclose(shown, weights[0, 0, head].numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("address", "shown", "words"),
    [
        ({"prompt": "a b c", "prompt_b": "a c b"}, 2, "Induction is not defined on A and B: no"),
        ({"prompt": "a b a", "prompt_b": "a c b"}, 2, "Induction is not defined on B: no token"),
        ({"prompt": "a b c a", "prompt_b": "a c b a", "head": "L9H9"}, 1, "A: the address asks"),
        ({"prompt": "a b c a", "model_b": "text-1l", "head": "L1H3"}, 1, "B: the address asks"),
        ({"prompt": "a b c a", "prompt_b": "a c b a", "head": "best"}, 1, "should read L5H1"),
        (
            {"on": "Lens", "model": "text-1l", "model_b": BY_HAND, "prompt": "a b c"}
            | {"follow": "the"},
            1,
            "No token is followed. B: 'the' is not in this model's vocabulary",
        ),
    ],
)
def test_what_a_side_has_not_is_told_below_what_both_have(
    address: dict[str, str], shown: int, words: str
) -> None:
    at = opened("Compare", **address)
    assert words in re.sub(r"\\(.)", r"\1", told(at)) and not at.error
    assert len(charts(at)) == shown


def test_two_models_on_a_task() -> None:
    at = opened(
        "Compare", on="Patching", task="induction", n="3", site="z", model=EARLY, model_b=LATE
    )
    found = maps(at)
    for name, shown in zip((EARLY, LATE), found, strict=False):
        model = load(str(checkpoints()[name]), device="cpu")
        pairs = task("induction").pairs(model, 3, 0, corruption="next")
        effects = sweep(model, pairs, "z", places="all").effects()
        assert charts(at)[0]["layout"]["xaxis"]["title"]["text"] == "head"
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
        ({"prompt": "a b c", "prompt_b": "a b"}, "A has 4 x 4 values (query x key), B 3 x 3; only"),
        ({"prompt": "a b c", "model_b": "nothing@5"}, "neither built in nor a folder here"),
        ({"on": "Lens", "prompt": "a b c", "prompt_b": "a b", "follow": "zz"}, "zz"),
        ({"on": "Patching", "task": "induction", "task_b": "capitals"}, "capitals"),
        ({"on": "SAE", "prompt": "a b c", "prompt_b": "a b"}, "A side has no dictionary"),
        ({"on": "everything"}, "asks for on “everything”"),
        ({"prompt": "a b c", "prompt_b": "a c b", "score": "beauty"}, "asks for score “beauty”"),
        ({"on": "Lens", "prompt": "a b", "prompt_b": "a c", "value": "x"}, "asks for value “x”"),
    ],
)
def test_what_has_no_comparison_is_told(address: dict[str, str], words: str) -> None:
    at = opened("Compare", **address)
    assert words in re.sub(r"\\(.)", r"\1", told(at))


RUN = """
import runpy, sys, numpy
for script in sys.argv[1:]:
    found = runpy.run_path(script)
    for side in ("a", "b", "difference"):
        numpy.savez(f"{script} {side}.npz", **found[side])
"""


def test_the_scripts_give_the_numbers_of_the_tables(export, tmp_path: Path) -> None:
    """As they are, in a fresh interpreter."""
    prompts = {"prompt": "a b c a b", "prompt_b": "a b d a b"}
    task = {"on": "Patching", "task": "induction", "n": "2"}
    games = {"on": "SAE", "model": "othello-6x6", "prompt": "c2 b2 b3", "prompt_b": "c2 d2 e2"}
    views = [
        export(model=EARLY, model_b=LATE, input="random tokens", length="9"),
        export(model=EARLY, prompt="a b c", prompt_b="a c b a"),
        export(on="Lens", follow="c", value="entropy", **prompts),
        export(model=EARLY, model_b=LATE, site="z", **task),
        export(**games),
    ]
    paths = [tmp_path / f"script{number}.py" for number in range(len(views))]
    for path, view in zip(paths, views, strict=True):
        path.write_text(view.script, encoding="utf-8")
        assert view.script.count("model = load(") == 2, "each side's once"
    command = [sys.executable, "-W", "ignore", "-c", RUN, *map(str, paths)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "largest difference" in done.stdout
    for path, view in zip(paths, views, strict=True):
        sides = [np.load(f"{path} {side}.npz") for side in ("a", "b", "difference")]
        for what in view.tables:
            header, *rows = csv.reader(io.StringIO(view.csv(what)))
            assert header == ["row", "column", "A", "B", "difference"]
            for column, side in enumerate(sides):
                kept = [float(row[2 + column]) for row in rows if row[2 + column]]
                made = np.ravel(side[what]) if what in side else []
                np.testing.assert_allclose(made, kept, atol=1e-4, err_msg=f"{path} {what}")
        assert "<html" in view.html() and "cdn" not in view.html().split("<body>")[0]


def test_latents_of_two_dictionaries_have_no_difference(export, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(listed_saes()["othello-6x6-3-topk"], other)
    games = {"on": "SAE", "model": "othello-6x6", "prompt": "c2 b2 b3", "prompt_b": "c2 d2 e2"}
    games["sae_b"] = str(other)
    at = opened("Compare", **games)
    assert "No difference is shown: the sides have latents of two dictionaries" in told(at)
    assert len(charts(at)[0]["data"]) == 2
    found = export(**games)
    assert "for what in []" in found.script
    (rows,) = (list(csv.reader(io.StringIO(found.csv(name)))) for name in found.tables)
    assert all(row[-1] in ("", "difference") for row in rows)


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


def test_an_undefined_value_is_grey_and_no_zero() -> None:
    nan = torch.full((1, 2), torch.nan).numpy()
    a = Side("A", nan, ["r"], ["u", "v"])
    figure: Any = sides(a, a, axes=("row", "column"), what="value", title="t")
    assert [trace.zmax for trace in figure.data[::2]] == [1.0, 1.0, 1.0]
    assert all((trace.z == 1).all() for trace in figure.data[1::2]), "grey over each"


def test_words_are_cut_to_their_cells() -> None:
    def texts(columns: int) -> Any:
        said = [["<internationalisation>"] * columns]
        side = Side("A", np.ones((1, columns)), ["r"], ["c"] * columns, said)
        how: Any = {"axes": ("row", "column"), "what": "value", "title": "t"}
        figure: Any = sides(side, side, **how, words=True)
        return [trace.text for trace in figure.data]

    assert [text[0][0] for text in texts(7)] == ["&lt;interna"] * 2
    assert texts(40) == [None, None], "a letter would say nothing; the hover tells"

"""The Patching page's logic, without a browser: what is asked for, shown and handed out."""

import csv
import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboards import exports, patching_pairs, patching_sweeps
from dashboards.examples import examples
from dashboards.exports import Export
from dashboards.views import patching
from tests.pages import BY_HAND, charts, forget, numbers, opened
from workbench import runs
from workbench.models import Model
from workbench.patching import (
    MEASURES,
    METHODS,
    SWEPT,
    attribute_patches,
    correlation,
    patched_logits,
    sweep,
)
from workbench.tasks import TASKS, Pairs, pair, task

OWN = patching_pairs.SOURCES[1]
# After the second a comes what came after the first: b, or d where the prompt is corrupted.
PAIR = {"clean": "q a b c a", "corrupted": "q a d c a", "answer": "b", "wrong": "d"}
TASK = {"task": "induction", "n": "4"}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    forget()
    yield tmp_path
    forget()


def page(**address: str) -> AppTest:
    return opened("Patching", **address)


def own(**address: str) -> AppTest:
    return page(**{"pairs": OWN, **PAIR, **address})


def map_of(at: AppTest) -> np.ndarray:
    return numbers(charts(at)[0]["data"][0]["z"])


def titles(at: AppTest) -> list[str]:
    return [chart["layout"]["title"]["text"] for chart in charts(at)]


def told(at: AppTest) -> list[str]:
    return [element.value for element in (*at.error, *at.warning)]


def said(at: AppTest) -> str:
    """The Markdown as a reader sees it."""
    return re.sub(r"\\(.)", r"\1", " ".join(element.value for element in at.markdown))


def aligned(at: AppTest) -> list[tuple[str, ...]]:
    """The positions of both prompts: number, clean and corrupted token; those apart end with !."""
    text = next(e.proto.body for e in at.get("html") if "flex-wrap" in e.proto.body)
    columns = re.findall(r"<div style='display:flex;flex-direction[^>]*>.*?</div>", text)[1:]
    return [
        (
            *(html.unescape(word) for word in re.findall(r"<span[^>]*>(.*?)</span>", column)),
            *("!" if "#E69F00" in column else ""),
        )
        for column in columns
    ]


# --- what can be asked for -----------------------------------------------------------------------


def test_the_page_offers_all_that_there_is() -> None:
    assert {name: tuple(found.corruptions) for name, found in TASKS.items()} == {
        name: tuple(corruptions) for name, corruptions in patching_pairs.TASKS.items()
    }
    assert list(patching_sweeps.METRICS) == [*MEASURES]
    assert list(patching_sweeps.METHODS) == [patching_sweeps.EXACT, *METHODS]
    swept = {*patching_sweeps.STREAM, *patching_sweeps.HEADS}
    assert swept == set(SWEPT) - {"pattern", "mlp_post"}


@pytest.mark.parametrize("address", [{}, {"pairs": OWN}, {"pairs": OWN, "clean": "a b"}])
def test_without_pairs_there_are_examples(address: dict[str, str]) -> None:
    at = page(**address)
    assert "start from an example" in at.info[0].value and not told(at) and not charts(at)
    links = [re.findall(r">(.+?)</a>", element.proto.body) for element in at.get("html")]
    assert [label for (label,) in links] == [e.title for e in examples("Patching")]


@pytest.mark.parametrize("example", examples("Patching"), ids=lambda example: example.title)
def test_examples_are_settings_of_the_page(example) -> None:
    settings = {"model", "pairs", "task", "site", *PAIR}
    assert set(example.settings) <= settings and set(example.place) <= {"cell"}
    if "task" in example.settings:
        assert example.settings["task"] in TASKS and example.settings["site"] in SWEPT
    else:
        assert example.settings["pairs"] == OWN and set(PAIR) <= set(example.settings)


# --- the map -------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("site", ["resid_pre", "resid_mid", "attn_out", "mlp_out"])
def test_the_map_is_the_sweep(
    site: str, direction: str, tiny: Callable[..., Model], tiny_folder: Callable[[str], Path]
) -> None:
    how: dict[str, Any] = {"direction": direction, "metric": "log-prob"}
    at = page(model=str(tiny_folder("llama")), task="induction", n="3", seed="5", site=site, **how)
    pairs = task("induction").pairs(tiny("llama"), 3, 5)
    found = sweep(tiny("llama"), pairs, site, **how)
    effects = found.effects()
    np.testing.assert_allclose(map_of(at), effects.mean[:, 0], atol=1e-5)
    assert f"clean run {found.clean.mean():.4f} = effect 1" in said(at)
    assert f"corrupted run {found.corrupted.mean():.4f} = effect 0" in said(at)
    heat, squares = (charts(at)[0]["data"][index] for index in (0, -1))
    middle = (heat["zmin"] + heat["zmax"]) / 2
    assert middle == pytest.approx(0 if direction == "denoising" else 1), "nothing is no colour"
    name, low, high = squares["customdata"][0]
    hook = {"resid_pre": "hook_resid_pre", "resid_mid": "hook_resid_mid"}.get(site, f"hook_{site}")
    assert name.startswith(f"blocks.0.{hook} at 0 ")
    assert (low, high) == pytest.approx((float(effects.low[0, 0, 0]), float(effects.high[0, 0, 0])))
    assert "95 % bootstrap intervals" in at.caption[-1].value


@pytest.mark.parametrize("site", ["z", "k"])
@pytest.mark.parametrize("position", [None, 11, 30])
def test_heads_are_patched_at_all_positions_or_at_one(
    site: str,
    position: int | None,
    tiny: Callable[..., Model],
    tiny_folder: Callable[[str], Path],
) -> None:
    model = tiny("llama")
    pairs = task("induction").pairs(model, 2)
    at = page(
        model=str(tiny_folder("llama")),
        task="induction",
        n="2",
        site=site,
        cell="L1.H1",
        heads="all positions together" if position is None else pairs.labels([str(position)])[0],
    )
    found = sweep(model, pairs, site, places="all" if position is None else [position])
    np.testing.assert_allclose(map_of(at), found.effects().mean[:, :, 0], atol=1e-5)
    assert not told(at)
    assert titles(at)[1].startswith("L1H1: " if site == "z" else "L1H3: "), "its group's first"


def test_the_pair_by_hand_is_solved_by_the_head_by_hand() -> None:
    at = own(site="z")
    assert map_of(at)[1, 2] == pytest.approx(1, abs=1e-3)
    assert "L1H2.z at all positions: effect 1.000" in said(at)
    assert "logit difference (1 pair): clean run 10.0000 = effect 1" in said(at)
    assert charts(at)[0]["data"][0].get("customdata") and "interval" not in at.caption[-1].value
    assert "customdata[1]" not in charts(at)[0]["data"][-1]["hovertemplate"], "one pair has none"


def test_a_pair_without_a_wrong_token() -> None:
    at = own(wrong="", metric="probability")
    assert not told(at) and "probability (1 pair)" in said(at)


def test_prompts_of_several_lengths_share_places(
    monkeypatch: pytest.MonkeyPatch, by_hand: Model
) -> None:
    def pairs(self: object, model: Model) -> Pairs:
        long = pair(model, *PAIR.values(), places={"changed": 3})
        short = pair(model, "a b a", "a c a", "b", "c", places={"changed": 2})
        return Pairs("two", (long, short))

    monkeypatch.setattr(patching_pairs.PairsAsked, "pairs", pairs)
    at = page(**TASK)
    assert "Prompts of 4, 6 tokens have no positions in common" in at.caption[0].value
    assert charts(at)[0]["layout"]["xaxis"]["ticktext"] == ["changed", "end"]
    assert map_of(at)[0].tolist() == pytest.approx([1, 0], abs=1e-3)
    heads = page(**TASK, site="z", heads="end").selectbox(key="heads")
    assert heads.options == ["all positions together", "changed", "end"] and heads.value == "end"


# --- estimates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_an_estimate_stands_beside_the_exact_sweep(
    method: str, tiny: Callable[..., Model], tiny_folder: Callable[[str], Path]
) -> None:
    address = {"model": str(tiny_folder("gpt2")), "task": "induction", "n": "3", "site": "z"}
    at = page(**address, method=method, compare="true")
    model = tiny("gpt2")
    pairs = task("induction").pairs(model, 3)
    exact = sweep(model, pairs, "z", places="all")
    found = attribute_patches(model, pairs, "z", places="all", method=method)
    np.testing.assert_allclose(map_of(at), found.effects().mean[:, :, 0], atol=1e-5)
    r = correlation(exact, found, of_means=True)
    assert f"{method} against exact: r = {r.r:.3f} [{r.low:.3f}, " in titles(at)[1]
    points = charts(at)[1]["data"][0]
    np.testing.assert_allclose(numbers(points["x"]), exact.effects().mean.ravel(), atol=1e-5)
    np.testing.assert_allclose(numbers(points["y"]), map_of(at).ravel())
    alone = page(**address, method=method)
    assert not any("against" in title for title in titles(alone))
    assert alone.caption[-1].value.startswith("cached")


def test_an_estimate_that_is_flat_is_a_sentence() -> None:
    at = page(**TASK, method="AtP", metric="KL", direction="noising")
    assert "is flat at the clean run" in at.error[0].value and not charts(at)


# --- inside a cell -------------------------------------------------------------------------------


def test_the_address_names_the_cell_and_what_is_inside(by_hand: Model) -> None:
    at = own(cell="L1.5", head="H2")
    mapped, heads, attention = charts(at)
    (box,) = mapped["layout"]["shapes"]
    assert (box["x0"], box["y0"]) == (4.5, 0.5)
    one = Pairs("one", (pair(by_hand, *PAIR.values()),))
    expected = sweep(by_hand, one, "z", layers=[1], places=[5]).effects().mean[0, :, 0]
    np.testing.assert_allclose(numbers(heads["data"][0]["y"]), expected, atol=1e-5)
    assert heads["layout"]["title"]["text"] == "Heads of L1 at 5 a"
    assert titles(at)[2] == "L1H2: attention, clean prompt of pair 0"
    assert numbers(attention["data"][0]["z"])[5].argmax() == 3, "what followed the first a"
    links = [e.proto.body for e in at.get("html") if "Open L1H2" in e.proto.body]
    assert "head=L1H2" in links[0] and "prompt=q+a+b+c+a" in links[0]


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_what_would_be_said_next(direction: Any, by_hand: Model) -> None:
    at = own(cell="L0.3", direction=direction)
    (table,) = (e.proto.body for e in at.get("html") if "<table" in e.proto.body)
    header, first = (
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        for row in re.findall(r"<tr>(.*?)</tr>", table)[:2]
    )
    runs_in_order = ["corrupted run", "with the patch", "clean run"]
    assert header == runs_in_order[:: 1 if direction == "denoising" else -1]
    words = [re.sub(r"<.*?>", "", cell).split() for cell in first]
    own_pair = pair(by_hand, *PAIR.values())
    found = patched_logits(by_hand, own_pair, "resid_pre", 0, 3, direction=direction)
    for (word, logit, mark), logits in zip(
        words, (found.base, found.patched, found.source), strict=True
    ):
        best = int(logits.argmax())
        assert word == by_hand.vocabulary.string(best)
        assert float(logit) == pytest.approx(float(logits[best]), abs=0.01)
        assert mark == {"b": "✓", "d": "✗"}[word]
    assert words[1][0] == ("b" if direction == "denoising" else "d"), "the patch carries it"


def test_a_click_chooses_the_cell_and_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser's part is in `tests/browser`: here, what is made of the event."""
    address: dict[str, str] = {"head": "H1"}
    state: dict[str, Any] = {}
    monkeypatch.setattr(patching.st, "session_state", state)
    monkeypatch.setattr(patching.st, "query_params", address)

    def clicked(chart: str, **point: object) -> None:
        selection = SimpleNamespace(points=[point] if point else [])
        state[f"chart {chart}"] = SimpleNamespace(selection=selection)

    clicked("map", x=1, y=0)
    patching._clicked_cell(["L3", "L4"], ("subject", "end"))
    assert address == {"cell": "L3.end"}, "another cell has another strongest head"
    clicked("heads", customdata="H2")
    patching._clicked_head()
    clicked("map")
    patching._clicked_cell(["L3", "L4"], ("subject", "end"))
    assert address == {"cell": "L3.end", "head": "H2"}


def test_the_cell_is_chosen_from_the_keyboard() -> None:
    at = own(cell="L1.5", head="H2")
    at.selectbox(key="cell layer").set_value("L0").run()
    assert "L0.5" in at.query_params["cell"] and "head" not in at.query_params
    at.selectbox(key="cell column").set_value("3").run()
    assert "0.resid_pre at 3 b/d" in said(at)
    at.selectbox(key="cell head").set_value("H3").run()
    assert "H3" in at.query_params["head"] and titles(at)[2].startswith("L0H3: ")


# --- the prompts ---------------------------------------------------------------------------------


def test_both_prompts_are_shown_token_by_token() -> None:
    columns = aligned(own())
    assert columns[0] == ("0", "<bos>", "<bos>") and columns[3] == ("3", "b", "d", "!")
    assert [column[-1] == "!" for column in columns] == [False] * 3 + [True] + [False] * 2


def test_another_pair_is_shown(by_hand: Model) -> None:
    at = page(**TASK, pair="2", site="z")
    row = task("induction").pairs(by_hand, 4).rows[2]
    assert [column[1] for column in aligned(at)] == list(row.clean.labels)
    assert titles(at)[1] == "L1H2: attention, clean prompt of pair 2"
    assert not any("Open L1H2" in e.proto.body for e in at.get("html")), "no text makes its tokens"


def test_prompts_that_do_not_align_are_shown_where_they_part() -> None:
    at = own(corrupted="q a d")
    (error,) = at.error
    assert "The prompts do not align: 6 and 4 tokens, which part at position 3" in error.value
    assert aligned(at)[2:] == [
        ("2", "a", "a"),
        ("3", "b", "d", "!"),
        ("4", "c", "—", "!"),
        ("5", "a", "—", "!"),
    ]
    assert not charts(at) and not runs.kept()


def test_tokens_are_text(tiny_folder: Callable[[str], Path]) -> None:
    marks = "<img src=x onerror=alert(1)>"
    at = page(
        model=str(tiny_folder("gpt2")),
        pairs=OWN,
        clean=f"{marks}a",
        corrupted=f"{marks}b",
        answer="<",
        wrong=">",
    )
    assert charts(at) and not any("<img" in e.proto.body for e in at.get("html"))


# --- addresses, errors, cost ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "notice"),
    [
        ({"corruption": "moth"}, "asks for corruption “moth”.*Known: next, moved"),
        ({"site": "soul"}, "asks for site “soul”"),
        ({"direction": "up"}, "asks for direction “up”"),
        ({"metric": "vibes"}, "asks for metric “vibes”"),
        ({"method": "guess"}, "asks for method “guess”"),
        ({"compare": "maybe"}, "asks for compare “maybe”"),
        ({"pairs": "mine"}, "asks for pairs “mine”"),
        ({"pair": "4"}, "asks for pair “4”, which is not a whole number from 0 to 3"),
        ({"seed": "inf"}, "asks for seed “inf”"),
        ({"cell": "L9.0"}, "asks for cell 'L9.0'; it should read LAYER.PLACE with L0 to L1"),
        ({"cell": "L0.99"}, "asks for cell 'L0.99'"),
        ({"cell": "![x](http://203.0.113.1/x.png)"}, "asks for cell"),
        ({"head": "H4"}, "asks for head 'H4'; give one of H0, H1, H2, H3"),
        ({"site": "z", "heads": "nowhere"}, "asks for heads “nowhere”"),
    ],
)
def test_a_bad_address_is_a_notice(address: dict[str, str], notice: str) -> None:
    at = page(**{**TASK, **address})
    assert re.search(notice, at.warning[0].value) and len(told(at)) == 1
    assert "![x]" not in at.warning[0].value
    assert charts(at), "the default is shown"


def test_a_task_that_does_not_exist_is_a_notice() -> None:
    at = page(task="telepathy")
    assert "asks for task “telepathy”" in at.warning[0].value and not charts(at)


def test_a_number_of_pairs_out_of_range_is_a_notice() -> None:
    at = page(task="induction", n="500")
    assert "which is not a whole number from 1 to 64" in at.warning[0].value
    assert "mean of 8 pairs" in said(at), "the default is shown"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ({"task": "capitals"}, "make no pair with this vocabulary"),
        ({"pairs": OWN, **PAIR, "answer": "b c"}, "is not a single token but 2"),
        ({"pairs": OWN, **PAIR, "clean": "q a zz c a"}, "'zz' is not in this model's vocabulary"),
        ({"pairs": OWN, **PAIR, "corrupted": PAIR["clean"]}, "prompt are the same"),
        ({"pairs": OWN, **PAIR, "wrong": "b"}, "give at least one answer, and none that is wrong"),
        ({**TASK, "model": "/no/such/folder"}, "There is no folder"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(address: dict[str, str], sentence: str) -> None:
    at = page(**address)
    assert sentence.lower() in at.error[0].value.lower() and "\n" not in at.error[0].value
    assert not charts(at) and not runs.kept()


def test_a_site_that_the_model_lacks_is_one_sentence(tiny_folder: Callable[[str], Path]) -> None:
    at = page(model=str(tiny_folder("neox")), **TASK, site="resid_mid")
    (error,) = at.error
    assert "resid_mid" in error.value and not charts(at)


def test_a_large_sweep_says_its_cost_and_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patching_sweeps, "LARGE", 10)
    at = page(**TASK, site="z")
    assert "The exact sweep takes 32 patched runs, " in at.info[0].value and not charts(at)
    assert not runs.kept()
    at.button[0].click().run()
    assert charts(at) and len(runs.kept()) == 1
    assert charts(page(**TASK, site="z")), "what is held needs no leave"
    assert charts(page(**TASK, site="z", method="AtP")), "an estimate takes few runs"
    assert not charts(page(**TASK, site="z", method="AtP", metric="probability", compare="true"))


def test_a_computed_map_leaves_a_record_and_is_held(by_hand: Model) -> None:
    at = page(**TASK)
    ((_, record),) = runs.kept()
    assert record.kind == "patching" and at.caption[-1].value.startswith("computed, ")
    pairs = task("induction").pairs(by_hand, 4)
    assert record.tokens == [list(s.ids) for row in pairs for s in (row.clean, row.corrupted)]
    assert (record.arguments["site"], record.arguments["method"]) == ("resid_pre", "exact")
    assert record.model["name"] == BY_HAND
    again = page(**TASK)
    assert again.caption[-1].value.startswith("cached") and len(runs.kept()) == 1
    np.testing.assert_array_equal(map_of(again), map_of(at))
    page(**TASK, seed="1")
    assert len(runs.kept()) == 2, "other pairs are computed"


def test_only_the_last_sweeps_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patching_sweeps, "MOST", 2)
    for seed in "012":
        page(**TASK, seed=seed)
    assert len(patching_sweeps._held()) == 2
    assert page(**TASK, seed="0").caption[-1].value.startswith("computed")


# --- exports -------------------------------------------------------------------------------------


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Export, AppTest]]:
    def export(**address: str) -> tuple[Export, AppTest]:
        offers: list[Export] = []
        with monkeypatch.context() as patch:
            patch.setattr(exports, "offer", offers.append)
            at = page(**address)
        return offers[-1], at

    return export


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_the_tables_are_what_is_shown(exported) -> None:
    export, at = exported(**TASK, cell="L1.20")
    assert [*export.tables] == [
        "effects",
        "pairs",
        "next tokens of 1.resid_pre at 20 i…",
        "heads at 1.resid_pre at 20 i…",
    ]
    effects = rows(export.csv("effects"))
    assert [row["place"] for row in effects[:2]] == ["0", "1"] and effects[0]["token"] == "0 <bos>"
    found = np.array([float(row["effect"]) for row in effects]).reshape(2, -1)
    np.testing.assert_allclose(found, map_of(at), atol=1e-6)
    assert float(effects[0]["low"]) <= found[0, 0] <= float(effects[0]["high"])
    heads = rows(export.csv("heads at 1.resid_pre at 20 i…"))
    np.testing.assert_allclose(
        [float(row["effect"]) for row in heads], numbers(charts(at)[1]["data"][0]["y"]), atol=1e-6
    )
    assert len(rows(export.csv("pairs"))) == 4
    assert "4 pairs of induction, seed 0, corruption next" in export.note


def test_estimates_come_with_the_exact_effects(exported) -> None:
    export, at = exported(**TASK, site="z", method="AtP", compare="true")
    found = [float(row["exact effect"]) for row in rows(export.csv("effects"))]
    np.testing.assert_allclose(found, numbers(charts(at)[1]["data"][0]["x"]), atol=1e-6)
    assert len(export.figures()) == 3 and "Plotly.newPlot(" in export.html()


SCRIPTS = [
    {**TASK, "cell": "L1.20"},
    {**TASK, "site": "k", "method": "AtP*", "compare": "true", "corruption": "moved"},
    {"pairs": OWN, **PAIR, "site": "z", "heads": "5 a", "direction": "noising"},
]


@pytest.mark.parametrize("address", SCRIPTS, ids=["stream", "estimate", "own"])
def test_the_script_gives_the_numbers_on_the_screen(
    address: dict[str, str], exported, capsys: pytest.CaptureFixture[str]
) -> None:
    export, at = exported(**address)
    exec(compile(export.script, "script", "exec"), {})
    out = capsys.readouterr().out
    shown = map_of(at)
    nothing = 1 if address.get("direction") == "noising" else 0
    best = shown.flat[np.abs(shown - nothing).argmax()]
    told = re.findall(r"^\S+ at \S+: (-?[\d.]+)( \[)?", out, re.MULTILINE)
    assert float(told[0][0]) == pytest.approx(best, abs=1e-3)
    assert bool(told[0][1]) == ("task" in address), "one pair has no interval"
    assert re.search(r"^patched \[\('\w', ", out, re.MULTILINE)

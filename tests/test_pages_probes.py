"""The Probes page, without a browser."""

import csv
import io
import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboards import exports
from dashboards.exports import Export
from dashboards.probes_box import LabelsAsked, ending_of, fitting
from probes.summary import by_site, token_scores
from probes.sweep import sweep
from tests.boards import othello_folder
from tests.pages import BY_HAND, charts, forget, numbers, opened
from workbench import runs
from workbench.labels import label_source, read_labels
from workbench.models import Model, load, untrained

TAGGED = "\n\n".join(
    f"the/det puma/animal and/det my/det {thing}/thing"
    for thing in ("box", "wax", "fax", "mix", "tax")
)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    forget()
    yield tmp_path
    forget()


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = othello_folder(tmp_path_factory.mktemp("board"))
    return {"model": str(folder), "n": "20", "kind": "ridge"}


@pytest.fixture
def typed(tiny_folder: Callable[[str], Path]) -> dict[str, str]:
    return {"model": str(tiny_folder("llama")), "labels": "typed labels", "typed": TAGGED}


def told(at: AppTest) -> list[str]:
    return [re.sub(r"\\(.)", r"\1", element.value) for element in (*at.error, *at.warning)]


def shown_tokens(at: AppTest) -> list[tuple[str, str, str]]:
    """Each token with what stands under it, and its title."""
    body = next(e.proto.body for e in at.get("html") if "tabindex" in e.proto.body)
    found = re.findall(r"title='([^']*)'>(.*?)<br><small[^>]*>(.*?)</small>", body, re.DOTALL)
    return [(token, under, title) for title, token, under in found]


def exported(monkeypatch: pytest.MonkeyPatch, **address: str) -> Export:
    offers: list[Export] = []
    with monkeypatch.context() as patch:
        patch.setattr(exports, "offer", offers.append)
        opened("Probes", **address)
    return offers[-1]


def rows_of(export: Export, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export.csv(name))))


def test_the_page_shows_what_the_core_computes(board: dict[str, str]) -> None:
    at = opened("Probes", **board, among="mine,theirs", seed="3", task="d3")
    model, source = load(board["model"]), label_source("othello-mine")
    assert source.corpus is not None
    labelled = source.label(source.corpus(model.vocabulary, 20, 3), model.vocabulary)
    sites, control = ["0.resid_pre", "*.resid_post"], untrained(model)
    among = ("mine", "theirs")
    found = sweep(model, labelled, sites, "ridge", random=control, among=among, seed=3)
    columns = by_site(found, among=True)
    curve, confusion, reliability = charts(at)
    lines = {line.get("name"): numbers(line["y"]) for line in curve["data"] if "name" in line}
    names = {"probe": "accuracy"} | {
        name: name
        for name in ("random weights", "embedding only", "control task", "shuffled labels")
    }
    for name, column in {**names, "commonest class": "commonest class"}.items():
        np.testing.assert_allclose(lines[name], columns[column], atol=1e-5)
    bars = curve["data"][0]["error_y"]
    np.testing.assert_allclose(
        numbers(bars["array"]), columns["high"] - columns["accuracy"], atol=1e-5
    )
    report = found.among[found.best].evaluation
    np.testing.assert_array_equal(
        numbers(confusion["data"][0]["customdata"]), report.confusion.numpy()
    )
    assert report.calibration is not None
    kept = report.calibration.count > 0
    np.testing.assert_allclose(
        numbers(reliability["data"][1]["y"]), report.calibration.accuracy[kept], atol=1e-5
    )
    ids = labelled.corpus.ids[0][labelled.corpus.documents[0] >= 0]
    shares = token_scores(model, found[found.best], at_ids(ids))[:, found.tasks.index("d3")]
    read = [found.classes[best] for best in shares.argmax(-1).tolist()]
    assert [under for _, under, _ in shown_tokens(at)] == read
    assert [token for token, _, _ in shown_tokens(at)] == [
        model.vocabulary.string(int(token)) for token in ids
    ]


def at_ids(ids: np.ndarray):
    import torch

    return torch.from_numpy(ids.astype(np.int64))[None]


def test_a_site_a_text_and_a_class(board: dict[str, str]) -> None:
    at = opened("Probes", **board, site="1.resid_post", text="d2 c2 b3", shown="mine", task="c3")
    tokens = shown_tokens(at)
    assert [token for token, _, _ in tokens] == ["d2", "c2", "b3"]
    for _, under, title in tokens:
        share = title.partition("mine ")[2].partition(",")[0]
        assert under == f"{float(share):.2f}"
    assert at.markdown[0].value.startswith("**1")
    other = opened("Probes", **board, site="2.resid_post", text="d2 c2 b3", shown="mine", task="c3")
    assert other.caption[-1].value.count("cached. ") == 1, "another site is no other sweep"
    assert shown_tokens(other) != tokens


def test_a_long_text_is_cut_and_says_so(
    board: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboards.probes_view.CAP", 2)
    at = opened("Probes", **board, random="false", sites="1.resid_post", text="d2 c2 b3")
    assert [token for token, _, _ in shown_tokens(at)] == ["d2", "c2"]
    assert at.caption[-1].value.startswith("The first 2 of 3 tokens of your text")
    whole = opened("Probes", **board, random="false", sites="1.resid_post", text="d2 c2")
    assert whole.caption[-1].value.startswith("2 tokens of your text")


def test_other_labels_in_one_session() -> None:
    """What was chosen for the labels before does not stand in the way of others."""
    address = {"model": "othello-6x6", "n": "60", "random": "false", "sites": "1.resid_post"}
    at = opened("Probes", **address, task="a1", shown="mine", among="mine,theirs")
    at.selectbox(key="shown").set_value("theirs").run()
    at.text_input(key="among").set_value("")
    at.text_input(key="sites").set_value("2.resid_post, 3.resid_post")
    at.selectbox(key="labels").set_value("othello-flipped").run()
    assert not at.exception and not at.error, told(at)
    assert at.selectbox(key="shown").options == ["answer", "kept", "flipped"]
    assert "a1" not in at.selectbox(key="task").options, "corners never turn"
    assert {under for _, under, _ in shown_tokens(at)} <= {"kept", "flipped"}


def test_labels_are_those_that_fit(
    board: dict[str, str], tiny: Callable[..., Model], by_hand: Model
) -> None:
    names = ["othello-mine", "othello-colour", "othello-flipped", "othello-legal"]
    assert fitting(load(board["model"])) == names
    assert fitting(tiny("gpt2")) == ["word-classes"] and fitting(by_hand) == []
    assert "Type labelled text above" in opened("Probes").info[0].value


def test_typed_labels(typed: dict[str, str], tmp_path: Path, tiny: Callable[..., Model]) -> None:
    at = opened("Probes", **typed, random="false", sites="1.resid_post", kind="logistic")
    path, model = tmp_path / "t.txt", tiny("llama")
    path.write_text(TAGGED)
    found = sweep(model, read_labels(path, model), "1.resid_post", "logistic")
    line = charts(at)[0]["data"][0]
    assert numbers(line["y"])[0] == pytest.approx(by_site(found)["accuracy"][0])
    assert "random weights" not in [line.get("name") for line in charts(at)[0]["data"]]


def test_without_confidence_there_is_no_calibration(typed: dict[str, str]) -> None:
    at = opened("Probes", **typed, random="false", sites="1.resid_post", kind="mean-difference")
    assert len(charts(at)) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"typed": "a/x b/y"}, "come from 1 documents; give at least 3"),
        ({"typed": "a/x\n\nb/x\n\nc/x"}, "1 class; give two or more"),
        ({"typed": "a/ b/y"}, "the text typed"),
        ({"sites": "9.resid_post"}, "9.resid_post"),
        ({"among": "fish,fowl"}, "there is no class 'fish'"),
        ({"labels": "nonsense"}, "the address asks for labels “nonsense”"),
        ({"seed": "inf"}, "the address asks for seed “inf”"),
    ],
)
def test_mistakes_are_sentences(typed: dict[str, str], more: dict[str, str], said: str) -> None:
    at = opened("Probes", **{**typed, "random": "false", "sites": "1.resid_post", **more})
    assert any(said in word.lower() for word in told(at)), told(at)


def test_a_model_by_hand_has_no_control() -> None:
    text = "\n\n".join("a/x b/y c/x d/y" for _ in range(6))
    address = {"model": BY_HAND, "labels": "typed labels", "typed": text}
    (error,) = told(opened("Probes", **address))
    assert "switch the control with random weights off" in error
    assert charts(opened("Probes", **address, random="false"))


def test_the_second_time_it_is_cached(typed: dict[str, str]) -> None:
    address = {**typed, "random": "false", "sites": "1.resid_post"}
    assert "computed, " in opened("Probes", **address).caption[-1].value
    assert "cached. " in opened("Probes", **address).caption[-1].value
    ((_, record),) = runs.kept()
    assert record.kind == "probe" and record.arguments["kind"] == "ridge"
    assert "computed, " in opened("Probes", **{**address, "seed": "1"}).caption[-1].value


@pytest.mark.parametrize("which", ["board", "typed"])
def test_the_script_gives_the_page_s_numbers(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    which: str,
) -> None:
    address = {**request.getfixturevalue(which), "sites": "0.resid_pre,1.resid_post"}
    export = exported(monkeypatch, **address)
    path = tmp_path / "script.py"
    path.write_text(export.script)
    capsys.readouterr()
    runpy.run_path(str(path))
    lines = capsys.readouterr().out.splitlines()
    sites = rows_of(export, "sites")
    for row, line in zip(sites, lines, strict=False):
        found = dict(re.findall(r"(\S[^;]*?) (nan|-?[\d.]+);", line.removeprefix(row["site"])))
        assert {name: float(x) for name, x in found.items()} == pytest.approx(
            {name: float(x) for name, x in row.items() if name != "site"}, abs=1e-4, nan_ok=True
        )
    tokens = rows_of(export, "tokens")
    for row, line in zip(reversed(tokens), reversed(lines), strict=False):
        values = [float(x) for name, x in row.items() if name not in POSITION]
        assert line.startswith(repr(row["position token"]))
        assert [float(x) for x in line.split()[-len(values) :]] == pytest.approx(values, abs=2e-4)
    counts = np.array([int(row["answers"]) for row in rows_of(export, "confusion")])
    assert str(counts.reshape(round(len(counts) ** 0.5), -1).tolist()) in lines


POSITION = ("position", "position token", "answer")


def test_exports_say_what_they_are(monkeypatch: pytest.MonkeyPatch, board: dict[str, str]) -> None:
    export = exported(monkeypatch, **board)
    assert set(export.tables) == {"sites", "confusion", "tokens", "calibration"}
    page = export.html()
    for part in ("random weights", "control task", "20 random games", "embedding only"):
        assert part in page or part in export.note
    assert sum(int(r["answers"]) for r in rows_of(export, "calibration")) == sum(
        int(r["answers"]) for r in rows_of(export, "confusion")
    )


def test_a_text_s_form_is_told_by_its_beginning() -> None:
    assert ending_of("text,label\na,b") == ".csv" and ending_of('{"text": 1}') == ".jsonl"
    assert ending_of("a/b c/d") == ".txt"
    assert LabelsAsked("my words.csv", "x", ".csv").file == "my-words.csv"

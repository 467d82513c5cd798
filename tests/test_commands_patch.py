"""`workbench patch`: what it prints, writes and refuses."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from workbench.__main__ import main
from workbench.commands import output
from workbench.models import Model
from workbench.patching import MEASURES, SWEPT, Metric, sweep
from workbench.runs import kept
from workbench.tasks import TASKS, Pairs, pair, read_pairs, task

MODEL = ("--model", "induction-by-hand", "--device", "cpu")
# After the second a comes what came after the first: b, or d where the prompt is corrupted.
PAIR = ("--clean", "q a b c a", "--corrupted", "q a d c a", "--answer", "b", "--wrong", "d")
LINES = "clean,corrupted,answer,wrong,place:first\nq a b c a,q a d c a,b,d,2\na b a,a c a,b,c,1\n"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test its own home, and a wide screen."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(output, "console", Console(width=300))


@pytest.fixture
def workbench(command: Callable[..., str]) -> Callable[..., str]:
    """Run a command on the model by hand; gives its output."""
    return lambda *arguments: command(*arguments, *MODEL)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(LINES)
    return path


def test_one_pair_finds_the_head(workbench, by_hand: Model, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    out = workbench("patch", *PAIR, "--site", "z", "--html", page)
    assert "denoising z over 1 pair: logit difference at end 10.0000 clean, -10.0000 corr" in out
    assert "all positions patched together" in out
    (row,) = re.findall(r"L1H2\.z +│ all +│ (\S+) +│ one pair", out)
    assert float(row) == pytest.approx(1, abs=1e-3)
    assert re.search(r"\d+ forwards, \d+ tokens; memory \S+ GB, \S+ GB predicted; \S+ s", out)
    text = page.read_text(encoding="utf-8")
    assert "Plotly.newPlot(" in text and "Activation patching" in text
    assert not re.search(r"""src\s*=\s*["']http""", text)
    ((_, record),) = kept()
    assert record.kind == "patch" and record.arguments["site"] == "z"
    assert record.tokens == [
        list(by_hand.tokenize(text).ids) for text in ("q a b c a", "q a d c a")
    ]


def test_as_json_it_is_the_sweep(workbench, by_hand: Model) -> None:
    command = ("patch", "induction", "--n", 6, "--seed", 1, "--direction", "noising")
    how = ("--places", "3,end", "--layers", "0-1", "--components", "2", "--metric", "log_prob")
    found = json.loads(workbench(*command, *how, "--site", "z", "--at", -1, "--json"))
    made = task("induction").pairs(by_hand, 6, 1)
    expected = sweep(
        by_hand,
        made,
        "z",
        metric=Metric.named("log-prob", -1),
        direction="noising",
        places=[3, "end"],
        components=[2],
    )
    effects = expected.effects()
    assert (found["metric"], found["at"], found["direction"]) == ("log-prob", "-1", "noising")
    assert (found["layers"], found["components"]) == ([0, 1], ["H2"])
    assert found["places"] == ["3", "end"] and found["pairs"] == 6
    for name in ("mean", "low", "high"):
        values = torch.tensor(found["effects"][name])
        torch.testing.assert_close(values, getattr(effects, name), atol=1e-5, rtol=1e-5)
    assert found["clean"] == pytest.approx(expected.clean.tolist(), abs=1e-5)
    assert found["corrupted"] == pytest.approx(expected.corrupted.tolist(), abs=1e-5)
    first = made.rows[0]
    assert found["first_pair"]["clean"] == list(first.clean.strings)
    assert found["first_pair"]["corrupted"] == list(first.corrupted.strings)
    assert found["first_pair"]["places"] == first.places
    assert found["tokens"] == expected.tokens and found["forwards"] == expected.forwards
    assert found["fingerprint"] == by_hand.identity.fingerprint


def test_one_pair_has_no_interval(workbench) -> None:
    found = json.loads(workbench("patch", *PAIR, "--json"))
    assert found["effects"]["low"] is None and found["effects"]["high"] is None
    assert found["labels"] == ["0 <bos>", "1 q", "2 a", "3 b/d", "4 c", "5 a"]
    (layer0, _) = torch.tensor(found["effects"]["mean"])
    assert layer0[0].tolist() == pytest.approx([0, 0, 0, 1, 0, 0], abs=1e-3)


def test_a_file_of_several_lengths(workbench, file: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    out = workbench("patch", file, "--html", page, "--top", 1)
    assert "over 2 pairs of mine" in out
    assert "prompts of 4, 6 tokens have no positions in common" in out
    assert len(re.findall(r"\d\.resid_pre", out)) == 1, "--top"
    found = json.loads(workbench("patch", file, "--json"))
    assert found["labels"] == ["first", "end"]
    assert json.loads(workbench("patch", file, "--n", 1, "--json"))["pairs"] == 1
    assert "blocks.0.hook_resid_pre at first" in page.read_text(encoding="utf-8")


def test_heads_at_each_place_are_a_heatmap_each(workbench, file: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    workbench("patch", *PAIR, "--site", "z", "--places", "each", "--html", page)
    text = page.read_text(encoding="utf-8")
    assert "places with weaker effects, or none, are left out" in text
    assert "patched at 5 a" in text and "patched at 1 q" not in text
    assert "blocks.1.attn.hook_z H2 at 5 a" in text


def test_noising_ranks_by_what_is_lost(workbench) -> None:
    out = workbench("patch", *PAIR, "--site", "z", "--direction", "noising", "--top", 1)
    assert re.search(r"L[01]H\d\.z +│ all +│ [+-]0\.000", out), "from the clean run, 1, to 0"


def test_the_list(workbench) -> None:
    out = workbench("patch", "--list")
    for name in (*TASKS, *SWEPT, *MEASURES):
        assert re.search(rf"│ {re.escape(name)} +│", out)
    found = json.loads(workbench("patch", "--list", "--json"))
    assert set(found["tasks"]) == set(TASKS) and found["sites"] == SWEPT
    assert set(found["metrics"]) == set(MEASURES)
    assert kept() == []


def test_labels_of_places(by_hand: Model, file: Path) -> None:
    texts = [("q a b c a", "q a d c a", "b", "d"), ("q a c b a", "q a d b a", "c", "d")]
    unnamed = Pairs("two", tuple(pair(by_hand, *text) for text in texts))
    named = Pairs("two", tuple(pair(by_hand, *text, places={"F": 3}) for text in texts))
    places = ["0", "1", "2", "3", "4", "5"]
    shown = unnamed.labels(places)
    assert shown == ["0 <bos>", "1 q", "2 a", "3 b…", "4 c…", "5 a"]
    assert named.labels(places)[3] == "3 F"
    assert read_pairs(by_hand, file).labels(["first", "end"]) == ["first", "end"]
    assert unnamed.labels(["-1"]) == ["-1 a"], "counted from the end"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give a task, a file of pairs, or --clean, --corrupted and --answer"),
        (["--clean", "a b"], "give a task, a file of pairs, or --clean, --corrupted and --answer"),
        (["induction", *PAIR], "make a pair; leave the task out"),
        ([*PAIR, "--seed", "1"], "--corruption and --seed are for tasks"),
        ([*PAIR, "--n", "3"], "--n is for tasks and files"),
        (["induction", "--n", "0"], "--n takes a whole number from 1"),
        (["induction", "--top", "0"], "--top takes a whole number from 1"),
        (["induction", "--first-token"], "--first-token and --bos are for files and --clean"),
        (["induction", "--layers", "5-1"], "--layers '5-1' should be numbers and ranges, such as"),
        (["induction", "--layers", "0-99999999"], "there is no number 99,999,999"),
        (["induction", "--layers", "2"], "layers run from 0 to 1"),
        (["induction", "--components", "0"], "neither heads nor neurons"),
        (["induction", "--site", "x"], "site 'x' cannot be swept; give one of resid_pre"),
        (["induction", "--metric", "x"], "metric 'x' is not one of logit difference"),
        (["induction", "--places", "S9"], "place 'S9' is not one of"),
        (["induction", "--corruption", "x"], "corruption 'x' is not one of next"),
        (["zebra"], "'zebra' is neither a task .* nor a file that ends in .csv"),
        (["zebra.csv"], "there is no file zebra.csv"),
        ([*PAIR[:3], "q a d c", *PAIR[4:]], "the prompts do not align: 6 and 5 tokens"),
        ([*PAIR[:5], "b c", *PAIR[6:]], "'b c' is not a single token"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments: list[str], told: str) -> None:
    assert main(["patch", *arguments, *MODEL]) == 2
    out, err = capsys.readouterr()
    (line,) = [line for line in err.splitlines() if line.strip()]
    assert line.startswith("workbench: ")
    assert re.search(told, line)
    assert out == ""
    assert kept() == []


def test_more_pairs_than_a_file_holds(capsys, file: Path) -> None:
    assert main(["patch", str(file), "--n", "3", *MODEL]) == 2
    assert "mine.csv holds 2 pairs; ask for no more" in capsys.readouterr().err

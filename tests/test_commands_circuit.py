"""`workbench attribute` and `workbench circuit`: what they print, write and refuse."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from workbench.__main__ import main
from workbench.claims import edges as claims
from workbench.commands import output
from workbench.models import Model
from workbench.patching import attribute_patches, correlation, sweep
from workbench.patching.edges import grown, read_circuit, run_circuits, score_edges
from workbench.runs import kept
from workbench.tasks import Pairs, task

MODEL = ("--model", "induction-by-hand", "--device", "cpu")
TRUE = ("embed->L0H1.v", "embed->L1H2.q", "L0H1->L1H2.k", "embed->L1H2.v", "L1H2->logits")


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
    """The pairs of the known circuit."""
    rows = claims._CASES["induction-by-hand"][0]
    names = ("clean", "corrupted", "answer", "wrong")
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    return path


# attribute


def test_an_estimate_is_told_beside_the_exact_effects(workbench, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    asked = ("attribute", "induction", "--n", 4, "--site", "v", "--exact")
    out = workbench(*asked, "--html", page)
    row = re.search(r"L1H2\.v +│ all +│ (\S+) +│ (\S+) to (\S+) +│ (\S+) +│", out)
    assert row is not None
    assert float(row[1]) == pytest.approx(float(row[4]), abs=1e-3)  # values are read linearly
    assert re.search(r"estimates by AtP, 1 backward passes; r = 1\.000 \(1\.000 to 1\.000 ov", out)
    text = page.read_text(encoding="utf-8")
    assert text.count("Plotly.newPlot(") == 2 and "AtP against the exact effects" in text
    ((_, record),) = kept()
    assert record.kind == "attribute" and record.files == [str(page)]


def test_without_exact_effects_it_says_how_to_get_them(workbench) -> None:
    out = workbench("attribute", "induction", "--n", 2, "--site", "v")
    assert "--exact runs the exact sweep beside them" in out and "exact  " not in out


def test_an_estimate_that_sees_nothing_is_shown_beside_what_there_is(workbench) -> None:
    """All attention of the clean run is on one key: a gradient at keys is 0."""
    pair = ("--clean", "x a b y z a", "--corrupted", "x q b y z a", "--answer", "b", "--wrong", "y")
    asked = ("attribute", *pair, "--site", "k", "--direction", "noising", "--exact")
    out = workbench(*asked)
    assert re.search(r"L1H2\.k +│ all +│ \+1\.000 │ one pair +│ \+0\.000 │", out)
    assert "no correlation with the exact effects" in out and "one of the two is constant" in out
    assert json.loads(workbench(*asked, "--json"))["correlation"] is None
    assert "r = 1.000 (one pair)" in workbench(*asked, "--method", "AtP*")


def test_as_json_it_is_the_estimate(workbench, by_hand: Model) -> None:
    asked = ("attribute", "induction", "--n", 5, "--site", "resid_pre", "--method", "IG")
    found = json.loads(workbench(*asked, "--steps", 3, "--exact", "--json"))
    pairs = task("induction").pairs(by_hand, 5, 0)
    estimate = attribute_patches(by_hand, pairs, "resid_pre", method="IG", steps=3)
    exact = sweep(by_hand, pairs, "resid_pre")
    near = correlation(exact, estimate, of_means=True)
    assert (found["method"], found["steps"]) == ("IG", 3)
    torch.testing.assert_close(
        torch.tensor(found["effects"]["mean"]), estimate.effects().mean, atol=1e-5, rtol=1e-4
    )
    assert found["correlation"]["r"] == pytest.approx(near.r, abs=1e-5)
    assert found["correlation"]["low"] == pytest.approx(near.low, abs=1e-4)
    assert found["correlation"]["cells"] == exact.values[..., 0].numel()


# circuit


def test_the_known_circuit_is_found_and_judged(workbench, file: Path, tmp_path: Path) -> None:
    page, written = tmp_path / "page.html", tmp_path / "circuit.json"
    how = ("--method", "exact", "--edges", 5, "--curve", "--thorough")
    out = workbench("circuit", file, *how, "--html", page, "--out", written)
    assert "5 of 81 edges, by exact on 3 pairs of pairs; judged on the same pairs" in out
    assert re.search(r"the circuit +│ \+1\.000 +│ \+1\.000 to \+1\.000", out)
    assert re.search(r"all others +│ [+-]0\.000", out)
    assert out.count("random circuit ") == 5
    assert re.search(r"L1H2->logits +│ \+1\.000 │ \+1\.000 to \+1\.000", out)
    assert "differ in faithfulness by up to 0.000 (8 halves)" in out
    assert re.search(r"L1H2 +│ \+1\.000 │\n", out)
    assert re.search(r"(?s)CPR 0\.\d+ .*CMD 0\.\d+", out)
    assert read_circuit(written).edges == tuple(
        sorted(TRUE, key=lambda name: read_circuit(written).graph.edge(name))
    )
    text = page.read_text(encoding="utf-8")
    assert text.count("Plotly.newPlot(") == 2 and not re.search(r"""src\s*=\s*["']http""", text)
    ((_, record),) = kept()
    assert record.kind == "circuit" and record.files == [str(written), str(page)]


def test_a_circuit_of_a_file_is_judged(workbench, by_hand, file: Path, tmp_path: Path) -> None:
    written = tmp_path / "circuit.json"
    workbench("circuit", file, "--method", "ACDC", "--out", written)
    one = read_circuit(written)
    assert set(one.edges) == set(TRUE)
    assert one.found["method"] == "ACDC" and one.found["threshold"] == 0.01
    found = json.loads(workbench("circuit", file, "--circuit", written, "--random", 1, "--json"))
    assert [row["edges"] for row in found["faithfulness"]] == [
        "the circuit",
        "all others",
        "random circuit 1",
    ]
    assert found["faithfulness"][0]["mean"] == pytest.approx(1, abs=1e-5)
    assert found["shares"] is None and set(found["edges"]) == set(TRUE)


def test_a_circuit_of_other_weights_is_told(workbench, file: Path, tmp_path: Path) -> None:
    written = tmp_path / "circuit.json"
    workbench("circuit", file, "--method", "exact", "--edges", 5, "--out", written)
    content = json.loads(written.read_text())
    assert (content["found"]["seed"], content["found"]["at"]) == (0, "end")
    assert "other weights" not in workbench("circuit", file, "--circuit", written)
    content["found"] |= {"fingerprint": "0" * 32, "model": "somebody's"}
    written.write_text(json.dumps(content))
    out = workbench("circuit", file, "--circuit", written)
    assert "(found in other weights: somebody's)" in out


def test_it_is_found_on_one_half_and_judged_on_the_other(workbench, by_hand: Model) -> None:
    found = json.loads(workbench("circuit", "induction", "--n", 9, "--edges", 4, "--json"))
    assert "EAP-IG on 4 pairs of induction; judged on 5 other pairs" in found["note"]
    pairs = task("induction").pairs(by_hand, 9, 0)
    first, rest = (Pairs("half", rows) for rows in (pairs.rows[:4], pairs.rows[4:]))
    scores = score_edges(by_hand, first)
    one = grown(scores.graph, scores.shares.abs(), 4)
    assert found["edges"] == list(one.edges)
    mean = float(run_circuits(by_hand, rest, [one]).faithfulness().mean)
    assert found["faithfulness"][0]["mean"] == pytest.approx(mean, abs=1e-5)
    same = json.loads(workbench("circuit", "induction", "--n", 9, "--same-pairs", "--json"))
    assert "on 9 pairs of induction; judged on the same pairs" in same["note"]


@pytest.mark.parametrize(
    "given, told",
    [
        (("circuit",), "give a task"),
        (("circuit", "induction", "--search", "best"), "greedy, threshold"),
        (("circuit", "induction", "--method", "best"), "EAP-IG, EAP, exact"),
        (("circuit", "induction", "--edges", "100000"), "this model has 81"),
        (("circuit", "induction", "--random", "-1"), "--random"),
        (("circuit", "induction", "--method", "acdc", "--curve"), "ACDC has none"),
        (("circuit", "induction", "--circuit", "none.json"), "cannot be read"),
        (("circuit", "induction", "--circuit", "x.json", "--edges", "3"), "leave one out"),
        (("circuit", "induction", "--ablation", "none"), "resample, mean, zero"),
        (("circuit", "induction", "--out", "/none/circuit.json"), "cannot write"),
        (("attribute", "induction", "--method", "best"), "AtP, AtP"),
        (("attribute", "induction", "--steps", "0", "--method", "IG"), "0 steps"),
        (("attribute", "induction", "--top", "0"), "--top"),
        (("attribute", "ioi"), "0 of the 75 names"),
    ],
)
def test_faults_are_one_sentence(capsys, given, told) -> None:
    assert main([*given, *MODEL]) == 2
    err = capsys.readouterr().err
    assert told in err and "Traceback" not in err

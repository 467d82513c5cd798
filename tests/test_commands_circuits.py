"""`workbench attribution` and `workbench weights`: what they print, write and refuse."""

import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from workbench.__main__ import main
from workbench.commands import output
from workbench.runs import kept

MODEL = ("--model", "induction-by-hand", "--device", "cpu")
ASKED = ("attribution", "a b c d a b", "--answer", "c", "--wrong", "d")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(output, "console", Console(width=200))


def check_page(path: Path, *words: str) -> None:
    page = path.read_text(encoding="utf-8")
    assert "Plotly.newPlot(" in page
    assert not re.search(r"""src\s*=\s*["']http""", page)
    for word in words:
        assert word in page


def test_attribution(workbench, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    out = workbench(*ASKED, *MODEL, "--head", "L1H2", "--html", page)
    assert "logit of 'c' less that of 'd' after b (6)" in out
    assert "logit difference 10.0000, sum of all components 10.0000, remainder 0.0e+00" in out
    assert re.search(r"L1H2 +│ \+10\.0000", out)
    assert re.search(r"c \(3\) +│ \+10\.0000", out), "brought from the letter after the first b"
    assert "d (4)" not in out, "parts that are 0 are not listed"
    assert "cached in" in workbench(*ASKED, *MODEL)
    check_page(page, "shares of the heads", "by the position it was brought from")
    (record, *_) = [record for _, record in kept()]
    assert record.kind == "attribution"
    assert record.arguments["answer"] == "c"


def test_attribution_as_json(workbench) -> None:
    found = json.loads(workbench(*ASKED, *MODEL, "--head", "L1H2", "--json"))
    assert (found["logit_difference"], found["sum"], found["remainder"]) == (10, 10, 0)
    assert found["components"] == {"L1H2": 10}
    assert found["heads"] == [[0, 0, 0, 0], [0, 0, 10, 0]]
    assert found["accumulated"] == [0, 0, 10]
    assert found["position"] == 6
    (sources,) = found["inside"].values()
    assert sources["c (3)"] == 10
    alone = json.loads(workbench(*ASKED[:4], *MODEL, "--position", "5", "--json"))
    assert alone["position"] == 5
    assert alone["logit_difference"] == 0, "after the second a comes b"


def test_attribution_to_neurons(workbench, tiny_folder) -> None:
    command = ("attribution", "the an", "--answer", "a", "--wrong", "b", "--layer", 1, "--top", 3)
    found = json.loads(workbench(*command, "--model", tiny_folder("gpt2"), "--json"))
    (neurons,) = found["inside"].values()
    assert len(neurons) == 5
    assert sum(neurons.values()) == pytest.approx(found["components"]["L1 MLP"], abs=1e-4)
    assert abs(found["remainder"]) < 1e-4
    out = workbench(*command, "--model", tiny_folder("gpt2"))
    assert "L1 MLP, by neuron" in out


def test_weights_of_a_head(workbench, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    out = workbench("weights", "L1H2", *MODEL, "--html", page)
    assert "L1H2, induction-by-hand, raw: copying score +1.000" in out
    assert re.search(r"K earlier +│ L0H1 0\.192", out)
    assert "0.083 if turned at random" in out
    assert re.search(r"10 +│ \+ +│ a +│ a +│", out), "what it attends to is what it writes"
    check_page(page, "copying score", "K-composition of L1H2 with earlier heads")
    assert "with later heads" not in page.read_text(encoding="utf-8"), "there are none"


def test_weights_as_json(workbench, tiny_folder) -> None:
    found = json.loads(workbench("weights", "L1H2", *MODEL, "--json", "--tokens", 2))
    assert found["copying"] == pytest.approx(1)
    assert len(found["eigenvalues"]) == 64
    assert found["distance"] is None
    assert found["norms"]["OV"] == pytest.approx(10 * 27**0.5)
    assert found["partners"]["K earlier"] == [["L0H1", pytest.approx(27**-0.5)]]
    assert found["partners"]["V later"] == []
    assert found["directions"]["OV"][0]["left"][0] == found["directions"]["OV"][0]["right"][0][:1]
    command = ("weights", "L1H2", "--model", tiny_folder("llama"), "--distance", 3)
    assert json.loads(workbench(*command, "--json"))["distance"] == 3
    assert "QK, key 3 positions before" in workbench(*command)
    assert "QK, not rotated" in workbench(*command[:4])


def test_weights_of_all_heads(workbench, tmp_path: Path) -> None:
    out = workbench("weights", *MODEL, "--html", tmp_path / "page.html")
    assert "L1H2 +1.000" in out
    check_page(tmp_path / "page.html", "copying scores")
    found = json.loads(workbench("weights", *MODEL, "--json"))["copying"]
    assert found[1][2] == pytest.approx(1)
    assert found[0] == [None] * 4, "heads that reach no logits copy nothing"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([*ASKED[:2], "--answer", "a b", *MODEL], "'a b' is not a single token but 2"),
        ([*ASKED, "--position", "7", *MODEL], "--position 7 is outside the prompt, -7 to 6"),
        ([*ASKED, "--position", "-8", *MODEL], "--position -8 is outside the prompt"),
        ([*ASKED, "--head", "x", *MODEL], "head 'x' should read L5H1"),
        ([*ASKED, "--head", "L2H0", *MODEL], "head L2H0 is out of range: layers run from 0 to 1"),
        ([*ASKED, "--layer", "0", *MODEL], "has no MLPs; its blocks are attention only"),
        ([*ASKED, "--top", "0", *MODEL], "--top takes a whole number from 1"),
        (["attribution", "", "--answer", "c", *MODEL], "the prompt is empty"),
        (["weights", "L0H4", *MODEL], "head L0H4 is out of range: .* heads from 0 to 3"),
        (["weights", "zebra", *MODEL], "head 'zebra' should read L5H1"),
        (["weights", "--top", "0", *MODEL], "--top, --directions and --tokens take whole numbers"),
        (["weights", "--distance", "2", *MODEL], "--distance is of one head's QK circuit"),
        (["weights", "L0H1", "--distance", "2", *MODEL], "no rotary positions; leave --distance"),
        (["attribution", "a b", "--answer", "c", "--wrong", "c", *MODEL], "the same token as --"),
        (["weights", "L0H1", "--distance", "64", *MODEL], "distance 64 is outside the context"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments: list[str], told: str) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    (line,) = [line for line in err.splitlines() if line.strip()]
    assert line.startswith("workbench: ")
    assert re.search(told, line)
    assert out == ""
    assert kept() == []

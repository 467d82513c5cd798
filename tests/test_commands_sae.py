"""`workbench sae train` and `sweep`: what they leave; every mistake said before any work."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sae.saved import load_sae, save_sae
from workbench.__main__ import main

Command = Callable[..., str]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))


@pytest.fixture
def shared(tmp_path: Path, tiny_folder: Callable[[str], Path]) -> list[object]:
    """A tiny Llama, and a text of many short documents."""
    path = tmp_path / "text.jsonl"
    lines = [json.dumps({"text": f"number {i} is {i * 7 % 31} or so. " * 6}) for i in range(60)]
    path.write_text("\n".join(lines))
    return ["--model", tiny_folder("llama"), "--device", "cpu", "--corpus", path, "--n-ctx", 16]


SHORT = ["--width", 40, "--k", 4, "--steps", 6, "--batch", 64]


def test_a_transcoder(command: Command, shared: list[object], tmp_path: Path):
    ends = ["--site", "1.mlp_in", "--to", "1.mlp_out"]
    command("sae", "train", *shared, *SHORT, *ends, "--out", tmp_path / "with")
    command("sae", "train", *shared, *SHORT, *ends, "--no-skip", "--out", tmp_path / "without")
    made, without = (load_sae(tmp_path / name / "topk") for name in ("with", "without"))
    assert made.name == "the transcoder from 1.mlp_in to 1.mlp_out"
    assert made.skip is not None and bool(made.skip.any()) and without.skip is None


def test_a_crosscoder_of_what_nobody_keeps(command: Command, shared: list[object], tmp_path: Path):
    """--stream leaves nothing in the store, and resumes."""
    asked = ["sae", "train", *shared, *SHORT, "--site", "0-1.resid_post", "--stream"]
    command(*asked, "--out", tmp_path / "made")
    made = load_sae(tmp_path / "made" / "topk")
    assert [str(site) for site in made.reads] == ["0.resid_post", "1.resid_post"]
    assert not list((tmp_path / "home").rglob("harvests/*"))
    assert "trained already" in command(*asked, "--out", tmp_path / "made", "--resume")


def test_a_sweep_reads_what_was_asked(command: Command, shared: list[object], tmp_path: Path):
    site = ["--site", "1.resid_post", "--json", "--out", tmp_path / "made"]
    asked = ["sae", "sweep", *shared, *SHORT, *site, "--kind", "topk,jumprelu", "--resample", 2]
    told = json.loads(command(*asked))
    assert [Path(folder).name for folder in told["folders"]] == ["topk", "jumprelu"]
    assert {row["step"] for row in told["log"]} == {6}
    cards = [load_sae(folder).card["recipe"] for folder in told["folders"]]
    assert [card["resample"] for card in cards] == [2, 2]
    norms = load_sae(told["folders"][1]).W_dec.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(40))


def test_what_it_would_cost(command: Command, shared: list[object], tmp_path: Path):
    asked = ["sae", "train", *shared, *SHORT, "--site", "1.resid_post", "--dry-run"]
    costs = json.loads(command(*asked, "--json", "--stream"))
    n_tokens = json.loads(command("corpus", "info", shared[5], *shared[:4], *shared[6:], "--json"))
    assert costs["epochs"] == pytest.approx(6 * 64 / n_tokens["tokens"]) and costs["step"] > 0
    assert "times the corpus" in command(*asked)
    assert not (tmp_path / "home" / "saes").exists()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--batch", 99_999], "rows to train on, a batch is 99,999; give a longer text or"),
        (["--k", 41], "k 41 of 40 latents"),
        (["--site", "1.scores"], "1.scores has no one vector for each token"),
        (["--site", "1.q"], "1.q has no one vector for each token"),
        (["--site", "logits"], "logits has no one vector for each token"),
        (["--site", "9.resid_post"], "layers run from 0 to 2"),
        (["--site", "1.mlp_in,1.mlp_in"], "names a site twice"),
        (["--to", "1.resid_post"], "reads at one place and writes at another"),
        (["--to", "0-1.mlp_out"], "are 1 and 2"),
        (["--free"], "free decoder rows of kind topk"),
        (["--k", "4,5"], "--k 4,5 is more than one; sweep takes several"),
        (["--steps", "many"], "--steps takes a whole number, not 'many'"),
        (["--rate", 0], "rate 0.0"),
        (["--html", "a.html", "--contexts", 3], "`workbench sae train` takes no --"),
    ],
)
def test_mistakes_are_said_before_any_work(
    wrong: list[object],
    told: str,
    shared: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    asked = ["sae", "train", *shared, *SHORT, "--site", "1.resid_post", *wrong]
    assert main([str(one) for one in asked]) == 2
    assert told in capsys.readouterr().err
    assert not list((tmp_path / "home").rglob("harvests/*")), "nothing was harvested"


def test_a_stored_training_does_not_go_on_streamed(
    command: Command, shared: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A stream's scale is of a part of the text; so are its blocks."""
    asked = ["sae", "train", *shared, *SHORT, "--site", "1.resid_post", "--out", tmp_path / "made"]
    command(*asked)
    assert main([str(one) for one in [*asked, "--stream", "--resume"]]) == 2
    assert "of another training: scale" in capsys.readouterr().err


def _line(printed: str) -> str:
    """Titles are cut where the screen ends."""
    return " ".join(printed.split())


def test_what_trained_is_not_called_held_out(
    command: Command, shared: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Another cut of the text has other documents held out."""
    where = ["--site", "1.resid_post", "--out", tmp_path / "made"]
    command("sae", "train", *shared, *SHORT, *where)
    judged = ["sae", "evaluate", tmp_path / "made" / "topk", "--contexts", 2, "--no-rivals"]
    assert "(not what it was" not in _line(command(*judged))
    for action in (judged, ["sae", "features", tmp_path / "made" / "topk"]):
        assert main([str(one) for one in [*action, "--max-tokens", 3000]]) == 2
        assert "trained on another cut of" in capsys.readouterr().err
    told = json.loads(command(*judged, "--max-tokens", 3000, "--insist", "--json"))
    assert "may have trained it" in told["insisted"]
    other = tmp_path / "other.jsonl"
    other.write_text((tmp_path / "text.jsonl").read_text())
    assert "(not what it was" in _line(command(*judged, "--corpus", other))


def test_dictionaries_are_compared_where_they_can_be(
    command: Command, shared: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for layer, seed in ((0, 0), (1, 0), (1, 1)):
        where = ["--site", f"{layer}.resid_post", "--out", tmp_path / f"{layer}-{seed}"]
        command("sae", "train", *shared, *SHORT, *where, "--seed", seed)
    one, same, below = (tmp_path / name / "topk" for name in ("1-0", "1-1", "0-0"))
    asked = ["sae", "evaluate", one, "--against"]
    assert json.loads(command(*asked, same, "--json"))["same seed"] == []
    assert json.loads(command(*asked, one, "--json"))["same seed"] == [str(one)]
    assert main([str(word) for word in [*asked, below]]) == 2
    assert "is the SAE of 0.resid_post" in capsys.readouterr().err
    assert main([str(word) for word in [*asked, same, "--html", tmp_path / "a.html"]]) == 2
    assert "write no page" in capsys.readouterr().err


def test_a_dictionary_saved_from_python_says_where_it_reads(
    command: Command, shared: list[object], tmp_path: Path
):
    """Its card has no arguments of a command."""
    command("sae", "train", *shared, *SHORT, "--site", "1.resid_post", "--out", tmp_path / "made")
    made = load_sae(tmp_path / "made" / "topk")
    save_sae(replace(made, card={}), tmp_path / "own")
    asked = ["sae", "evaluate", tmp_path / "own", *shared, "--contexts", 2, "--no-rivals"]
    assert json.loads(command(*asked, "--json"))["l0"] <= 4

"""An SAE of another model: refused by every command, and marked in every output if insisted on."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.text import Text

from sae.saved import load_sae, save_sae
from workbench.__main__ import main

Command = Callable[..., str]


@pytest.fixture
def wrong(
    command: Command,
    tmp_path: Path,
    tiny_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Path, list[object]]:
    """A dictionary of a tiny Llama whose card says that it is of another, and that model."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    text = tmp_path / "text.jsonl"
    text.write_text("\n".join(json.dumps({"text": f"number {i} or so. " * 6}) for i in range(60)))
    model = ["--model", tiny_folder("llama"), "--device", "cpu", "--corpus", text, "--n-ctx", 16]
    short = ["--width", 40, "--k", 4, "--steps", 4, "--batch", 64, "--site", "1.resid_post"]
    command("sae", "train", *model, *short, "--out", tmp_path / "made")
    own = load_sae(tmp_path / "made" / "topk")
    assert own.model is not None
    other = {**own.model, "name": "another", "weights": "0", "rounded": "0"}
    save_sae(replace(own, model=other), tmp_path / "other")
    return tmp_path / "other", [tmp_path / "other", *model]


def test_it_is_refused(
    wrong: tuple[Path, list[object]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for action in (["evaluate"], ["features"], ["export", "--html", tmp_path / "page.html"]):
        asked = ["sae", action[0], *wrong[1], *action[1:]]
        assert main([str(one) for one in asked]) == 2
        assert "is of another model (another): field weights" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_every_output_says_that_it_was_insisted_on(
    command: Command, wrong: tuple[Path, list[object]], tmp_path: Path
):
    folder, asked = wrong
    before = sorted(path.name for path in folder.iterdir())
    page, pages = tmp_path / "page.html", tmp_path / "pages.html"
    quick = ["--insist", "--no-rivals", "--contexts", 2]
    told = [
        command("sae", "evaluate", *asked, *quick, "--html", page),
        command("sae", "features", *asked, "--insist", "--random", 2),
        command("sae", "export", *asked, "--insist", "--html", pages, "--first", 2),
        page.read_text(),
        pages.read_text(),
    ]
    for number, text in enumerate(told):
        plain = " ".join(Text.from_ansi(text).plain.split())
        assert "used in spite of this" in plain and "(another)" in plain, number
    for found in (
        json.loads(command("sae", "evaluate", *asked, *quick, "--json")),
        json.loads(command("sae", "features", *asked, "--insist", "--random", 2, "--json"))[0],
    ):
        assert "of another model (another)" in found["insisted"]
    assert sorted(path.name for path in folder.iterdir()) == before, "nothing of this model's in it"

"""`workbench runs`: every command and page is listed, reopened, compared, and made again."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.pages import forget, opened, sent
from workbench.__main__ import main
from workbench.commands import output
from workbench.runs import kept

MODEL = ("--model", "induction-by-hand", "--device", "cpu")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(output, "console", Console(width=250))
    monkeypatch.chdir(tmp_path)
    forget()
    yield tmp_path
    forget()


def listed(workbench) -> list[dict]:
    return json.loads(workbench("runs", "list", "--json"))


def made_again(folder: Path) -> str:
    """What the exported script prints, in a fresh interpreter with an empty home."""
    environment = {**os.environ, "WORKBENCH_HOME": str(folder.parent / "another home")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", folder / "reproduce.py"],
        cwd=folder.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_command_is_listed_and_made_again(workbench, own_home: Path) -> None:
    asked = ("attribution", "a b c a b", "--answer", "c", "--wrong", "d", *MODEL, "--json")
    first = workbench(*asked)
    (line,) = listed(workbench)
    assert line["kind"] == "attribution" and line["opened"] == {"command": [*asked]}
    out = workbench("runs", "list")
    assert "1 of 1 runs" in out and "workbench attribution 'a b c a b' --answer c" in out
    assert "workbench attribution 'a b c a b'" in workbench("runs", "open", line["name"])
    assert "arguments.answer" in workbench("runs", "show", line["name"])
    told = workbench("runs", "export", line["name"], "--to", own_home / "taken")
    names = ["environment.txt", "inputs/tokens.json", "record.json", "reproduce.py"]
    assert all(name in told for name in names)
    again = json.loads(made_again(own_home / "taken"))
    before = json.loads(first)
    assert {key: again[key] for key in ("logit_difference", "components", "heads")} == {
        key: before[key] for key in ("logit_difference", "components", "heads")
    }
    tokens = json.loads((own_home / "taken" / "inputs" / "tokens.json").read_text())
    assert tokens == line["tokens"] and len(tokens[0]) == 6, "BOS is among them"
    installed = (own_home / "taken" / "environment.txt").read_text().splitlines()
    assert "torch==2.13.0" in {line.partition("+")[0] for line in installed}


def test_what_a_command_read_goes_along(workbench, own_home: Path) -> None:
    prompts = own_home / "prompts.txt"
    prompts.write_text("a b c\nd e f\n")
    workbench("capture", prompts, "--sites", "0.resid_pre", *MODEL)
    workbench("runs", "export", "capture", "--to", own_home / "taken")
    prompts.unlink()
    assert (own_home / "taken" / "inputs" / "prompts.txt").read_text() == "a b c\nd e f\n"
    assert "2" in made_again(own_home / "taken")


def test_two_runs_are_compared(workbench) -> None:
    for answer in ("c", "b"):
        workbench("attribution", "a b c a b", "--answer", answer, *MODEL)
    second, first = (line["name"] for line in listed(workbench))
    apart = json.loads(workbench("runs", "compare", first, second, "--json"))
    assert apart["arguments.answer"] == ["c", "b"] and "model.name" not in apart
    assert "what differs" in workbench("runs", "compare", first, second)


def test_a_page_is_listed_reopened_and_made_again(workbench, own_home: Path) -> None:
    asked = {"prompt": "a b c a b", "head": "L1H2", "score": "entropy"}
    at = opened("Attention", **asked)
    (line,) = listed(workbench)
    assert line["opened"]["page"] == "Attention"
    address = {"model": ["induction-by-hand"], **{key: [value] for key, value in asked.items()}}
    assert line["opened"]["address"] == address
    told = workbench("runs", "open", line["name"], "--port", "1")
    assert "http://127.0.0.1:1/attention?" in told and "prompt=a+b+c+a+b" in told
    assert "workbench dashboard --port 1" in told
    workbench("runs", "export", line["name"], "--to", own_home / "taken")
    made = runpy.run_path(str(own_home / "taken" / "reproduce.py"))
    np.testing.assert_allclose(made["pattern"].reshape(6, 6), sent(at)[1]["pattern"], atol=1e-6)


def test_the_page_of_runs(workbench) -> None:
    at = opened("Runs")
    assert "No run is kept yet" in at.info[0].value
    opened("Attention", prompt="a b c a b")
    workbench("attribution", "a b c a b", "--answer", "c", *MODEL)
    at = opened("Runs")
    table = at.dataframe[0].value
    assert list(table["kind"]) == ["attribution", "attention"]
    assert str(table["question"][0]).startswith("workbench attribution 'a b c a b'")
    assert "2 of 2 runs" in at.caption[0].value
    assert list(opened("Runs", kind="attention").dataframe[0].value["kind"]) == ["attention"]
    assert list(opened("Runs", words="--answer c").dataframe[0].value["kind"]) == ["attribution"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show",), "runs show takes 1 name, 0 were given"),
        (("list", "x"), "runs list takes no names, 1 were given"),
        (("compare", "x"), "runs compare takes 2 names, 1 were given"),
        (("show", "x"), "no run is called 'x'"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments: tuple[str, ...], told: str) -> None:
    assert main(["runs", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_run_of_before_is_not_exported(capsys, own_home: Path) -> None:
    assert main(["attention", "a b c a b", *MODEL]) == 0
    ((path, _),) = kept()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"opened": {}}))
    capsys.readouterr()
    assert main(["runs", "export", path.stem]) == 2
    assert "left no script" in capsys.readouterr().err

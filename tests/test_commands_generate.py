"""`workbench generate`: the text as it comes, what was run, the record, and mistakes."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from workbench.__main__ import main
from workbench.commands import generate as command
from workbench.commands import output
from workbench.generation import Generation, generate
from workbench.models import Model
from workbench.models.by_hand import LETTERS
from workbench.runs import kept

MODEL = ("--model", "induction-by-hand", "--device", "cpu")
PROMPT = "q a b c d a"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test its own home, and a wide screen."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(output, "console", Console(width=300))


@pytest.fixture
def workbench(command: Callable[..., str]) -> Callable[..., str]:
    """Run `generate` on the model by hand; gives its output."""
    return lambda *arguments: command("generate", *arguments, *MODEL)


def test_the_text_the_note_and_the_record(workbench) -> None:
    text, note = workbench(PROMPT, "--max-tokens", 7, "--stop", "z").splitlines()
    assert text == " b c d a b c d"
    assert note.startswith(
        "induction-by-hand, raw, greedy: 7 tokens, new 7 (length); "
    ) and note.endswith(" tokens/s")
    ((_, record),) = kept()
    assert record.kind == "generate"
    assert [LETTERS.decode(row) for row in record.tokens] == [f"<bos> {PROMPT} b c d a b c d"]
    assert record.arguments["stop"] == ["z"] and record.arguments["max_tokens"] == 7


def test_json(workbench, by_hand: Model) -> None:
    found = json.loads(workbench(PROMPT, "--stop", "d", "--json"))
    assert found["samples"] == [
        {"text": " b c", "tokens": ["b", "c", "d"], "ids": [2, 3, 4], "stopped": "stop"}
    ]
    assert found["prompt"] == {"text": PROMPT, "tokens": ["<bos>", *PROMPT.split()]}
    assert found["fingerprint"] == by_hand.identity.fingerprint
    assert found["settings"]["stop"] == ["d"] and found["ablated"] == []


def test_without_the_induction_head(workbench) -> None:
    found = workbench(PROMPT, "--ablate", "L1H2", "--ablate", "0.1", "--max-tokens", 3)
    assert found.startswith(" <bos> <bos> <bos>\n")
    assert "raw, without L1H2, L0H1, greedy" in found


def test_samples_are_those_of_generate(workbench, by_hand: Model) -> None:
    drawn = ("--temperature", 3, "--top-k", 20, "--top-p", 0.9, "--seed", 4, "--n", 3)
    found = json.loads(workbench(PROMPT, *drawn, "--max-tokens", 9, "--json"))
    rows = generate(
        by_hand, [PROMPT] * 3, max_new_tokens=9, temperature=3.0, top_k=20, top_p=0.9, seed=4
    )
    assert [sample["ids"] for sample in found["samples"]] == [list(row.ids) for row in rows]
    text = workbench(PROMPT, *drawn, "--max-tokens", 9)
    expected = "".join(f"--- sample {i + 1}\n{row.text}\n" for i, row in enumerate(rows))
    assert text.startswith(expected)
    assert "temperature 3, top-k 20, top-p 0.9, seed 4" in text


def test_the_text_is_written_as_it_comes(lively_rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sample after the other, no half characters; what came meanwhile is caught up with."""
    written: list[str] = []
    monkeypatch.setattr(command, "_write", written.append)
    assert command._shown(iter(lively_rows)) == lively_rows[-1]
    assert written == ["--- sample 1\n", "t", "", "é", "\n", "--- sample 2\n", "tt", "t", "\n"]


@pytest.fixture
def lively_rows(tiny) -> list[tuple[Generation, ...]]:
    """Two samples, a token at a time: `té`, whose é is two tokens, and `ttt`."""
    model = tiny("gpt2")
    prompt = model.tokenize("caf")
    t, *e = model.tokenize("té", bos=False).ids
    steps = [
        ([t], None, [t], None),
        ([t, e[0]], None, [t, t], None),
        ([t, *e], "length", [t, t], None),
        ([t, *e], "length", [t, t, t], "context"),
    ]
    return [
        (
            Generation(prompt, tuple(first), why, model.vocabulary),
            Generation(prompt, tuple(second), reason, model.vocabulary),
        )
        for first, why, second, reason in steps
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([""], "prompt 0 is empty"),
        (["a", "--n", "0"], "--n takes a whole number from 1"),
        (["a", "--n", "2"], "samples without a temperature are all alike"),
        (["a", "--temperature", "-1", "--max-tokens", "0"], "max_new_tokens 0.*temperature -1.0"),
        (["a", "--top-p", "0.5"], "top_k and top_p need a temperature above 0"),
        (["a", "--ablate", "one"], "head 'one' should read L5H1"),
        (["a", "--ablate", "L7H0"], "layers run from 0 to 1"),
        (["a", "--stop", "a b"], "'a b' is not a single token"),
        (["a", "--chat"], "no chat template"),
    ],
)
def test_mistakes_in_one_line(arguments, told, capsys) -> None:
    assert main(["generate", *arguments, *MODEL]) == 2
    streams = capsys.readouterr()
    (line,) = [line for line in streams.err.splitlines() if line.startswith("workbench:")]
    assert re.search(told, line)
    assert not streams.out and not kept()

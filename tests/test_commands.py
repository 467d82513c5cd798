"""The command line: what it prints and leaves behind, and every mistake in one line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from workbench.__main__ import main
from workbench.cache import Store, capture
from workbench.commands import output
from workbench.errors import InputError
from workbench.models import load, loading
from workbench.registry import Outcome
from workbench.runs import kept
from workbench.sites import Head

MODEL = ("--model", "induction-by-hand", "--device", "cpu")
PROMPT = "a b c d a b"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test its own home, no network, and a wide screen."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(loading, "hub_answers", lambda: False)
    monkeypatch.setattr(output, "console", Console(width=200))
    return tmp_path / "home"


def prompts(tmp_path: Path, text: str = f"{PROMPT}\n\nb c\nc d\n") -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text(text)
    return path


def check_page(path: Path, *words: str) -> None:
    page = path.read_text(encoding="utf-8")
    assert "Plotly.newPlot(" in page
    assert not re.search(r"""src\s*=\s*["']http""", page)
    assert "<link" not in page
    for word in words:
        assert word in page


def test_attention(workbench, tmp_path: Path) -> None:
    out = workbench("attention", PROMPT, *MODEL, "--head", "L1H2")
    assert "induction" in out
    assert "L1H2 1.00" in out
    assert "computed in" in out
    again = workbench("attention", PROMPT, *MODEL, "--html", tmp_path / "page.html")
    assert "cached in" in again
    check_page(tmp_path / "page.html", "induction-by-hand", PROMPT)


def test_attention_as_json(workbench) -> None:
    found = json.loads(workbench("attention", PROMPT, *MODEL, "--head", "1.2", "--json"))
    assert found["tokens"] == ["<bos>", "a", "b", "c", "d", "a", "b"]
    assert found["top"]["induction"][0] == ["L1H2", 1.0]
    assert found["scores"]["previous token"][0][1] == 1.0
    assert found["head"] == "L1H2"
    assert found["pattern"][5][2] == 1.0, "from the second a to the first b"
    assert len(found["fingerprint"]) == 32


def test_attention_where_a_score_is_not_defined(workbench) -> None:
    """JSON knows no NaN, and no head leads what no token allows."""
    found = json.loads(workbench("attention", "a b c", *MODEL, "--json"))
    assert found["scores"]["induction"] == [[None] * 4] * 2
    assert found["top"]["induction"] == []


def test_attention_on_random_tokens(workbench, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    command = ("attention", "--random", 10, "--batch", 2, "--seed", 3, *MODEL)
    first, again = (json.loads(workbench(*command, "--json")) for _ in range(2))
    assert first == again
    assert len(first["tokens"]) == 21
    assert first["top"]["induction"][0] == ["L1H2", 1.0]
    workbench(*command, "--html", page, "--head", "L0H1")
    check_page(page, "2 x 21 tokens")


def test_attention_over_a_corpus(workbench, tmp_path: Path) -> None:
    text = tmp_path / "letters.txt"
    text.write_text(" ".join("abcdefgh" * 40))
    command = ("attention", "--corpus", text, "--n-ctx", 24, "--contexts", 5, *MODEL)
    out = workbench(*command, "--html", tmp_path / "page.html")
    assert "5 x 24 tokens" in out
    assert "L1H2 1.00 ± 0.00" in out
    check_page(tmp_path / "page.html", "induction score")
    found = json.loads(workbench(*command, "--json"))
    assert found["corpus"]["contexts"] == 5
    assert found["top"]["previous token"][0] == ["L0H1", 1.0]
    assert found["standard_errors"]["induction"][1][2] == 0.0
    (record, *_) = [record for _, record in kept() if record.kind == "attention over a corpus"]
    assert record.arguments["corpus"] == str(text)


def test_lens(workbench, tmp_path: Path) -> None:
    out = workbench("lens", PROMPT, *MODEL, "--token", "c", "--html", tmp_path / "page.html")
    assert "rank (p) of c" in out
    assert "L1" in out
    check_page(tmp_path / "page.html", PROMPT)


def test_lens_as_json(workbench) -> None:
    found = json.loads(workbench("lens", PROMPT, *MODEL, "--token", "c", "--json"))
    assert found["layers"] == ["embed", "L0", "L1"]
    assert found["top"][-1][-1][0] == "c", "what followed b before"
    assert found["traced"] == ["c"] * 7
    assert found["traced_rank"][-1][-1] == 0
    assert found["probability"][-1][-1][0] > 0.99
    assert found["kl"][-1] == [0.0] * 7


def test_capture(workbench, tmp_path: Path) -> None:
    command = ("capture", prompts(tmp_path), *MODEL, "--sites", "*.pattern, 0.resid_post")
    first, again = (json.loads(workbench(*command, "--json")) for _ in range(2))
    assert (first["prompts"], first["sites"], first["activations"]) == (3, 3, 9)
    assert (first["already stored"], again["already stored"]) == (0, 9)
    assert "already stored" in workbench(*command, "--batch", 1)
    ids = load("induction-by-hand", device="cpu").tokenize("b c").tensor()
    taken = capture(
        load("induction-by-hand", device="cpu"), ids, "*.pattern", Store(Path(first["store"]))
    )
    assert taken.whole


def test_cache(workbench, tmp_path: Path, capsys) -> None:
    workbench("capture", prompts(tmp_path), *MODEL)
    info = json.loads(workbench("cache", "info", "--json"))
    assert info["entries"] == 6
    rows = json.loads(workbench("cache", "list", "--json"))
    assert {row["site"] for row in rows} == {"0.resid_post", "1.resid_post"}
    assert "6 entries, the first 2 shown" in workbench("cache", "list", "--limit", 2)
    assert "6 of 6 entries are sound" in workbench("cache", "verify")
    path = next(Path(info["folder"]).rglob(rows[0]["file"]))
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["cache", "verify"]) == 1
    told = "".join(capsys.readouterr().out.split())
    assert path.name in told
    assert "5of6entriesaresound" in told
    assert json.loads(workbench("cache", "clear", "--yes", "--json"))["freed"] > 0
    assert json.loads(workbench("cache", "info", "--json"))["entries"] == 0


def test_models(workbench, tiny_folder) -> None:
    listed = json.loads(workbench("models", "list", "--json"))
    ready = {row["name"]: row["ready"] for row in listed}
    assert not ready.pop("smollm2-135m")
    assert {"induction-by-hand", "copier-by-hand", "counter-by-hand", "othello-6x6"} <= set(ready)
    assert all(ready.values())
    found = json.loads(workbench("models", "info", tiny_folder("llama"), "--json"))
    assert (found["n_heads"], found["n_kv_heads"], found["processing"]) == (6, 2, "raw")
    assert found["sites"]["pattern"]["long"] == "blocks.0.attn.hook_pattern"
    assert "fingerprint" in workbench("models", "info", "induction-by-hand")
    assert "nothing to fetch" in workbench("models", "pull", "induction-by-hand")


def test_selftest(workbench) -> None:
    assert "NO" not in workbench("selftest").split()
    found = json.loads(workbench("selftest", "--json"))
    assert len(found) >= 4
    assert all(outcome["holds"] for outcome in found.values())


def test_a_claim_that_fails_fails_the_selftest(monkeypatch, capsys) -> None:
    monkeypatch.setattr("workbench.claims.heads.INDUCTION", Head(0, 0))
    assert main(["selftest"]) == 1
    assert "NO" in capsys.readouterr().out


def test_science_rows_that_can_train_do_so_when_asked(monkeypatch, capsys) -> None:
    rows = {"trains": "tests.test_commands:trains", "does not": "tests.test_commands:stays"}
    monkeypatch.setattr("workbench.commands.selftest.listed", lambda sort: rows)
    asked = ["selftest", "--science", "--json"]
    for full in (False, True):
        assert main(asked + ["--full"] * full) == 0
        out, progress = capsys.readouterr()
        assert progress.splitlines() == ["1 of 2: trains", "2 of 2: does not"]
        told = json.loads(out)
        assert (told["trains"]["found"], told["does not"]["found"]) == (f"full {full}", "shipped")
    assert main(["selftest", "--full"]) == 2
    assert "give both" in capsys.readouterr().err


def trains(full: bool = False) -> Outcome:
    return Outcome("here", "", f"full {full}", True)


def stays() -> Outcome:
    return Outcome("here", "", "shipped", True)


def test_records_are_left(workbench, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    workbench("lens", PROMPT, *MODEL, "--html", page)
    workbench("attention", "--random", 3, "--batch", 2, *MODEL)
    workbench("capture", prompts(tmp_path), *MODEL)
    records = {record.kind: record for _, record in kept()}
    assert set(records) == {"lens", "attention", "capture"}
    assert records["lens"].files == [str(page)]
    assert records["lens"].tokens == [[0, 1, 2, 3, 4, 1, 2]]
    assert records["lens"].arguments["prompt"] == PROMPT
    assert records["lens"].model["name"] == "induction-by-hand"
    assert records["lens"].model["processing"] == "raw"
    assert [len(row) for row in records["attention"].tokens] == [7, 7]
    assert len(records["capture"].tokens) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["attention", PROMPT, "--model", "gpt3"], r"model 'gpt3' is not .*did you mean gpt2"),
        (["attention", PROMPT, "--model", "./nil"], r"no folder '\./nil'"),
        (["attention", PROMPT, "--model", "."], r"folder \. has no config\.json"),
        (["attention", PROMPT, *MODEL, "--dtype", "int8"], "dtype 'int8' is not one of"),
        (["attention", PROMPT, *MODEL, "--device", "tpu"], "device 'tpu' is not one of"),
        (["attention", PROMPT, *MODEL, "--processing", "x"], "processing 'x' is not one of"),
        (["attention", PROMPT, *MODEL, "--processing", "folded"], "no LayerNorm to fold"),
        (["attention", "", *MODEL], "the prompt is empty"),
        (["attention", "a " * 99, *MODEL], "has 100 tokens, the model's context holds 64"),
        (["attention", "a zebra", *MODEL], "'zebra' is not in this model's vocabulary"),
        (["attention", *MODEL], "give one of: a prompt, --random N"),
        (["attention", "a", "--corpus", "c.txt", *MODEL], "give one of: a prompt"),
        (["attention", "--corpus", "no.txt", *MODEL], "there is no file 'no.txt'"),
        (["attention", "--corpus", "no.txt", "--head", "L0H1", *MODEL], "are for a prompt"),
        (["attention", PROMPT, "--random", "3", *MODEL], "give one of: a prompt, --random N"),
        (["cache", "prune", "--to", "nan"], "--to nan is no size; give GiB from 0"),
        (["attention", "--random", "0", *MODEL], "take whole numbers from 1"),
        (["attention", "--random", "3", "--batch", "0", *MODEL], "take whole numbers from 1"),
        (["attention", PROMPT, *MODEL, "--head", "x"], r"head 'x' should read L5H1 or 5\.1"),
        (["attention", PROMPT, *MODEL, "--head", "L1H4"], "L1H4 is out of range"),
        (["attention", PROMPT, *MODEL, "--head", "L2H0"], "L2H0 is out of range"),
        (["attention", PROMPT, *MODEL, "--chat"], "no chat template"),
        (["attention", "<bos> a", *MODEL, "--bos", "on"], "already begins with BOS"),
        (["attention", PROMPT, *MODEL, "--store", "mine"], "holds files that are not a store's"),
        (["lens", "", *MODEL], "the prompt is empty"),
        (["lens", PROMPT, *MODEL, "--token", "a b"], "'a b' is not a single token but 2"),
        (["lens", PROMPT, *MODEL, "--token", "zebra"], "'zebra' is not in"),
        (["capture", "missing.txt", *MODEL], "cannot read missing.txt: No such file"),
        (["capture", ".", *MODEL], r"cannot read \.: Is a directory"),
        (["capture", "latin1.txt", *MODEL], r"latin1.txt is not UTF-8 \(byte 3\)"),
        (["capture", "empty.txt", *MODEL], "empty.txt holds no prompt"),
        (["capture", "long.txt", *MODEL], "has 100 tokens"),
        (["capture", "good.txt", *MODEL, "--sites", "*.resid_pots"], "did you mean .*resid_post"),
        (["capture", "good.txt", *MODEL, "--sites", "0.z,1.zz"], "unknown site 'zz'"),
        (["capture", "good.txt", *MODEL, "--batch", "0"], "--batch takes .* from 1"),
        (["capture", "good.txt", *MODEL, "--batch", "-1"], "--batch takes .* from 1"),
        (["lens", PROMPT, *MODEL, "--threads", "0"], "--threads takes .* from 1"),
        (["lens", PROMPT, *MODEL, "--threads", "-1"], "--threads takes .* from 1"),
        (["models", "info"], "`workbench models info` needs a name"),
        (["models", "info", "gpt3"], "model 'gpt3' is not built in"),
        (["models", "remove", "gpt2"], "'gpt2' is not a built-in model"),
        (["models", "remove", "smollm2-135m"], "is not installed"),
        (["cache", "list", "--store", "mine"], "holds files that are not a store's"),
        (["cache", "clear"], "would delete 0 entries of .*; say so with --yes"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, arguments, told: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    (tmp_path / "good.txt").write_text("a b")
    (tmp_path / "long.txt").write_text("a " * 99)
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin1.txt").write_bytes("caf\xe9".encode("latin-1"))
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    (line,) = [line for line in err.splitlines() if line.strip()]
    assert line.startswith("workbench: ")
    assert re.search(told, line)
    assert out == ""
    assert kept() == []


def test_a_page_that_cannot_be_written_is_one_line(capsys, tmp_path: Path) -> None:
    page = tmp_path / "no" / "where.html"
    for command in ("attention", "lens"):
        assert main([command, PROMPT, *MODEL, "--html", str(page)]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line == f"workbench: cannot write {page}: give a file in a folder that exists"


def test_a_damaged_entry_is_one_line(workbench, capsys, own_home: Path) -> None:
    workbench("attention", PROMPT, *MODEL)
    for path in (own_home / "store").rglob("*.safetensors"):
        path.write_bytes(b"x")
    assert main(["attention", PROMPT, *MODEL]) == 2
    assert "field file: not a whole safetensors file" in capsys.readouterr().err


def test_verbose_shows_where(capsys) -> None:
    with pytest.raises(InputError, match="the prompt is empty"):
        main(["-v", "lens", "", *MODEL])


def test_an_interrupt_is_told_shortly(monkeypatch, capsys) -> None:
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("workbench.models.loading.resolve_device", interrupt)
    assert main(["lens", PROMPT, *MODEL]) == 130
    assert capsys.readouterr().err.strip() == "workbench: interrupted"


@pytest.mark.parametrize("arguments", [["nonsense"], [], ["attention", "--nonsense"]])
def test_what_argparse_refuses(capsys, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_console_entry_starts() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "workbench", "--help"], capture_output=True, text=True, check=True
    )
    for name in ("attention", "lens", "capture", "models", "cache", "selftest"):
        assert name in told.stdout
    assert told.stderr == ""

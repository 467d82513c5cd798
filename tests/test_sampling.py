"""Text sampled from a model: the same after a stop, whole on disk, readable as a corpus."""

import json
from pathlib import Path

import pytest

from workbench.__main__ import main
from workbench.corpus import open_corpus
from workbench.errors import InputError
from workbench.models import Model
from workbench.sampling import FILLS, OPENINGS, Recipe, gathered, rows_of, sample

FEW = Recipe(tokens=150, batch=3, length=6)


@pytest.fixture
def writer(tiny) -> Model:
    return tiny("gpt2")


@pytest.fixture(autouse=True)
def short_openings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model's context holds 64 tokens, one for each letter."""
    monkeypatch.setitem(OPENINGS, "story", ("a {less}",))
    for sort in list(OPENINGS)[1:]:
        monkeypatch.setitem(OPENINGS, sort, ("the {less}\u2028\x85",))


def texts(folder: Path) -> list[str]:
    return [row["text"] for path in sorted(folder.glob("[0-9]*.jsonl")) for row in rows_of(path)]


def test_it_goes_on_to_the_same_texts(writer: Model, tmp_path: Path) -> None:
    whole = list(sample(writer, tmp_path / "whole", FEW))
    assert whole[-1].tokens >= 150 > whole[-2].tokens
    first = next(iter(sample(writer, tmp_path / "cut", FEW)))
    assert (first.batches, first.wanted) == (1, 150)
    list(sample(writer, tmp_path / "cut", FEW))
    assert texts(tmp_path / "cut") == texts(tmp_path / "whole")
    assert len(set(texts(tmp_path / "whole"))) > 1
    counted = sum(
        row["tokens"] for path in (tmp_path / "cut").glob("[0-9]*") for row in rows_of(path)
    )
    assert counted == whole[-1].tokens


def test_more_tokens_go_on_from_fewer(writer: Model, tmp_path: Path) -> None:
    list(sample(writer, tmp_path, FEW))
    before = texts(tmp_path)
    list(sample(writer, tmp_path, Recipe(tokens=300, batch=3, length=6)))
    assert texts(tmp_path)[: len(before)] == before


def test_another_recipe_or_model_is_refused(tiny, writer: Model, tmp_path: Path) -> None:
    list(sample(writer, tmp_path, FEW))
    with pytest.raises(InputError, match=r"begun otherwise: length 6 \(now 7\), seed 0 \(now 1\)"):
        next(sample(writer, tmp_path, Recipe(tokens=150, batch=3, length=7, seed=1)))
    with pytest.raises(InputError, match="begun otherwise: model"):
        next(sample(tiny("llama"), tmp_path, FEW))


def test_the_texts_are_a_corpus(writer: Model, tmp_path: Path) -> None:
    """Line ends of other sorts, which JSON may hold, split no text."""
    *_, last = sample(writer, tmp_path, FEW)
    n = gathered(tmp_path, last.batches, tmp_path / "sample.parquet")
    assert n == len(texts(tmp_path)) and any("\u2028" in text for text in texts(tmp_path))
    assert gathered(tmp_path, 1, tmp_path / "less.parquet") == 3, "as many as were asked for"
    corpus = open_corpus(tmp_path / "sample.parquet", writer, n_ctx=8)
    assert corpus.about["documents"] == n


def test_every_opening_can_be_filled() -> None:
    for openings in OPENINGS.values():
        for opening in openings:
            opening.format(**{name: values.split(", ")[0] for name, values in FILLS.items()})


def test_the_command(capsys, tiny_folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setattr("workbench.sampling.Recipe", lambda tokens: Recipe(tokens, 3, 6))
    model = ("--model", str(tiny_folder("gpt2")), "--device", "cpu")
    assert main(["corpus", "make", "mine", "--max-tokens", "60", *model, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["where"] == str(tmp_path / "corpora" / "mine.parquet")
    assert found["tokens"] >= 60
    for name in ("shakespeare", "../up"):
        assert main(["corpus", "make", name, *model]) == 2
        assert "is no name for a corpus to make" in capsys.readouterr().err

"""kill -9 and a full disk while dictionaries train; then go on, bit for bit."""

import errno
import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sae.checkpoint import STATE
from sae.recipe import Recipe
from sae.run import train_into
from sae.samples import Samples, samples
from sae.saved import WEIGHTS
from tests.faults.children import check_all_end, forked
from tests.harvests import made_of, planted, text
from workbench import load
from workbench.errors import InputError

RECIPES = [
    Recipe(kind, 96, 2, steps=40, batch=128, dead_after=512, resample=9)
    for kind in ("topk", "batchtopk")
]
NAMES = [recipe.kind for recipe in RECIPES]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    corpus = text(300, 13)
    found, _ = planted(corpus.n_tokens)
    shaped = found.view(*corpus.ids.shape, -1)
    return samples(made_of(tmp_path_factory.mktemp("harvest"), shaped, corpus, 100))


Train = Callable[..., None]


@pytest.fixture(scope="module")
def train(rows: Samples) -> Train:
    model = load("induction-by-hand")
    assert model.identity

    def act(folder: Path, told: Path | None = None) -> None:
        resume = (folder / STATE).exists()
        for done, _, _ in train_into(folder, rows, model, RECIPES, resume=resume):
            if told is not None:
                told.write_text(str(done))

    return act


@pytest.fixture(scope="module")
def uninterrupted(train: Train, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    check_all_end(forked(partial(train, folder)))
    return weights(folder)


def weights(folder: Path) -> list[bytes]:
    return [(folder / name / WEIGHTS).read_bytes() for name in NAMES]


def test_a_killed_training_goes_on(
    killed_round: int, train: Train, tmp_path: Path, uninterrupted: list[bytes]
):
    told, folder = tmp_path / "told", tmp_path / "training"
    drawn = random.Random(killed_round)
    for _ in range(2):  # the second while it goes on
        stop = drawn.randint(1, 40)
        (child,) = forked(partial(train, folder, told))
        while child.is_alive() and not (told.exists() and int(told.read_text() or 0) >= stop):
            child.join(0.0005)
        child.kill()
        child.join()
    check_all_end(forked(partial(train, folder)))
    assert weights(folder) == uninterrupted


@pytest.mark.parametrize("full", [1, 3, 7])
def test_a_full_disk_keeps_the_last_good_state(
    full: int,
    train: Train,
    tmp_path: Path,
    uninterrupted: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
):
    """At the first, the third and the seventh file that is put in place."""
    plain, seen = os.fsync, []

    def fsync(file: int) -> None:
        seen.append(file)
        if len(seen) >= full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(InputError, match="No space left on device"):
        train(tmp_path)
    monkeypatch.undo()
    assert len(seen) == full, "it stops at once"
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != STATE]
    assert not [path for path in left if path.stat().st_size], f"{left} are half written"
    train(tmp_path)
    assert weights(tmp_path) == uninterrupted

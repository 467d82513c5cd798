"""kill -9 at moments drawn by bytes written, then go on: nothing reported is lost."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.faults.children import (
    CONTEXTS,
    CUT,
    bytes_in,
    check_all_end,
    forked,
    places,
    tree,
    write,
)
from workbench.cache import Store, harvest
from workbench.cache.manifest import damage, shard_path
from workbench.corpus import from_ids


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one undisturbed process writes."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    check_all_end(forked(partial(write, folder)))
    return tree(folder)


def kill_at(act: Callable[[], object], folder: Path, n_bytes: int) -> None:
    """Kill a child doing `act` once `folder` holds so many bytes, if it has not ended before."""
    (child,) = forked(act)
    while child.is_alive():
        if bytes_in(folder) >= n_bytes:
            child.kill()
            child.join()
            return
        child.join(0.0002)
    assert child.exitcode == 0


def test_a_killed_harvest_goes_on(killed_round: int, tmp_path: Path, uninterrupted) -> None:
    drawn = random.Random(killed_round)
    total = sum(len(content) for content in uninterrupted.values())
    told, folder = tmp_path / "told", tmp_path / "store"
    for _ in range(3):  # the second and third while it goes on
        kill_at(partial(write, folder, told), folder, drawn.randrange(total))
        _check_what_is_there(folder, told, uninterrupted)
    check_all_end(forked(partial(write, folder)))
    assert tree(folder) == uninterrupted


def _check_what_is_there(folder: Path, told: Path, uninterrupted: dict[str, bytes]) -> None:
    """Every shard that was reported, and none but whole ones."""
    reported = [int(line) for line in told.read_text().split()] if told.exists() else [0]
    n_shards = -(-CONTEXTS // CUT) if CONTEXTS in reported else max(reported, default=0) // CUT
    for place, manifest in places(folder).items():
        for number in range(n_shards):
            assert shard_path(place, number).exists(), f"shard {number} was reported and is lost"
        assert damage(place) is None
        assert len(manifest.missing(place)) <= manifest.n_shards - n_shards
    for name, content in tree(folder).items():
        if name.endswith(".safetensors"):
            assert content == uninterrupted[name], "a shard that is there is whole"


def test_a_killed_harvest_of_a_model_goes_on(killed_round: int, tiny, tmp_path: Path) -> None:
    model = tiny("llama")
    assert model.identity
    drawn = random.Random(1000 + killed_round)
    text = from_ids("random", np.random.default_rng(0).integers(1, 260, (24, 12)))

    def take(folder: Path) -> None:
        store = Store(folder)
        harvest(model, text, ["0.resid_post", "1.mlp_post"], store, shard_contexts=4, batch=2)

    whole, folder = tmp_path / "whole", tmp_path / "store"
    check_all_end(forked(partial(take, whole)))
    expected = tree(whole)
    total = sum(len(content) for content in expected.values())
    kill_at(partial(take, folder), folder, drawn.randrange(total))
    store = Store(folder)
    assert store.verify() == []
    check_all_end(forked(partial(take, folder)))
    assert tree(folder) == expected
    assert store.verify() == []

"""Several ranks as `torchrun` starts them: one store, one training, the same result as by one."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sae.checkpoint import STATE
from sae.recipe import Recipe
from sae.run import train_into
from sae.samples import Samples, samples
from sae.saved import CARD, WEIGHTS
from tests.faults.children import check_all_end, forked, tree
from tests.harvests import made_of, planted, text
from workbench import load, ranks
from workbench.errors import InputError

# resampling and revival look at all rows of a batch, so that parts alone would go another way
RECIPES = [
    Recipe(kind, 96, 2, steps=30, batch=96, dead_after=384, resample=9, aux=aux)
    for kind, aux in (("topk", 1 / 32), ("batchtopk", 0.0))
] + [Recipe(kind, 96, steps=30, batch=96, penalty=0.05) for kind in ("jumprelu", "gated")]
NAMES = ("topk", "batchtopk", "jumprelu", "gated")


def together(n: int, act: Callable[[], object]) -> list:
    """`n` children that act as ranks of one machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return forked(*[partial(_as_rank, rank, n, port, act) for rank in range(n)])


def _as_rank(rank: int, n: int, port: int, act: Callable[[], object]) -> None:
    os.environ |= {
        **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(n)},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
    }
    act()


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

    def act(folder: Path, recipe: Recipe, told: Path | None = None) -> None:
        resume = (folder / STATE).exists()
        for done, _, _ in train_into(folder, rows, model, [recipe], resume=resume):
            if told is not None and ranks.rank() == 1:
                told.write_text(str(done))

    return act


def made(folder: Path, kind: str) -> tuple[Mapping[str, torch.Tensor], list[float]]:
    """Weights, and the loss curve of the card."""
    weights = load_file(folder / kind / WEIGHTS)
    log = json.loads((folder / kind / CARD).read_text())["log"]
    return weights, [sum(row["losses"].values()) for row in log]


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_ranks_train_as_one_process_does(n: int, recipe: Recipe, train: Train, tmp_path: Path):
    check_all_end(forked(partial(train, tmp_path / "one", recipe)))
    check_all_end(together(n, partial(train, tmp_path / "many", recipe)))
    alone, curve = made(tmp_path / "one", recipe.kind)
    shared, same_curve = made(tmp_path / "many", recipe.kind)
    assert len(curve) == recipe.steps and same_curve == pytest.approx(curve, rel=1e-4)
    for name, weight in alone.items():
        assert torch.allclose(weight, shared[name], atol=1e-3), name


def test_a_training_whose_rank_is_killed_goes_on(train: Train, tmp_path: Path):
    recipe = RECIPES[1]
    check_all_end(together(2, partial(train, tmp_path / "whole", recipe)))
    told, folder = tmp_path / "told", tmp_path / "killed"
    first, second = together(2, partial(train, folder, recipe, told))
    while not (told.exists() and int(told.read_text() or 0) >= 12) and second.is_alive():
        second.join(0.0005)
    second.kill()
    first.join(60)
    assert not first.is_alive() and first.exitcode, "the other rank ends, with an error"
    check_all_end(together(2, partial(train, folder, recipe)))
    wanted, _ = made(tmp_path / "whole", recipe.kind)
    found, _ = made(folder, recipe.kind)
    assert all(torch.equal(weight, found[name]) for name, weight in wanted.items())


def test_a_batch_that_cannot_be_dealt_out_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "2")
    assert ranks.share(9, "a batch") == slice(6, 9)
    with pytest.raises(InputError, match="a batch of 8 cannot be dealt out to 3 ranks"):
        ranks.share(8, "a batch")
    monkeypatch.setenv("RANK", "two")
    with pytest.raises(InputError, match="RANK is 'two'"):
        ranks.rank()


@pytest.mark.parametrize("n", [2, 3])
def test_ranks_harvest_the_bytes_that_one_process_does(n: int, tiny_folder, tmp_path: Path):
    """By the command, as a user starts it: told once, one store, not a byte different."""
    corpus = tmp_path / "text.txt"
    corpus.write_text("The quick brown fox jumps over the lazy dog. " * 40)
    stores = {1: tmp_path / "one", n: tmp_path / "many"}
    told = {}
    for count, store in stores.items():
        command = (
            *("workbench", "harvest", str(corpus), "--model", str(tiny_folder("llama"))),
            *("--sites", "*.resid_post", "--store", str(store), "--n-ctx", "16", "--batch", "2"),
            "--json",
        )
        started = ("-m", *command)
        if count > 1:
            launch = ("--standalone", f"--nproc-per-node={count}", "-m", *command)
            started = ("-m", "torch.distributed.run", *launch)
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", *started],
            env={**os.environ, "OMP_NUM_THREADS": "1", "WORKBENCH_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        told[count] = json.loads(ran.stdout)  # of one rank alone
    assert tree(stores[n]) == tree(stores[1])
    (manifest, *_) = stores[n].rglob("manifest.json")
    about = json.loads(manifest.read_text())["about"]
    assert (about["batch"], about["threads"], about["device"]) == (2, 1, "cpu")

"""One step of a dictionary's training beside others' trainers, on the same rows and weights.

A unit is the time of one product with the encoder, below which no dense encoder can go.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from benchmarks import sae_peers, sae_runs
from benchmarks.bench import Bench
from benchmarks.ratios import Row, check_equal, ratio
from benchmarks.sae_peers import PEERS, PENALTY, RATE, ROWS, K
from sae.recipe import Recipe
from sae.training import Training

OURS, HALF, PEER, UNIT = "workbench", "workbench, bfloat16", "SAELens", "one product"
TARGETS = {"topk": ">= 4", "batchtopk": ">= 5"}
PEER_TARGETS = {sae_peers.SPARSIFY: ">= 1.8", sae_peers.LEARNING: ""}


def rows(bench: Bench) -> list[Row]:
    """Every kind at 256 -> 4096; TopK and BatchTopK at 768 -> 12288; whole trainings."""
    if bench.quick:
        return [*_kind(bench, "topk", 64, 512), *sae_runs.rows(bench)]
    found = [row for kind in PEERS for row in _kind(bench, kind, 256, 4096)]
    found += [row for kind in TARGETS for row in _kind(bench, kind, 768, 12288)]
    return found + sae_runs.rows(bench)


def _kind(bench: Bench, kind: str, width: int, latents: int) -> list[Row]:
    recipe = Recipe(
        kind, latents, K, PENALTY, steps=10_000, batch=ROWS, rate=RATE, warmup=0, dead_after=10**9
    )
    batches = _Batches(width)
    ours = Training(recipe, torch.zeros(width), torch.device("cpu"))
    half = Training(replace(recipe, bfloat16=True), torch.zeros(width), torch.device("cpu"))
    peer = _peer(recipe, ours, width)
    case = f"{kind} SAE {width} -> {latents}, {ROWS} rows"
    there = sae_peers.installed() if kind == "topk" else {}
    others = {name: sae_peers.STEPS[name](ours.weights, K, RATE) for name in there}
    rows = batches()
    with torch.no_grad():
        first = {OURS: [torch.tensor(ours.slopes(rows).loss)]}
    first[PEER] = [peer._train_step(peer.sae, rows).loss.detach()]
    first |= {name: [torch.tensor(step(rows))] for name, step in others.items()}
    check_equal(case, first, PEER, 1e-4)  # before any step
    encoder = ours.weights["W_enc"]
    contestants: dict[str, Callable[[], object]] = {
        OURS: lambda: _step(ours, batches()),
        PEER: lambda: peer._train_step(peer.sae, batches()),
        UNIT: lambda: rows @ encoder.T,
        **({HALF: lambda: _step(half, batches())} if kind == "topk" else {}),
        **{there[name]: partial(_their_step, step, batches) for name, step in others.items()},
    }
    seconds = bench.race(contestants, rounds=min(bench.rounds, 7))
    target = TARGETS.get(kind, ">= 1")
    units = "<= 2" if kind == "topk" else ""
    found = [ratio(case, seconds, PEER, OURS, target), ratio(case, seconds, OURS, UNIT, units)]
    if kind == "topk":
        found += [
            ratio(case, seconds, there[name], us, PEER_TARGETS[name])
            if name in there
            else _absent(case, name, us)
            for name in sae_peers.STEPS
            for us in (OURS, HALF)
        ]
    return found


def _their_step(step: sae_peers.Step, batches: "_Batches") -> None:
    step(batches())


def _absent(case: str, name: str, us: str) -> Row:
    none = float("nan")
    told = f"not installed: {sae_peers.INSTALL[name]}"
    return Row(case, f"{name} / {us}", none, none, none, none, told)


class _Batches:
    """Sums of few directions, so that dictionaries have something to learn; drawn beforehand."""

    def __init__(self, width: int) -> None:
        draw = torch.Generator().manual_seed(0)
        unit = torch.randn(2 * width, width, generator=draw) / width**0.5
        active = torch.rand(4, ROWS, 2 * width, generator=draw) < 16 / width
        self._made = (active * torch.rand(active.shape, generator=draw)) @ unit
        self._made *= (1 / self._made.square().mean()).sqrt()
        self._next = 0

    def __call__(self) -> Float[Tensor, "row d"]:
        self._next = (self._next + 1) % len(self._made)
        return self._made[self._next]


def _step(training: Training, rows: Tensor) -> None:
    training.step(training.slopes(rows), len(rows))


def _peer(recipe: Recipe, ours: Training, width: int) -> SAETrainer[Any, Any]:
    made, config, own = PEERS[recipe.kind]
    if recipe.kind == "matryoshka":
        own = {**own, "matryoshka_widths": list(recipe.edges)}
    sae = made(config(d_in=width, d_sae=recipe.width, apply_b_dec_to_input=True, **own))
    names = {"b_enc": "b_mag"} if recipe.kind == "gated" else {}
    with torch.no_grad():
        for name, weight in ours.weights.items():
            value = weight.T if name == "W_enc" else weight
            getattr(sae, names.get(name, name)).copy_(value)
    trainer = SAETrainerConfig(
        total_training_samples=10_000 * ROWS, train_batch_size_samples=ROWS, lr=RATE, lr_end=RATE
    )
    return SAETrainer(trainer, sae, _nothing())


def _nothing() -> Iterator[Tensor]:
    yield from ()

"""Whole trainings beside SAELens' trainer: the same curve on the same stream of rows."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from sae_lens import (
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    GatedTrainingSAE,
    GatedTrainingSAEConfig,
    JumpReLUTrainingSAE,
    JumpReLUTrainingSAEConfig,
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
    StandardTrainingSAE,
    StandardTrainingSAEConfig,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
)
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from sae.recipe import KINDS, SPARSE, Recipe
from sae.training import Training
from tests.harvests import planted

D, WIDTH, K, BATCH, STEPS, EACH = 32, 96, 4, 256, 300, 25
WARMUP, DECAY, PENALTY = 20, 0.2, 0.2
CPU = torch.device("cpu")

PEERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig, {"k": K}),
    "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, {"k": K}),
    "matryoshka": (MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig, {"k": K}),
    "standard": (
        StandardTrainingSAE,
        StandardTrainingSAEConfig,
        {"l1_coefficient": PENALTY, "l1_warm_up_steps": WARMUP},
    ),
    "jumprelu": (
        JumpReLUTrainingSAE,
        JumpReLUTrainingSAEConfig,
        {
            "l0_coefficient": PENALTY,
            "l0_warm_up_steps": WARMUP,
            "jumprelu_bandwidth": 0.05,
            "jumprelu_sparsity_loss_mode": "step",
        },
    ),
    "gated": (
        GatedTrainingSAE,
        GatedTrainingSAEConfig,
        {"l1_coefficient": PENALTY, "l1_warm_up_steps": WARMUP},
    ),
}


def recipe_of(kind: str) -> Recipe:
    """Seed 0 is what the planted features are drawn with: those would be known beforehand."""
    return Recipe(kind, WIDTH, K, PENALTY, steps=STEPS, batch=BATCH, rate=3e-3, warmup=WARMUP,
                  decay=DECAY, dead_after=10**9, free=kind not in SPARSE, seed=1)  # fmt: skip


@pytest.fixture(scope="module")
def stream() -> tuple[Tensor, Tensor]:
    """Batches `[step, row, d]` of a mean square of 1 about their mean, and rows held out."""
    rows, _ = planted((STEPS + 8) * BATCH, p=0.05)
    rows = (rows - rows.mean(0)) / rows.std(0).square().mean().sqrt() + 0.3
    return rows[: STEPS * BATCH].view(STEPS, BATCH, D), rows[STEPS * BATCH :]


def curve(losses: list[float]) -> Tensor:
    return torch.tensor(losses).view(-1, EACH).mean(1)


def ours(recipe: Recipe, batches: Tensor) -> tuple[Training, Tensor]:
    training = Training(recipe, torch.zeros(D), CPU)
    losses = []
    for rows in batches:
        found = training.step(training.slopes(rows), len(rows))
        losses.append(float(found.losses["reconstruction"]))
    return training, curve(losses)


def theirs(recipe: Recipe, batches: Tensor, *, unit: bool = False) -> Tensor:
    """SAELens' trainer from the same weights, with the same rates.

    It leaves decoder rows free, or divides their length out; with `unit` they are kept at length
    1, as ours are.
    """
    made, config, own = PEERS[recipe.kind]
    if recipe.kind == "matryoshka":
        own = {**own, "matryoshka_widths": list(recipe.edges)}
    if recipe.kind in SPARSE:
        own = {**own, "rescale_acts_by_decoder_norm": not unit}
    sae = made(config(d_in=D, d_sae=WIDTH, apply_b_dec_to_input=True, **own))
    names = {"b_enc": "b_mag"} if recipe.kind == "gated" else {}
    with torch.no_grad():
        for name, weight in Training(recipe, torch.zeros(D), CPU).weights.items():
            value = weight.T if name == "W_enc" else weight
            getattr(sae, names.get(name, name)).copy_(value)
    if unit:
        sae.W_dec.register_hook(lambda g: g - (g * sae.W_dec).sum(1, keepdim=True) * sae.W_dec)
    settings = SAETrainerConfig(
        total_training_samples=STEPS * BATCH,
        train_batch_size_samples=BATCH,
        lr=recipe.rate,
        lr_end=recipe.rate,
        lr_warm_up_steps=WARMUP,
        lr_decay_steps=round(DECAY * STEPS),
        dead_feature_window=10**9,
    )
    trainer = SAETrainer(settings, sae, nothing())
    losses = []
    for rows in batches:
        out = trainer.step(rows)
        error = out.loss if recipe.kind == "matryoshka" else out.losses["mse_loss"]
        losses.append(float(error.detach()))  # of all nested ones; nothing is dead
        if unit:
            sae.W_dec.data /= sae.W_dec.data.norm(dim=1, keepdim=True)
    return curve(losses)


def nothing() -> Iterator[Tensor]:
    yield from ()


@pytest.mark.parametrize("kind", KINDS)
def test_the_curve_is_saelens(kind: str, stream: tuple[Tensor, Tensor]):
    """With one convention about decoder rows: theirs (free), or ours (length 1) put upon it."""
    recipe = recipe_of(kind)
    own, peer = ours(recipe, stream[0])[1], theirs(recipe, stream[0], unit=kind in SPARSE)
    assert float(own[-1]) < float(own[0]) / (1.5 if kind == "matryoshka" else 3)  # it does learn
    torch.testing.assert_close(own, peer, rtol=0.02 if kind == "jumprelu" else 3e-3, atol=0)


@pytest.mark.parametrize("kind", ["topk", "batchtopk"])
def test_unit_rows_end_where_rescaled_ones_do(kind: str, stream: tuple[Tensor, Tensor]):
    """SAELens as it is by default: rows of any length, which grow fast at the start."""
    recipe = recipe_of(kind)
    own, peer = ours(recipe, stream[0])[1], theirs(recipe, stream[0])
    half = len(own) // 2
    torch.testing.assert_close(own[half:], peer[half:], rtol=0.1, atol=0)


@pytest.mark.parametrize("seed", [1, 2])
def test_bfloat16_selection_ends_as_good(seed: int, stream: tuple[Tensor, Tensor]):
    batches, held_out = stream
    recipe = replace(recipe_of("topk"), width=256, k=8, decay=0.5, seed=seed)
    exact, _ = ours(recipe, batches)
    rounded, _ = ours(replace(recipe, bfloat16=True), batches)
    assert not torch.equal(exact.weights["W_dec"], rounded.weights["W_dec"])
    fvu = unexplained(exact, held_out)
    assert fvu < 0.15
    assert unexplained(rounded, held_out) == pytest.approx(fvu, abs=0.002)


def unexplained(training: Training, rows: Tensor) -> float:
    """FVU, latents chosen in float32."""
    exact = replace(training.recipe, bfloat16=False)
    training.recipe = exact
    error = training.slopes(rows).losses["reconstruction"]
    return float(error / (rows - rows.mean(0)).square().sum(1).mean())

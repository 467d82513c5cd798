"""The trainers that ours is raced with: SAELens' kinds, and a TopK step of two others.

sparsify and dictionary_learning are installed by hand, without what they depend on: the latter pins
an old nnsight.
"""

# pyright: reportMissingImports=false

import importlib
import io
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from typing import Any

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
from torch import Tensor

ROWS, K, PENALTY, RATE = 2048, 32, 0.5, 1e-3
PEERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig, {"k": K}),
    "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, {"k": K}),
    "matryoshka": (MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig, {"k": K}),
    "standard": (StandardTrainingSAE, StandardTrainingSAEConfig, {"l1_coefficient": PENALTY}),
    "jumprelu": (JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig, {"l0_coefficient": PENALTY}),
    "gated": (GatedTrainingSAE, GatedTrainingSAEConfig, {"l1_coefficient": PENALTY}),
}
SPARSIFY, LEARNING = "sparsify", "dictionary_learning"
INSTALL = {
    SPARSIFY: "pip install --no-deps eai-sparsify==1.3.3 natsort schedulefree",
    LEARNING: "pip install --no-deps dictionary-learning==0.1.0",
}
_PACKAGES = {SPARSIFY: "eai-sparsify", LEARNING: "dictionary-learning"}
_AUX = 1 / 32

Step = Callable[[Tensor], float]
"""One training step on rows; gives the mean squared error of a row before it."""


def installed() -> dict[str, str]:
    """Each peer that can be imported, with its version."""
    found = {}
    for name, package in _PACKAGES.items():
        try:
            found[name] = f"{name} {version(package)}"
            with redirect_stdout(io.StringIO()):  # sparsify says that it has no Triton
                importlib.import_module(name)
        except (PackageNotFoundError, ImportError):
            found.pop(name, None)
    return found


def sparsify(weights: Mapping[str, Tensor], k: int, rate: float) -> Step:
    """As in `Trainer.fit` of sparsify with `optimizer="adam"`: no Triton, one SAE, AuxK counted."""
    from sparsify import SparseCoder, SparseCoderConfig

    n, d = weights["W_enc"].shape
    sae = SparseCoder(d, SparseCoderConfig(num_latents=n, k=k))
    own = {"encoder.weight": "W_enc", "encoder.bias": "b_enc", "W_dec": "W_dec", "b_dec": "b_dec"}
    sae.load_state_dict({name: weights[other] for name, other in own.items()})
    adam = torch.optim.Adam(sae.parameters(), lr=rate)
    silent = torch.zeros(n, dtype=torch.long)

    def step(rows: Tensor) -> float:
        sae.set_decoder_norm_to_unit_norm()
        variance = (rows - rows.mean(0)).pow(2).sum()
        out = sae(rows, dead_mask=silent > 10_000_000, total_variance=variance)
        fired = torch.zeros(n, dtype=torch.bool)
        fired[out.latent_indices.flatten()] = True
        (out.fvu + _AUX * out.auxk_loss + out.multi_topk_fvu / 8).backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        adam.step()
        adam.zero_grad()
        silent.add_(len(rows))
        silent[fired] = 0
        return float(out.fvu.detach() * variance) / len(rows)

    return step


def dictionary_learning(weights: Mapping[str, Tensor], k: int, rate: float) -> Step:
    """`TopKTrainer.update`, at a step at which its threshold is kept, too."""
    from dictionary_learning.trainers.top_k import TopKTrainer

    n, d = weights["W_enc"].shape
    options: dict[str, Any] = {"layer": 0, "lm_name": "", "device": "cpu", "auxk_alpha": _AUX}
    trainer = TopKTrainer(10_000, d, n, k, lr=rate, warmup_steps=0, **options)
    with torch.no_grad():
        trainer.ae.encoder.weight.copy_(weights["W_enc"])
        trainer.ae.encoder.bias.copy_(weights["b_enc"])
        trainer.ae.decoder.weight.copy_(weights["W_dec"].T)
        trainer.ae.b_dec.copy_(weights["b_dec"])
    return lambda rows: trainer.update(5_000, rows)


STEPS: Mapping[str, Callable[[Mapping[str, Tensor], int, float], Step]] = {
    SPARSIFY: sparsify,
    LEARNING: dictionary_learning,
}

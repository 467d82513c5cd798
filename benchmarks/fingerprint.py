"""The digest of all weights, beside a plain SHA-256 and a copy in memory."""

import hashlib

import torch

from benchmarks.bench import Bench
from benchmarks.ratios import Row, rate, ratio
from workbench.models import weights_digest

OURS, SHA, COPY = "weights_digest", "SHA-256", "memory copy"


def rows(bench: Bench) -> list[Row]:
    """Each over what is the least it could cost."""
    named = list(bench.trees.ours.weights.named_parameters())
    size = sum(tensor.nbytes for _, tensor in named)
    copies = [torch.zeros_like(tensor) for _, tensor in named]

    def sha256() -> None:
        whole = hashlib.sha256()
        for _, tensor in named:
            whole.update(tensor.detach().view(torch.uint8).numpy().data)

    def copy() -> None:
        for kept, (_, tensor) in zip(copies, named, strict=True):
            kept.copy_(tensor.detach())

    seconds = bench.race({OURS: lambda: weights_digest(named), SHA: sha256, COPY: copy})
    case = f"{bench.name}: digest of {size / 1e6:,.0f} MB"
    return [
        rate(ratio(case, seconds, over, under), seconds, size / 1e9, "GB/s")
        for over, under in ((OURS, COPY), (SHA, OURS))
    ]

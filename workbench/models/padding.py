"""Prompts of different lengths as one batch: ids and the mask that says which are real."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from workbench.errors import InputError


@dataclass(frozen=True)
class Batch:
    """Token ids padded to one length; `mask` is True on the real ones."""

    ids: Int[Tensor, "batch pos"]
    mask: Bool[Tensor, "batch pos"]


def pad(
    rows: Sequence[Sequence[int]],
    *,
    side: Literal["left", "right"] = "right",
    device: torch.device | str = "cpu",
) -> Batch:
    """Rows of ids as one batch; what stands at a padded position (0) is never attended to."""
    if not rows or not all(rows):
        raise InputError("a batch needs at least one prompt, and each at least one token")
    if side not in ("left", "right"):
        raise InputError(f"padding side {side!r} is not one of left, right")
    length = max(len(row) for row in rows)
    ids = torch.zeros((len(rows), length), dtype=torch.long)
    mask = torch.zeros((len(rows), length), dtype=torch.bool)
    for number, row in enumerate(rows):
        where = slice(length - len(row), length) if side == "left" else slice(0, len(row))
        ids[number, where] = torch.tensor(row)
        mask[number, where] = True
    return Batch(ids.to(device), mask.to(device))


def check_mask(
    mask: Bool[Tensor, "batch all"], tokens: Int[Tensor, "batch pos"], before: int
) -> None:
    """Raise `InputError` unless `mask` marks one unbroken stretch of real tokens in each row.

    It covers the `before` positions already computed and those in `tokens`.
    """
    expected = (len(tokens), before + tokens.shape[1])
    if tuple(mask.shape) != expected:
        raise InputError(f"the mask has shape {tuple(mask.shape)}; these tokens need {expected}")
    if mask.dtype != torch.bool:
        raise InputError(f"the mask is {mask.dtype}; give torch.bool, such as mask != 0")
    edges = mask.int().diff(dim=1, prepend=torch.zeros_like(mask[:, :1], dtype=torch.int))
    wrong = ((edges == 1).sum(1) != 1).nonzero().flatten().tolist()
    if wrong:
        raise InputError(
            f"the mask of row {wrong[0]} is empty or has a gap; real tokens must stand together, "
            "with padding to their left or right"
        )


def positions_of(mask: Bool[Tensor, "batch all"]) -> Int[Tensor, "batch all"]:
    """Each real token's position in its own prompt; 0 at padding to the left."""
    return (mask.long().cumsum(dim=1) - 1).clamp_min(0)

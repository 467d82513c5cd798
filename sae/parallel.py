"""Data-parallel training: each rank takes its part of a batch, all take the same step.

What a batch gives is a mean over rows, so the mean over ranks of equal parts is what one process
gets from the whole batch, to rounding.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sae import kernels
from sae.kernels import Codes
from sae.slopes import Rows, Slopes
from workbench import ranks


def own_part(rows: Rows) -> Rows:
    """This rank's rows of a batch. Raises `InputError` where they cannot be dealt out evenly."""
    part = ranks.share(len(rows), "a batch")
    return Rows(rows.x[part], None if rows.y is None else rows.y[part])


def of_whole_batch(found: Slopes) -> Slopes:
    """What the whole batch gives, from what each rank's part gave."""
    if ranks.world() == 1:
        return found
    return replace(
        found,
        by_weight={name: ranks.averaged(value) for name, value in found.by_weight.items()},
        losses={name: ranks.averaged(value) for name, value in found.losses.items()},
        errors=ranks.gathered(found.errors),
        fired=ranks.added(found.fired.long()) > 0,
        l0=ranks.averaged(found.l0),
        smallest=ranks.least(found.smallest),
    )


def batch_top_k(pre: Float[Tensor, "row latent"], k: int, warm: float = 0.0) -> Codes:
    """`kernels.batch_top_k` over the rows of all ranks: this rank's part of what it keeps."""
    if ranks.world() == 1:
        return kernels.batch_top_k(pre, k, warm)
    n_kept = min(k * len(pre), pre.numel()) * ranks.world()
    found = kernels.above(pre, max(0.0, warm))
    every = ranks.gathered(found.values)
    if len(every) < n_kept and warm > 0:
        found = kernels.above(pre, 0.0)
        every = ranks.gathered(found.values)
    if len(every) <= n_kept:
        return found
    least = every.kthvalue(len(every) - n_kept + 1).values
    return found.where(torch.ge(found.values, least))

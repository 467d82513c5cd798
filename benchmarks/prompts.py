"""Random pairs of prompts to patch between."""

import torch
from jaxtyping import Int
from torch import Tensor

from benchmarks.small import VOCABULARY
from workbench.models import Model, from_ids
from workbench.tasks import Pair, Pairs

N_PAIRS = 4
ANSWER, WRONG = 3, 4


def prompts(length: int) -> tuple[Int[Tensor, "pair pos"], Int[Tensor, "pair pos"]]:
    """Clean and corrupted ones, which part at two thirds of their length, as IOI's do."""
    drawn, part = torch.Generator().manual_seed(0), length * 2 // 3
    clean = torch.randint(5, VOCABULARY, (N_PAIRS, length), generator=drawn)
    corrupted = clean.clone()
    corrupted[:, part] = clean[:, part] % (VOCABULARY - 1) + 1
    return clean, corrupted


def pairs_of(model: Model, length: int) -> Pairs:
    """The same, as tokens of `model`."""
    told = [
        [from_ids(model.vocabulary, ids, bos=False) for ids in side.tolist()]
        for side in prompts(length)
    ]
    rows = zip(*told, strict=True)
    return Pairs("random", tuple(Pair(one, other, (ANSWER,), (WRONG,)) for one, other in rows))

"""Whether another training finds the same latents."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from workbench.errors import InputError

_ROWS = 1024  # compared at a time
_APART = 2**31  # from the seeds that dictionaries begin with: chance must not be one's beginning


@dataclass(frozen=True, eq=False)
class Match:
    """How near the nearest rows of another dictionary are, and those of a random one its size.

    `cosines` has one for each row; `chance` is their mean with random directions instead.
    """

    cosines: Float[Tensor, " row"]
    chance: float

    @property
    def mean(self) -> float:
        """MMCS: the mean largest cosine similarity (Sharkey et al. 2022)."""
        return float(self.cosines.mean())

    @property
    def found_again(self) -> float:
        """The share of rows with another within a cosine of .9."""
        return float((self.cosines > 0.9).float().mean())


def match(rows: Float[Tensor, "row d"], others: Float[Tensor, "other e"], seed: int = 0) -> Match:
    """Look for each of `rows` among `others`; they need not be of length 1.

    It is not symmetric: a dictionary is found whole in one that has more besides. Raises
    `InputError` for other widths.
    """
    if rows.shape[1] != others.shape[1]:
        raise InputError(
            f"these dictionaries are of {rows.shape[1]} and {others.shape[1]} dimensions; give "
            "two of the same site"
        )
    draw = torch.Generator().manual_seed(_APART + seed)
    random = torch.randn(others.shape, generator=draw).to(others)
    return Match(nearest(rows, others), float(nearest(rows, random).mean()))


def nearest(
    rows: Float[Tensor, "row d"], others: Float[Tensor, "other d"]
) -> Float[Tensor, " row"]:
    """The largest cosine of each row with any of `others`."""
    units = normalize(others, dim=1).T
    return torch.cat([(normalize(some, dim=1) @ units).amax(1) for some in rows.split(_ROWS)])

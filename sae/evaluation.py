"""How well rows are reconstructed, and how much each latent is used."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae.dictionary import SAE
from sae.slopes import Rows

Reconstruct = Callable[[Float[Tensor, "row d_in"]], Float[Tensor, "row d"]]
"""What was read -> what stands in for what the model has where a dictionary writes."""
DENSE = 0.1  # of rows: a latent that is active in more is called dense


@dataclass(frozen=True)
class Fit:
    """What is left of rows after a reconstruction.

    `fvu` is the squared error as a share of the variance: the squared distance from the rows' own
    mean (Gao et al. 2024). `cosine` is the mean cosine of what is made and what was there;
    `shrinkage` is by how much what is made should be scaled, about that mean, to fit best: 1
    where it is neither too small nor too large.
    """

    n: int
    fvu: float
    cosine: float
    shrinkage: float

    @property
    def explained(self) -> float:
        return 1 - self.fvu


@dataclass(frozen=True, eq=False)
class Use:
    """How often each latent was active among `n` rows, and the mean number active in a row."""

    n: int
    counts: Int[Tensor, " latent"]

    @property
    def l0(self) -> float:
        return float(self.counts.sum()) / self.n

    @property
    def density(self) -> Float[Tensor, " latent"]:
        return self.counts / self.n

    @property
    def dead(self) -> float:
        """The share of latents that were never active."""
        return float((self.counts == 0).float().mean())

    @property
    def dense(self) -> float:
        """The share of latents that were active in more than a tenth of the rows."""
        return float((self.density > DENSE).float().mean())


def fit(batches: Iterable[Rows], mean: Float[Tensor, " d"], made: Reconstruct) -> Fit:
    """How well `made` gives the rows that are wanted, whose mean is `mean`."""
    n, error, spread, cosine, along, length = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for rows in batches:
        out, wanted = made(rows.x), rows.wanted
        there, here = (wanted - mean).double(), (out - mean).double()
        n += len(rows)
        error += float((here - there).square().sum())
        spread += float(there.square().sum())
        cosine += float(torch.cosine_similarity(wanted.double(), out.double(), dim=1).sum())
        along += float((here * there).sum())
        length += float(here.square().sum())
    return Fit(n, error / spread, cosine / n, along / length if length else float("nan"))


def use(sae: SAE, batches: Iterable[Float[Tensor, "_ d"]]) -> Use:
    """How often each latent of a dictionary is active."""
    n, counts = 0, torch.zeros(sae.n_latents, dtype=torch.long)
    for x in batches:
        n += len(x)
        counts += torch.bincount(sae.codes(x).latents, minlength=sae.n_latents)
    return Use(n, counts)

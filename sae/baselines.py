"""What a dictionary has to beat: principal components, random directions, its own beginning."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sae import kernels
from sae.evaluation import Reconstruct
from sae.recipe import Recipe
from sae.training import started

_ROWS = 512  # whose small systems are solved at a time


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of rows, the largest first, as unit rows, and the rows' mean."""

    mean: Float[Tensor, " d"]
    directions: Float[Tensor, "component d"]

    def first(self, k: int) -> Reconstruct:
        """By the `k` components with the most variance, the same for all rows."""
        return lambda x: self._made(x, lambda found: found[:, :k], self.directions[:k])

    def largest(self, k: int) -> Reconstruct:
        """By the `k` components that are largest in each row: as free to choose as a TopK."""
        return lambda x: self._made(x, lambda found: _kept(found, k), self.directions)

    def _made(self, x: Tensor, choose, directions: Tensor) -> Tensor:
        return choose((x - self.mean) @ self.directions.T) @ directions + self.mean


def components(batches: Iterable[Float[Tensor, "_ d"]]) -> Components:
    """Of all rows of `batches`."""
    n, total, squares = 0, torch.zeros(()), torch.zeros(())
    for x in batches:
        exact = x.double()
        n, total, squares = n + len(x), total + exact.sum(0), squares + exact.T @ exact
    mean = total / n
    values, vectors = torch.linalg.eigh(squares / n - torch.outer(mean, mean))
    order = values.argsort(descending=True)
    return Components(mean.float(), vectors.T[order].float().contiguous())


def untrained(recipe: Recipe, mean: Float[Tensor, " d"]) -> Reconstruct:
    """The dictionary before its first step: random rows, the encoder their transpose."""
    weights = started(recipe, mean)

    def made(x: Tensor) -> Tensor:
        codes = kernels.top_k((x - mean) @ weights["W_enc"].T, recipe.k)
        return kernels.decode(codes, weights["W_dec"]) + mean

    return made


def random_dictionary(recipe: Recipe, mean: Float[Tensor, " d"]) -> Reconstruct:
    """The same random rows, chosen in the same way, each row's values solved to fit best."""
    rows = started(recipe, mean)["W_dec"]

    def made(x: Tensor) -> Tensor:
        parts = []
        for some in (x - mean).split(_ROWS):
            chosen = rows[(some @ rows.T).topk(recipe.k, sorted=False).indices]
            gram = chosen @ chosen.mT
            values = torch.linalg.solve(gram, (chosen @ some[:, :, None]))
            parts.append((values.mT @ chosen)[:, 0])
        return torch.cat(parts) + mean

    return made


def _kept(found: Float[Tensor, "row component"], k: int) -> Float[Tensor, "row component"]:
    places = found.abs().topk(min(k, found.shape[1]), sorted=False).indices
    return torch.zeros_like(found).scatter(1, places, found.gather(1, places))

"""What a dictionary has to beat: principal components, random directions, its own beginning."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sae.dictionary import SAE
from sae.evaluation import Reconstruct
from sae.recipe import Recipe
from sae.slopes import Rows
from sae.training import started
from workbench.sites import Site

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


def linear(batches: Iterable[Rows]) -> Reconstruct:
    """The linear map, with a bias, that makes the wanted rows best: what a skip alone could do."""
    n, x_sum, y_sum = 0, torch.zeros(()), torch.zeros(())
    xx, xy = torch.zeros(()), torch.zeros(())
    for rows in batches:
        x, y = rows.x.double(), rows.wanted.double()
        n, x_sum, y_sum = n + len(rows), x_sum + x.sum(0), y_sum + y.sum(0)
        xx, xy = xx + x.T @ x, xy + x.T @ y
    x_mean, y_mean = x_sum / n, y_sum / n
    within = xx / n - torch.outer(x_mean, x_mean)
    across = xy / n - torch.outer(x_mean, y_mean)
    weight = torch.linalg.lstsq(within, across, driver="gelsd").solution
    bias = (y_mean - x_mean @ weight).float()
    return lambda rows: torch.addmm(bias, rows, weight.float())


def untrained(recipe: Recipe, site: Site, mean: Float[Tensor, " d"]) -> SAE:
    """The dictionary before its first step: random rows, the encoder their transpose."""
    weights = started(recipe, mean)
    b_dec = weights["b_dec"]
    return SAE(
        site=site,
        kind="topk",
        W_enc=weights["W_enc"],
        b_enc=weights["b_enc"],
        W_dec=weights["W_dec"],
        b_dec=b_dec,
        b_in=b_dec,
        k=recipe.k,
        threshold=None,
    )


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

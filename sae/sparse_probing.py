"""What a handful of latents tell of labels, by logistic regression on those few alone.

SAEBench's definition (Karvonen et al. 2025, arXiv:2503.09532; first Gurnee et al. 2023,
arXiv:2305.01610): the k latents whose mean activations differ most between rows that have a
property and rows that lack it, chosen on the training rows; accuracy on others, of which half
have it. Chance is a half.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae import kernels
from sae.kernels import Codes
from workbench.errors import InputError

KS = (1, 2, 5)
_MOST = 2_000  # rows that have a property, to fit on; a quarter as many to test on
_LEAST = 20
_STEPS, _CLOSE = 100, 1e-9


@dataclass(frozen=True, eq=False)
class Questions:
    """Properties of rows to fit on and of rows to test on."""

    train: Bool[Tensor, "row property"]
    tested: Bool[Tensor, "other property"]

    def shuffled(self, seed: int) -> "Questions":
        """The same answers, each property's to other rows."""
        draw = torch.Generator().manual_seed(seed)
        return Questions(*(_permuted(part, draw) for part in (self.train, self.tested)))


def _permuted(part: Tensor, draw: torch.Generator) -> Tensor:
    return part.gather(0, torch.rand(part.shape, generator=draw).argsort(0))


def sparse_probes(
    train: Codes, tested: Codes, asked: Questions, seed: int = 0
) -> dict[int, Float[Tensor, " property"]]:
    """The accuracy on each property by 1, 2 and 5 latents.

    Raises `InputError` for a property that fewer than 20 rows have or lack on either side.
    """
    _check(asked)
    held = asked.train.float()
    sums = kernels.gathered(train, train.values, held)
    rest = kernels.summed(train, train.values)[:, None] - sums
    apart = sums / held.sum(0) - rest / (1 - held).sum(0)
    order = apart.abs().argsort(0, descending=True)[: max(KS)]
    found: dict[int, list[float]] = {k: [] for k in KS}
    for number, chosen in enumerate(order.T):
        here, there = (_columns(codes, chosen) for codes in (train, tested))
        for k in KS:
            found[k].append(_accuracy(here[:, :k], there[:, :k], asked, number, seed))
    return {k: torch.tensor(values) for k, values in found.items()}


def dense_probes(
    train: Float[Tensor, "row d"], tested: Float[Tensor, "other d"], asked: Questions, seed: int = 0
) -> Float[Tensor, " property"]:
    """The same from all numbers of a row. Raises as `sparse_probes`."""
    _check(asked)
    n = asked.train.shape[1]
    return torch.tensor([_accuracy(train, tested, asked, number, seed) for number in range(n)])


def logistic(x: Float[Tensor, "row d"], y: Bool[Tensor, " row"]) -> Float[Tensor, " d_and_one"]:
    """Weights, and the bias last, of scikit-learn's penalty with C = 1; by Newton's method."""
    rows = torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.double)], 1)
    truth = y.double()
    penalty = torch.ones(rows.shape[1], dtype=torch.double)
    penalty[-1] = 0
    theta = torch.zeros_like(penalty)

    def loss(theta: Tensor) -> Tensor:
        scores = rows @ theta
        told = torch.nn.functional.softplus(scores).sum() - truth @ scores
        return told + (penalty * theta.square()).sum() / 2

    for _ in range(_STEPS):
        share = (rows @ theta).sigmoid()
        slope = rows.T @ (share - truth) + penalty * theta
        curve = (rows * (share * (1 - share))[:, None]).T @ rows
        curve.diagonal().add_(penalty + 1e-12)
        step = torch.linalg.solve(curve, slope)
        gain, size, now = float(slope @ step), 1.0, loss(theta)
        if gain < _CLOSE * len(x):
            break
        while size > 1e-9 and loss(theta - size * step) > now - size * gain / 4:
            size /= 2
        theta = theta - size * step
    return theta


def _check(asked: Questions) -> None:
    for told, part in (("train", asked.train), ("test", asked.tested)):
        fewest = int(torch.minimum(part.sum(0), (~part).sum(0)).min())
        if fewest < _LEAST:
            raise InputError(
                f"a property is had or lacked by {fewest} rows to {told} on; leave out those with "
                f"fewer than {_LEAST}"
            )


def _accuracy(train: Tensor, tested: Tensor, asked: Questions, number: int, seed: int) -> float:
    draw = torch.Generator().manual_seed(seed)
    here, there = asked.train[:, number], asked.tested[:, number]
    some, others = _balanced(here, _MOST, draw), _balanced(there, _MOST // 4, draw)
    theta = logistic(train[some], here[some])
    said = tested[others].double() @ theta[:-1] + theta[-1] > 0
    return float((said == there[others]).float().mean())


def _balanced(
    held: Bool[Tensor, " row"], most: int, draw: torch.Generator
) -> Int[Tensor, " chosen"]:
    """As many rows that have it as rows that do not."""
    sides = [side.nonzero()[:, 0] for side in (held, ~held)]
    n = min(most, *(len(side) for side in sides))
    return torch.cat([side[torch.randperm(len(side), generator=draw)[:n]] for side in sides])


def _columns(codes: Codes, latents: Int[Tensor, " k"]) -> Float[Tensor, "row k"]:
    """What a few latents say of every row."""
    place = torch.full((codes.n_latents,), -1)
    place[latents] = torch.arange(len(latents))
    kept = codes.where(place[codes.latents] >= 0)
    made = codes.values.new_zeros(codes.n_rows, len(latents))
    return made.index_put((kept.rows, place[kept.latents]), kept.values)

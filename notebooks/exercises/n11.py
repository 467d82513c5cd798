"""The exercises of notebook 11: a loss, two costs, dimensionality, angles."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from notebooks.check import Hint, exercise, like, tried
from workbench.labs.superposition import cost_of_a_pair, cost_of_ignoring, dimensionality, polygon

Weight = Float[Tensor, "m n"]


@exercise("11.loss")
def weighted_loss(answer: Callable[..., Float[Tensor, ""]]) -> None:
    """The mean over examples of the weighted sum over features."""
    for seed, (m, n, batch) in enumerate(((2, 5, 7), (1, 2, 4), (3, 4, 9))):
        generator = torch.Generator().manual_seed(seed)
        weight, x = (
            torch.randn(m, n, generator=generator),
            torch.rand(batch, n, generator=generator),
        )
        bias = 0.3 * torch.randn(n, generator=generator)
        importance = 0.7 ** torch.arange(n)
        given = [one.clone() for one in (weight, bias, x, importance)]
        found = tried(answer, *given, told=f"W [{m}, {n}], b, x [{batch}, {n}], importance")
        before = x @ weight.mT @ weight + bias
        squares = (before.relu() - x).square()
        wanted = (squares * importance).sum(-1).mean()
        if isinstance(found, Tensor) and found.shape == (batch,):
            raise Hint("that is one loss for each example; take their mean")
        if isinstance(found, Tensor) and found.shape == (n,):
            raise Hint("that is one loss for each feature; take their sum")
        for other, hint in (
            (squares.sum(-1).mean(), "every feature counts alike there; weight by importance"),
            ((squares * importance).mean(), "that is a mean over features too; sum over them"),
            ((squares * importance).sum(), "that is a sum over examples too; take their mean"),
            (
                ((before - x).square() * importance).sum(-1).mean(),
                "negative outputs are still there; is the ReLU missing?",
            ),
            (
                (((before - bias).relu() - x).square() * importance).sum(-1).mean(),
                "the bias is missing inside the ReLU",
            ),
            (
                (squares * importance.square()).sum(-1).mean(),
                "the importance is squared along with the error; it weighs the squared error",
            ),
        ):
            if _near(found, other) and not _near(found, wanted):
                raise Hint(hint)
        like(found, wanted, "your loss")


@exercise("11.costs")
def costs(answer: Callable[[float, float], tuple[float, float]]) -> None:
    """Two numbers, at several densities and importances."""
    for p, r in ((0.3, 0.9), (1.0, 0.5), (0.05, 1.0), (0.6, 0.2)):
        found = tried(answer, p, r, told=f"p = {p:g}, r = {r:g}")
        try:
            drop, pair = (float(one) for one in found)
        except (TypeError, ValueError):
            raise Hint("two numbers are asked for: the cost of dropping, and of a pair") from None
        variance, both = float(cost_of_ignoring(p)), p * p / 6
        wanted = r * variance, float(cost_of_a_pair(p, r))
        if _near(drop, wanted[1]) and _near(pair, wanted[0]):
            raise Hint("your two costs are right, but in the other order: (drop, pair)")
        _refuse(
            drop,
            wanted[0],
            (
                (variance, "dropping a feature costs what that feature is worth: where is r?"),
                (r * p / 3, "you left out what the bias does: the best constant is the mean"),
                (r * (1 / 3 - 1 / 4), "that is the variance of a feature that is always present"),
                (r * p / 12, "absence adds to the variance; use E[x^2] - E[x]^2 over all cases"),
                (variance * (1 + r), "only one of the two features is lost"),
            ),
        )
        _refuse(
            pair,
            wanted[1],
            (
                (both, "both features are hurt where both are present; you count one"),
                (2 * both, "the second feature counts r times as much as the first"),
                (p * (1 + r) / 6, "the pair only fails where both are present; how often is that?"),
                (p * p * (1 + r) / 3, "E[min^2] is smaller than E[x^2]"),
                (p * p * r / 6, "both features are hurt where both are present; you count one"),
            ),
        )
        like(drop, wanted[0], f"the cost of dropping at p = {p:g}, r = {r:g}")
        like(pair, wanted[1], f"the cost of a pair at p = {p:g}, r = {r:g}")


def _refuse(found: float, wanted: float, others: tuple[tuple[float, str], ...]) -> None:
    for other, hint in others:
        if _near(found, other) and not _near(found, wanted):
            raise Hint(hint)


@exercise("11.dimensionality")
def feature_dimensionality(answer: Callable[[Weight], Float[Tensor, " n"]]) -> None:
    """Columns are features; one without a direction has none."""
    for seed, (m, n) in enumerate(((2, 5), (3, 3), (4, 9))):
        weight = torch.randn(m, n, generator=torch.Generator().manual_seed(seed))
        found = tried(answer, weight.clone(), told=f"W [{m}, {n}]")
        if isinstance(found, Tensor) and found.shape == (m,) and m != n:
            raise Hint("one number for each row; features are the columns of W")
        _look(found, weight)
        like(found, dimensionality(weight).tolist(), "your dimensionalities")
    dropped = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.0, 0.5]])
    found = tried(answer, dropped, told="W with a column of zeros")
    if not bool(torch.as_tensor(found).isfinite().all()):
        raise Hint("a feature that was dropped (a column of zeros) gives nan; its share is 0")
    like(found, dimensionality(dropped).tolist(), "your dimensionalities with a column of zeros")


def _look(found: Any, weight: Weight) -> None:
    """Hints for the usual ways to go wrong."""
    wanted = dimensionality(weight)
    products = weight.mT @ weight
    own = products.diagonal()
    unit = weight / weight.norm(dim=0)
    overlaps = (unit.mT @ weight).square()  # of i's direction with W_j
    angles = (unit.mT @ unit).square()
    for other, hint in (
        (own / (overlaps.sum(1) - own), "the sum runs over all j, the feature itself included"),
        (
            1 / angles.sum(1),
            "the unit vector is that of feature i, W_j keeps its length, and the sum runs over j",
        ),
        (own / products.square().sum(1), "feature i's own vector in the sum must have length 1"),
        (own.sqrt() / overlaps.sum(1), "the norm above the line is squared"),
        (own / (unit.mT @ weight).sum(1), "the products below the line are squared one by one"),
        (own / (unit.mT @ weight).abs().sum(1), "the products below the line are squared"),
        (dimensionality(weight.mT), "rows and columns are exchanged; features are columns"),
    ):
        if _near(found, other) and not _near(found, wanted):
            raise Hint(hint)


@exercise("11.angles")
def gaps(answer: Callable[[Float[Tensor, "2 vector"]], Float[Tensor, " vector"]]) -> None:
    """As many gaps as vectors, and once around; the order is free."""
    for seed, many in ((0, 5), (1, 3), (2, 8), (3, 2)):
        vectors = torch.randn(2, many, generator=torch.Generator().manual_seed(seed))
        found = tried(answer, vectors.clone(), told=f"vectors [2, {many}]")
        try:
            mine = torch.as_tensor(found).flatten()
        except (TypeError, ValueError, RuntimeError):
            told = f"that is of type {type(found).__name__}; a tensor of angles is asked for"
            raise Hint(told) from None
        wanted = polygon(vectors, 0.0).angles
        if len(mine) == many - 1:
            raise Hint("one gap is missing: that from the last vector around to the first")
        if len(mine) != many:
            raise Hint(f"{many} vectors have {many} gaps between neighbours; yours has {len(mine)}")
        if _near(mine.sum(), torch.tensor(2 * torch.pi)):
            raise Hint("that is in radians; degrees are asked for")
        if bool((mine < -1e-3).any()):
            raise Hint("a gap is negative: sort the vectors by angle, and add 360 where it wraps")
        if not abs(float(mine.sum()) - 360) < 0.1:
            raise Hint(f"your gaps add up to {float(mine.sum()):.0f} degrees; once around is 360")
        like(mine.sort().values, wanted.sort().values, "your gaps (sorted)", tolerance=1e-3)


def _near(found: Any, other: Float[Tensor, "..."] | float) -> bool:
    try:
        mine = torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError):
        return False  # no number at all: `like` says so
    other = torch.as_tensor(other)
    return mine.shape == other.shape and bool(torch.allclose(mine.float(), other, atol=1e-5))

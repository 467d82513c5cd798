"""What attribution patching gives, and how near it comes to an exact sweep."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.patching.statistics import bounds, drawn_weights
from workbench.patching.sweep import Sweep


@dataclass(frozen=True)
class Estimate(Sweep):
    """A sweep's numbers as a method estimates them, on the sweep's own axes.

    `magnitude` is what patches are ranked by: the absolute change, for AtP* the mean of
    GradDrop. `forwards` and `tokens` count the runs that were differentiated, `backwards` how
    often; `steps` is None but for IG.
    """

    method: str
    magnitude: Float[Tensor, "layer component place pair"]
    backwards: int
    steps: int | None


@dataclass(frozen=True)
class Correlation:
    """Pearson's r between two sweeps' changes, its interval over pairs, and over how many cells.

    The interval is the percentile bootstrap (95 %); of one pair it is r itself.
    """

    r: float
    low: float
    high: float
    cells: int


def correlation(exact: Sweep, estimate: Sweep, *, of_means: bool = False) -> Correlation:
    """Pearson's r between the changes of two sweeps, over layers, components, places and pairs.

    `of_means` averages each cell over the pairs first. Raises `InputError` where the two are of
    other axes or pairs, and where one of them is constant.
    """
    _check_alike(exact, estimate)
    one, other = (x.changes.flatten(0, -2).double() for x in (exact, estimate))
    weights = torch.cat(
        [torch.full((1, one.shape[1]), 1 / one.shape[1]), drawn_weights(one.shape[1])]
    )
    found = _weighted(one, other, weights.to(one), of_means=of_means)
    cells = len(one) if of_means else one.numel()
    if not bool(found[0].isfinite()):
        raise InputError(
            f"no correlation over {cells} cells: one of the sweeps is constant over them"
        )
    low, high = bounds(found[1:])
    return Correlation(float(found[0]), float(low), float(high), cells)


def _weighted(
    one: Float[Tensor, "cell pair"],
    other: Float[Tensor, "cell pair"],
    weights: Float[Tensor, "draw pair"],
    *,
    of_means: bool,
) -> Float[Tensor, " draw"]:
    """Pearson's r with pairs weighted anew in each draw; NaN where one side is constant."""

    def mean(values: Float[Tensor, "cell pair"]) -> Float[Tensor, " draw"]:
        return (values @ weights.T).mean(0)

    if of_means:
        one, other = (values @ weights.T for values in (one, other))
        one, other = (values - values.mean(0) for values in (one, other))
        spread = one.norm(dim=0) * other.norm(dim=0)
        return (one * other).sum(0) / spread.masked_fill(spread == 0, torch.nan)
    # Shifted by the plain mean, so that no digits are lost in the differences.
    one, other = (values - values.mean() for values in (one, other))
    covariance = mean(one * other) - mean(one) * mean(other)
    spread = (mean(one**2) - mean(one) ** 2) * (mean(other**2) - mean(other) ** 2)
    return covariance / spread.masked_fill(spread <= 0, torch.nan).sqrt()


_AXES = ("site", "metric", "at", "direction", "layers", "components", "places")


def _check_alike(exact: Sweep, estimate: Sweep) -> None:
    """Raise `InputError` unless both sweeps are of the same cells."""
    for name in _AXES:
        one, other = getattr(exact, name), getattr(estimate, name)
        if one != other:
            raise InputError(
                f"the sweeps differ in {name}: {one} and {other}; give two of the same"
            )
    if len(exact.clean) != len(estimate.clean):
        raise InputError(
            f"the sweeps are of {len(exact.clean)} and {len(estimate.clean)} pairs; give two of "
            "the same"
        )
    for one, other in ((exact.clean, estimate.clean), (exact.corrupted, estimate.corrupted)):
        if not torch.allclose(one, other, rtol=0.05, atol=0.05):
            raise InputError("the sweeps are of other pairs: their anchors differ; give the same")

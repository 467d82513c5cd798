"""What attribution patching gives, and how near it comes to an exact sweep."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
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
    """Pearson's r between two sweeps' changes, and over how many cells."""

    r: float
    cells: int


def correlation(exact: Sweep, estimate: Sweep, *, of_means: bool = False) -> Correlation:
    """Pearson's r between the changes of two sweeps, over layers, components, places and pairs.

    `of_means` averages each cell over the pairs first. Raises `InputError` where the two are of
    other axes or pairs, and where one of them is constant.
    """
    _check_alike(exact, estimate)
    one, other = (
        (values.mean(-1) if of_means else values).flatten().double()
        for values in (exact.changes, estimate.changes)
    )
    one, other = one - one.mean(), other - other.mean()
    spread = float(one.norm() * other.norm())
    if spread == 0:
        raise InputError(
            f"no correlation over {len(one)} cells: one of the sweeps is constant over them"
        )
    return Correlation(float(one @ other) / spread, len(one))


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

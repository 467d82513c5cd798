"""Effects over prompts: means in units of the two anchors, with bootstrap intervals."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError

_DRAWS = 1000


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds of its interval, each of the shape of what was averaged."""

    mean: Float[Tensor, "*shape"]
    low: Float[Tensor, "*shape"]
    high: Float[Tensor, "*shape"]


def normalised(
    values: Float[Tensor, "*shape pair"],
    clean: Float[Tensor, " pair"],
    corrupted: Float[Tensor, " pair"],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """How far values stand from corrupted (0) to clean (1): a ratio of means over pairs.

    The interval is the percentile bootstrap over pairs (Efron 1979). Raises `InputError` where
    both anchors are equal.
    """
    check_anchors(clean, corrupted)
    weights = drawn_weights(len(clean), seed).to(values.device)
    gain, span = (values - corrupted).double(), (clean - corrupted).double()
    means = (gain @ weights.T) / (weights @ span)
    low, high = bounds(means, confidence)
    return Interval((gain.mean(-1) / span.mean()).float(), low.float(), high.float())


def drawn_weights(n: int, seed: int = 0) -> Float[Tensor, "draw pair"]:
    """The share of each of `n` pairs in each bootstrap draw."""
    drawn = torch.randint(n, (_DRAWS, n), generator=torch.Generator().manual_seed(seed))
    return (torch.zeros(_DRAWS, n).scatter_add_(1, drawn, torch.ones(_DRAWS, n)) / n).double()


def bounds(
    found: Float[Tensor, "... draw"], confidence: float = 0.95
) -> Float[Tensor, "bound ..."]:
    """Both ends of the percentile interval over the draws, the last axis."""
    tail = (1 - confidence) / 2
    ends = torch.tensor([tail, 1 - tail], dtype=torch.float64, device=found.device)
    return found.nanquantile(ends, dim=-1)


def check_anchors(clean: Float[Tensor, " pair"], corrupted: Float[Tensor, " pair"]) -> None:
    """Raise `InputError` where clean and corrupted runs are told apart by nothing."""
    apart = float((clean - corrupted).double().mean().abs())
    if apart <= 1e-6 * max(1.0, float(clean.abs().max())):
        raise InputError(
            f"clean and corrupted runs have the same metric ({float(clean.mean()):.4f} on the "
            "mean), so no effect has a unit; give other pairs or another metric"
        )

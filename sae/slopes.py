"""What one batch gives a dictionary: gradients by weight, losses by name, who was active.

A loss is the squared error summed over dimensions and averaged over rows, and what a kind adds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Weights = Mapping[str, Tensor]
"""W_enc and W_dec `[latent, d]`, b_enc, b_dec; b_in and skip of a transcoder; a kind's own."""


@dataclass(frozen=True, eq=False)
class Slopes:
    """Gradients and losses; `smallest` is the least active value, infinite where none is."""

    by_weight: dict[str, Tensor]
    losses: dict[str, Float[Tensor, ""]]
    fired: Bool[Tensor, " latent"]
    l0: Float[Tensor, ""]
    smallest: Float[Tensor, ""]

    @property
    def loss(self) -> float:
        return float(torch.stack(list(self.losses.values())).sum())


def centred(weights: Weights, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_in"]:
    """`x` without the bias that the encoder takes off: b_in, or the decoder's own."""
    return x - weights.get("b_in", weights["b_dec"])


def squared(error: Float[Tensor, "row d"]) -> Float[Tensor, ""]:
    """Summed over dimensions, averaged over rows."""
    return error.square().sum() / len(error)

"""What one batch gives a dictionary: gradients by weight, losses by name, who was active.

A loss is the squared error summed over dimensions and averaged over rows, and what a kind adds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Weights = Mapping[str, Tensor]
"""W_enc and W_dec `[latent, d]`, b_enc, b_dec; skip `[d_out, d_in]`; a kind's own."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What goes in and what should come out: `x` itself, or of a transcoder other rows `y`.

    An autoencoder takes the decoder's bias off in front of the encoder; the rows of a transcoder
    are centred by who brings them.
    """

    x: Float[Tensor, "row d_in"]
    y: Float[Tensor, "row d_out"] | None = None

    @property
    def wanted(self) -> Float[Tensor, "row d_out"]:
        return self.x if self.y is None else self.y

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Its fields that are not None."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def seen(self, weights: Weights) -> Float[Tensor, "row d_in"]:
        """As the encoder's product gets them."""
        return self.x - weights["b_dec"] if self.y is None else self.x

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> "Rows":
        return Rows(**{name: value.to(device) for name, value in self.tensors.items()})


@dataclass(frozen=True, eq=False)
class Slopes:
    """Gradients and losses; `smallest` is the least active value, infinite where none is.

    `errors` are each row's squared error, `hardest` rows from which dead latents are begun anew.
    """

    by_weight: dict[str, Tensor]
    losses: dict[str, Float[Tensor, ""]]
    errors: Float[Tensor, " row"]
    fired: Bool[Tensor, " latent"]
    l0: Float[Tensor, ""]
    smallest: Float[Tensor, ""]
    hardest: Rows | None = None

    @property
    def loss(self) -> float:
        return float(torch.stack(list(self.losses.values())).sum())


def squared(error: Float[Tensor, "row d"]) -> Float[Tensor, ""]:
    """Summed over dimensions, averaged over rows."""
    return error.square().sum() / len(error)

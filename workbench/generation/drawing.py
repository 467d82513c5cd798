"""From the logits of the next token to the token: greedy, or drawn by a seed of each row."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError


class Draw:
    """Logits to one token for each row, every row with a generator of its own."""

    def __init__(
        self, temperature: float, top_k: int | None, top_p: float | None, seed: int, n_rows: int
    ) -> None:
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p
        self.generators = [
            torch.Generator().manual_seed(
                int(np.random.SeedSequence((seed, row)).generate_state(1, np.uint64)[0])
            )
            for row in range(n_rows)
        ]

    def __call__(self, logits: Float[Tensor, "batch d_vocab"]) -> list[int]:
        if not bool(logits.amax(dim=-1).isfinite().all()):
            raise InputError(
                "the next token's logits are not finite: an edit, or float16, drove the "
                "activations out of range; make the edit smaller or load the model in float32"
            )
        if self.temperature == 0:
            return logits.argmax(dim=-1).tolist()
        # On the CPU, so that a seed means the same text on every device.
        logits = filtered(logits.float().cpu(), self.temperature, self.top_k, self.top_p)
        return [
            int(torch.multinomial(probs, 1, generator=generator))
            for probs, generator in zip(logits.softmax(dim=-1), self.generators, strict=True)
        ]


def filtered(
    logits: Float[Tensor, "batch d_vocab"],
    temperature: float,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Float[Tensor, "batch d_vocab"]:
    """The logits that tokens are drawn by: over the temperature, -inf for what is left out."""
    # Shifted, and never divided by 0: no temperature is small enough to overflow.
    least_temperature = torch.finfo(logits.dtype).tiny
    logits = (logits - logits.amax(dim=-1, keepdim=True)) / max(temperature, least_temperature)
    if top_k is not None:
        least = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None:
        ascending, order = logits.sort(dim=-1)
        out = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - top_p
        out[:, -1] = False
        logits = logits.masked_fill(out.scatter(1, order, out), -torch.inf)
    return logits

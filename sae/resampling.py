"""Dead latents begun anew, from rows that the dictionary makes badly (Bricken et al. 2023)."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from sae.dense import FIRST_THRESHOLD
from sae.slopes import Rows, Slopes

_SHARE = 0.2  # of a living encoder row's mean length, so that the new ones disturb little


def with_hardest(found: Slopes, rows: Rows, n: int, seed: int) -> Slopes:
    """With up to `n` of the batch's rows, drawn by the square of their squared error."""
    draw = torch.Generator().manual_seed(seed)
    chances = found.errors.square().cpu().double()
    n = min(n, int((chances > 0).sum()))
    if not n:
        return found
    chosen = torch.multinomial(chances, n, generator=draw).to(rows.x.device)
    return replace(found, hardest=Rows(rows.x[chosen], None if rows.y is None else rows.y[chosen]))


def begin_anew(
    weights: Mapping[str, Tensor],
    moments: Mapping[str, Mapping[str, Tensor]],
    dead: Bool[Tensor, " latent"],
    hardest: Rows,
) -> Bool[Tensor, " latent"]:
    """Point dead latents, as many as there are rows, at one row each; says which.

    `moments` are the optimiser's, by weight: those of the latents begin at 0 again.
    """
    numbers = dead.nonzero()[: len(hardest), 0]
    anew = torch.zeros_like(dead)
    anew[numbers] = True
    seen = hardest.seen(weights)[: len(numbers)]
    wanted = (hardest.wanted - weights["b_dec"])[: len(numbers)]
    length = weights["W_enc"][~dead].norm(dim=1).mean() if bool((~dead).any()) else 1.0
    weights["W_dec"][anew] = wanted / wanted.norm(dim=1, keepdim=True)
    weights["W_enc"][anew] = _SHARE * length * seen / seen.norm(dim=1, keepdim=True)
    own = set(weights) - {"b_dec", "skip"}
    for name in own - {"W_enc", "W_dec"}:
        weights[name][anew] = FIRST_THRESHOLD if name == "threshold" else 0.0
    for name in own:
        for key in ("exp_avg", "exp_avg_sq"):
            moments[name][key][anew] = 0
    return anew

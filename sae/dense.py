"""Losses of dictionaries whose gradient is dense, by autograd."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sae.slopes import Slopes, Weights, centred, squared

_BANDWIDTH = 0.05  # of a JumpReLU's straight-through estimate
Losses = tuple[dict[str, Float[Tensor, ""]], Float[Tensor, "row latent"]]
Loss = Callable[[Weights, "Rows", float], Losses]
"""(weights, rows, penalty) -> what is summed, and the activations."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows as they are, as the encoder sees them, and what they should become."""

    x: Float[Tensor, "row d_in"]
    seen: Float[Tensor, "row d_in"]
    y: Float[Tensor, "row d_out"]


def dense(
    weights: Weights,
    x: Float[Tensor, "row d_in"],
    y: Float[Tensor, "row d_out"],
    loss: Loss,
    penalty: float,
) -> Slopes:
    """Of a dictionary whose loss is differentiated as a whole.

    But for the bias in front of the encoder: what it gets by that way is what all latents get
    together, so that no gradient by the rows themselves is needed.
    """
    own = {name: value.detach().requires_grad_() for name, value in weights.items()}
    own["shift"] = torch.zeros_like(weights["b_enc"]).requires_grad_()
    with torch.enable_grad():
        losses, acts = loss(own, Rows(x, centred(weights, x), y), penalty)
        total = torch.stack(list(losses.values())).sum()
        found = torch.autograd.grad(total, list(own.values()))
    slopes = dict(zip(own, found, strict=True))
    through = slopes.pop("shift") @ weights["W_enc"]
    name = "b_in" if "b_in" in weights else "b_dec"
    slopes[name] = slopes[name] - through
    active = acts.detach() > 0
    told = {name: value.detach() for name, value in losses.items()}
    return Slopes(slopes, told, active.any(0), active.sum() / len(x), x.new_tensor(torch.inf))


def standard(weights: Weights, rows: Rows, penalty: float) -> Losses:
    """ReLU with an L1 penalty on what each latent writes (Bricken et al. 2023)."""
    acts = _product(weights, rows, weights["b_enc"]).relu()
    sparsity = (acts @ weights["W_dec"].norm(dim=1)).mean()
    error = _decoded(weights, acts, rows) - rows.y
    return {"reconstruction": squared(error), "penalty": penalty * sparsity}, acts


def jumprelu(weights: Weights, rows: Rows, penalty: float) -> Losses:
    """ReLU above a learnt threshold with an L0 penalty (Rajamanoharan et al. 2024,
    arXiv:2407.14435); the straight-through estimates are SAELens' own."""
    from sae_lens.saes.jumprelu_sae import JumpReLU, Step  # slow to import, and only used here

    pre = _product(weights, rows, weights["b_enc"])
    acts: Tensor = JumpReLU.apply(pre, weights["threshold"], _BANDWIDTH, False)
    active: Tensor = Step.apply(pre, weights["threshold"], _BANDWIDTH, False)
    error = _decoded(weights, acts, rows) - rows.y
    return {"reconstruction": squared(error), "penalty": penalty * active.sum(1).mean()}, acts


def gated(weights: Weights, rows: Rows, penalty: float) -> Losses:
    """A gate decides what is active, a magnitude how much; the gate alone has to reconstruct too
    (Rajamanoharan et al. 2024, arXiv:2404.16014)."""
    raw = _product(weights, rows)
    gate = (raw + weights["b_gate"]).relu()
    acts = (gate > 0) * (raw * weights["r_mag"].exp() + weights["b_enc"]).relu()
    return {
        "reconstruction": squared(_decoded(weights, acts, rows) - rows.y),
        "penalty": penalty * (gate @ weights["W_dec"].norm(dim=1)).mean(),
        "gate": squared(_decoded(weights, gate, rows) - rows.y),
    }, acts


def _product(
    weights: Weights, rows: Rows, bias: Float[Tensor, " latent"] | float = 0.0
) -> Float[Tensor, "row latent"]:
    return torch.addmm(weights["shift"] + bias, rows.seen, weights["W_enc"].T)


def _decoded(
    weights: Weights, acts: Float[Tensor, "row latent"], rows: Rows
) -> Float[Tensor, "row d_out"]:
    out = torch.addmm(weights["b_dec"], acts, weights["W_dec"])
    return out + rows.x @ weights["skip"].T if "skip" in weights else out


DENSE: Mapping[str, Loss] = {"standard": standard, "jumprelu": jumprelu, "gated": gated}

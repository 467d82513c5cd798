"""Losses of dictionaries whose gradient is dense, by autograd."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from sae.slopes import Slopes, Weights, centred, squared

_BANDWIDTH = 0.05  # of a JumpReLU's straight-through estimate
Losses = tuple[dict[str, Float[Tensor, ""]], Float[Tensor, "row latent"]]
Loss = Callable[[Weights, Float[Tensor, "row d_in"], Float[Tensor, "row d_out"], float], Losses]
"""(weights, x, y, penalty) -> what is summed, and the activations."""


def dense(
    weights: Weights,
    x: Float[Tensor, "row d_in"],
    y: Float[Tensor, "row d_out"],
    loss: Loss,
    penalty: float,
) -> Slopes:
    """Of a dictionary whose loss is differentiated as a whole."""
    own = {name: value.detach().requires_grad_() for name, value in weights.items()}
    with torch.enable_grad():
        losses, acts = loss(own, x, y, penalty)
        total = torch.stack(list(losses.values())).sum()
        found = torch.autograd.grad(total, list(own.values()))
    active = acts.detach() > 0
    told = {name: value.detach() for name, value in losses.items()}
    slopes = dict(zip(own, found, strict=True))
    return Slopes(slopes, told, active.any(0), active.sum() / len(x), x.new_tensor(torch.inf))


def standard(
    weights: Weights, x: Float[Tensor, "row d_in"], y: Float[Tensor, "row d_out"], penalty: float
) -> Losses:
    """ReLU with an L1 penalty on what each latent writes (Bricken et al. 2023)."""
    acts = torch.addmm(weights["b_enc"], centred(weights, x), weights["W_enc"].T).relu()
    sparsity = (acts @ weights["W_dec"].norm(dim=1)).mean()
    error = _decoded(weights, acts, x) - y
    return {"reconstruction": squared(error), "penalty": penalty * sparsity}, acts


def jumprelu(
    weights: Weights, x: Float[Tensor, "row d_in"], y: Float[Tensor, "row d_out"], penalty: float
) -> Losses:
    """ReLU above a learnt threshold with an L0 penalty (Rajamanoharan et al. 2024,
    arXiv:2407.14435); the straight-through estimates are SAELens' own."""
    from sae_lens.saes.jumprelu_sae import JumpReLU, Step  # slow to import, and only used here

    pre = torch.addmm(weights["b_enc"], centred(weights, x), weights["W_enc"].T)
    acts: Tensor = JumpReLU.apply(pre, weights["threshold"], _BANDWIDTH, False)
    active: Tensor = Step.apply(pre, weights["threshold"], _BANDWIDTH, False)
    error = _decoded(weights, acts, x) - y
    return {"reconstruction": squared(error), "penalty": penalty * active.sum(1).mean()}, acts


def gated(
    weights: Weights, x: Float[Tensor, "row d_in"], y: Float[Tensor, "row d_out"], penalty: float
) -> Losses:
    """A gate decides what is active, a magnitude how much; the gate alone has to reconstruct too
    (Rajamanoharan et al. 2024, arXiv:2404.16014)."""
    raw = centred(weights, x) @ weights["W_enc"].T
    gate = (raw + weights["b_gate"]).relu()
    acts = (gate > 0) * (raw * weights["r_mag"].exp() + weights["b_enc"]).relu()
    return {
        "reconstruction": squared(_decoded(weights, acts, x) - y),
        "penalty": penalty * (gate @ weights["W_dec"].norm(dim=1)).mean(),
        "gate": squared(_decoded(weights, gate, x) - y),
    }, acts


def _decoded(
    weights: Weights, acts: Float[Tensor, "row latent"], x: Float[Tensor, "row d_in"]
) -> Float[Tensor, "row d_out"]:
    out = torch.addmm(weights["b_dec"], acts, weights["W_dec"])
    return out + x @ weights["skip"].T if "skip" in weights else out


DENSE: Mapping[str, Loss] = {"standard": standard, "jumprelu": jumprelu, "gated": gated}

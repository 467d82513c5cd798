"""Gradients of dictionaries that are dense: by autograd, and of JumpReLU by hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

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


def differentiated(
    weights: Weights,
    x: Float[Tensor, "row d_in"],
    y: Float[Tensor, "row d_out"],
    penalty: float,
    *,
    loss: Loss,
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


def jumprelu(
    weights: Weights, x: Float[Tensor, "row d_in"], y: Float[Tensor, "row d_out"], penalty: float
) -> Slopes:
    """ReLU above a learnt threshold with an L0 penalty (Rajamanoharan et al. 2024,
    arXiv:2407.14435), by hand: a threshold learns only from the few values that lie near it."""
    seen, threshold = centred(weights, x), weights["threshold"]
    pre = torch.addmm(weights["b_enc"], seen, weights["W_enc"].T)
    active = pre > threshold
    acts = pre * active
    error = _decoded(weights, acts, Rows(x, seen, y)) - y
    push = (2 / len(x)) * error
    back = push @ weights["W_dec"].T
    row, near = ((pre - threshold).abs() < _BANDWIDTH / 2).nonzero(as_tuple=True)
    pulls = -(threshold[near] * back[row, near] + penalty / len(x)) / _BANDWIDTH
    back *= active
    slopes = {
        "W_enc": back.T @ seen,
        "b_enc": back.sum(0),
        "W_dec": acts.T @ push,
        "b_dec": push.sum(0),
        "threshold": torch.zeros_like(threshold).index_add(0, near, pulls),
    }
    if "skip" in weights:
        slopes["skip"] = push.T @ x
    name = "b_in" if "b_in" in weights else "b_dec"
    slopes[name] = slopes.get(name, 0) - slopes["b_enc"] @ weights["W_enc"]
    l0 = active.sum() / len(x)
    losses = {"reconstruction": squared(error), "penalty": penalty * l0}
    fired = active.any(0)
    return Slopes(slopes, losses, fired, l0, x.new_tensor(torch.inf))


DENSE: Mapping[str, Callable[..., Slopes]] = {
    "standard": partial(differentiated, loss=standard),
    "jumprelu": jumprelu,
    "gated": partial(differentiated, loss=gated),
}
"""kind -> (weights, x, y, penalty) -> what the batch gives."""

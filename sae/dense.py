"""Gradients of dictionaries whose every latent is looked at, by hand."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from sae.slopes import Rows, Slopes, Weights, squared

FIRST_THRESHOLD = 0.01  # of a JumpReLU, before training
_BANDWIDTH = 0.05  # of its straight-through estimate


def standard(weights: Weights, rows: Rows, penalty: float) -> Slopes:
    """ReLU with an L1 penalty on what each latent writes (Bricken et al. 2023)."""
    seen, lengths = rows.seen(weights), weights["W_dec"].norm(dim=1)
    acts = torch.addmm(weights["b_enc"], seen, weights["W_enc"].T).relu_()
    error = _decoded(weights, acts, rows) - rows.wanted
    push, pull = (2 / len(rows)) * error, (penalty / len(rows)) * lengths
    back = _through_relu(torch.addmm(pull, push, weights["W_dec"].T), acts)
    sums = acts.sum(0)
    slopes = {
        "W_enc": back.T @ seen,
        "b_enc": back.sum(0),
        "W_dec": _written(weights, acts, push, (penalty / len(rows)) * sums / lengths),
        "b_dec": push.sum(0),
    }
    losses = {"reconstruction": squared(error), "penalty": pull @ sums}
    return _whole(weights, rows, slopes, losses, acts, error, push, slopes["b_enc"])


def jumprelu(weights: Weights, rows: Rows, penalty: float) -> Slopes:
    """ReLU above a learnt threshold with an L0 penalty (Rajamanoharan et al. 2024,
    arXiv:2407.14435): a threshold learns only from the few values that lie near it."""
    seen, threshold = rows.seen(weights), weights["threshold"]
    pre = torch.addmm(weights["b_enc"], seen, weights["W_enc"].T)
    active = pre > threshold
    acts = pre * active
    error = _decoded(weights, acts, rows) - rows.wanted
    push = (2 / len(rows)) * error
    back = push @ weights["W_dec"].T
    row, near = ((pre - threshold).abs() < _BANDWIDTH / 2).nonzero(as_tuple=True)
    pulls = -(threshold[near] * back[row, near] + penalty / len(rows)) / _BANDWIDTH
    back *= active
    slopes = {
        "W_enc": back.T @ seen,
        "b_enc": back.sum(0),
        "W_dec": acts.T @ push,
        "b_dec": push.sum(0),
        "threshold": torch.zeros_like(threshold).index_add(0, near, pulls),
    }
    losses = {"reconstruction": squared(error), "penalty": penalty * active.sum() / len(rows)}
    return _whole(weights, rows, slopes, losses, acts, error, push, slopes["b_enc"])


def gated(weights: Weights, rows: Rows, penalty: float) -> Slopes:
    """A gate decides what is active, a magnitude how much; the gate alone has to reconstruct too
    (Rajamanoharan et al. 2024, arXiv:2404.16014)."""
    seen, lengths = rows.seen(weights), weights["W_dec"].norm(dim=1)
    raw, gain = seen @ weights["W_enc"].T, weights["r_mag"].exp()
    gate = (raw + weights["b_gate"]).relu_()
    acts = torch.addcmul(weights["b_enc"], raw, gain).relu_().mul_(gate > 0)
    error, gate_error = (_decoded(weights, one, rows) - rows.wanted for one in (acts, gate))
    push, gate_push = ((2 / len(rows)) * one for one in (error, gate_error))
    pull = (penalty / len(rows)) * lengths
    back = _through_relu(push @ weights["W_dec"].T, acts)
    gate_back = _through_relu(torch.addmm(pull, gate_push, weights["W_dec"].T), gate)
    both, sums = torch.addcmul(gate_back, back, gain), gate.sum(0)
    slopes = {
        "W_enc": both.T @ seen,
        "b_enc": back.sum(0),
        "b_gate": gate_back.sum(0),
        "r_mag": (back * raw).sum(0) * gain,
        "W_dec": _written(weights, acts, push, (penalty / len(rows)) * sums / lengths)
        + gate.T @ gate_push,
        "b_dec": push.sum(0) + gate_push.sum(0),
    }
    losses = {
        "reconstruction": squared(error),
        "penalty": pull @ sums,
        "gate": squared(gate_error),
    }
    return _whole(weights, rows, slopes, losses, acts, error, push + gate_push, both.sum(0))


def _decoded(
    weights: Weights, acts: Float[Tensor, "row latent"], rows: Rows
) -> Float[Tensor, "row d_out"]:
    out = torch.addmm(weights["b_dec"], acts, weights["W_dec"])
    return out + rows.x @ weights["skip"].T if "skip" in weights else out


def _through_relu(
    back: Float[Tensor, "row latent"], out: Float[Tensor, "row latent"]
) -> Float[Tensor, "row latent"]:
    """Slopes by a ReLU's output `out` as slopes by its input."""
    return torch.ops.aten.threshold_backward(back, out, 0)


def _written(
    weights: Weights,
    acts: Float[Tensor, "row latent"],
    push: Float[Tensor, "row d_out"],
    shorter: Float[Tensor, " latent"],
) -> Float[Tensor, "latent d_out"]:
    """The decoder's slopes: by what it wrote, and by its rows' lengths, which are penalised."""
    return torch.addmm(shorter[:, None] * weights["W_dec"], acts.T, push)


def _whole(
    weights: Weights,
    rows: Rows,
    slopes: dict[str, Tensor],
    losses: dict[str, Float[Tensor, ""]],
    acts: Float[Tensor, "row latent"],
    error: Float[Tensor, "row d_out"],
    push: Float[Tensor, "row d_out"],
    through: Float[Tensor, " latent"],
) -> Slopes:
    """With the slopes of what not every dictionary has; `through` is by the encoder's product."""
    if rows.y is None:
        slopes["b_dec"] -= through @ weights["W_enc"]
    if "skip" in weights:
        slopes["skip"] = push.T @ rows.x
    l0 = acts.count_nonzero() / len(rows)
    infinite = error.new_tensor(torch.inf)
    return Slopes(slopes, losses, error.square().sum(1), acts.amax(0) > 0, l0, infinite)


DENSE: Mapping[str, Callable[[Weights, Rows, float], Slopes]] = {
    "standard": standard,
    "jumprelu": jumprelu,
    "gated": gated,
}
"""kind -> (weights, rows, penalty) -> what the batch gives."""

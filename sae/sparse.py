"""Gradients of sparse dictionaries by hand: the encoder's product is the only dense one."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae import kernels
from sae.kernels import Codes
from sae.slopes import Rows, Slopes, Weights, squared


@dataclass(frozen=True, eq=False)
class Revival:
    """Which latents are dead, and how much what they learn from the others' error counts."""

    dead: Bool[Tensor, " latent"]
    coefficient: float


def sparse(
    weights: Weights,
    rows: Rows,
    choose: Callable[[Tensor], Codes],
    *,
    edges: tuple[int, ...],
    revival: Revival | None = None,
    bfloat16: bool = False,
) -> Slopes:
    """Of a dictionary whose active latents `choose` picks from all that the encoder says.

    With several `edges` each nested dictionary has to do by itself (Bussmann et al. 2025,
    arXiv:2503.17547), its error added to the loss.
    """
    x, y, seen = rows.x, rows.wanted, rows.seen(weights)
    pre, codes = _chosen(weights, seen, choose, bfloat16)
    nested = [codes] if len(edges) == 1 else list(kernels.parts(codes, edges))
    out = weights["b_dec"].expand_as(y)
    if "skip" in weights:
        out = out + x @ weights["skip"].T
    errors: list[Tensor] = []
    for group in nested:
        out = out + kernels.decode(group, weights["W_dec"])
        errors.append(out - y)
    losses = {"reconstruction": torch.stack([squared(one) for one in errors]).sum()}
    made = _Sum(weights, seen)
    push = torch.zeros_like(y)
    for group, error in zip(reversed(nested), reversed(errors), strict=True):
        push = push + (2 / len(y)) * error
        slopes = kernels.rectified(group, kernels.dots(group, push, weights["W_dec"]))
        made.add(group, slopes, push)
    made.slopes["b_dec"] = push.sum(0)
    if "skip" in weights:
        made.slopes["skip"] = push.T @ x
    if revival is not None and bool(revival.dead.any()):
        losses["dead"] = _revive(made, pre, -errors[-1], revival)
    positive = codes.values > 0
    fired = torch.zeros(codes.n_latents, dtype=torch.bool, device=x.device)
    fired[codes.latents[positive]] = True
    smallest = torch.cat([codes.values[positive], x.new_full((1,), torch.inf)]).amin()
    if rows.y is None:
        made.tie()
    left = errors[-1].square().sum(1)
    return Slopes(made.slopes, losses, left, fired, positive.sum() / len(x), smallest)


def _chosen(
    weights: Weights,
    seen: Float[Tensor, "row d_in"],
    choose: Callable[[Tensor], Codes],
    bfloat16: bool,
) -> tuple[Float[Tensor, "row latent"], Codes]:
    W_enc, b_enc = weights["W_enc"], weights["b_enc"]
    if not bfloat16:
        pre = torch.addmm(b_enc, seen, W_enc.T)
        return pre, choose(pre)
    pre = torch.addmm(b_enc.bfloat16(), seen.bfloat16(), W_enc.bfloat16().T)
    codes = choose(pre)
    exact = kernels.dots(kernels.with_values(codes, codes.values.float()), seen, W_enc)
    return pre, kernels.with_values(codes, (exact + b_enc[codes.latents]).relu())


class _Sum:
    """Gradients of lists of active latents, added up."""

    def __init__(self, weights: Weights, seen: Float[Tensor, "row d_in"]) -> None:
        self.weights, self.seen = weights, seen
        self.slopes: dict[str, Tensor] = {}

    def add(self, codes: Codes, slopes: Tensor, push: Float[Tensor, "row d_out"]) -> None:
        """`slopes` are by what went into each entry, `push` by what came out of the decoder."""
        found = {
            "W_dec": kernels.gathered(codes, codes.values, push),
            "W_enc": kernels.gathered(codes, slopes, self.seen),
            "b_enc": kernels.summed(codes, slopes),
        }
        for name, value in found.items():
            self.slopes[name] = self.slopes[name] + value if name in self.slopes else value

    def tie(self) -> None:
        """Give the decoder's bias what it gets through the encoder, from all latents together."""
        self.slopes["b_dec"] = self.slopes["b_dec"] - self.slopes["b_enc"] @ self.weights["W_enc"]


def _revive(
    made: _Sum, pre: Float[Tensor, "row latent"], left: Float[Tensor, "row d_out"], revival: Revival
) -> Float[Tensor, ""]:
    """AuxK (Gao et al. 2024, appendix A.2): the best dead latents learn the error that is left."""
    numbers = revival.dead.nonzero()[:, 0]
    half = made.seen.shape[1] // 2
    k = max(1, min(half, len(numbers)))
    best = pre[:, numbers].float().topk(k, sorted=False)
    codes = Codes(
        torch.arange(0, len(pre) * k + 1, k, device=pre.device),
        numbers[best.indices].flatten(),
        best.values.flatten(),
        pre.shape[1],
    )
    coefficient = revival.coefficient * min(1.0, len(numbers) / max(1, half))
    error = kernels.decode(codes, made.weights["W_dec"]) - left
    push = (2 * coefficient / len(pre)) * error
    made.add(codes, kernels.dots(codes, push, made.weights["W_dec"]), push)
    return coefficient * squared(error)

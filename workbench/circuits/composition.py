"""How strongly later heads read what earlier ones write."""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from workbench.circuits.heads import Folded, folded, layers
from workbench.models import Model
from workbench.models.weights import check_queries, norm
from workbench.sites import Head

COMPOSITIONS = ("Q", "K", "V")
"""What a later head's composition is with: its queries, its keys, its values."""


@dataclass(frozen=True)
class Partners:
    """One head's composition scores with every other head, Q, K and V in this order.

    `earlier`: how strongly this head reads what an earlier one writes; `later`: how strongly a
    later one reads what this head writes; NaN elsewhere. `baseline` as in `composition`.
    """

    earlier: Float[Tensor, "kind layer head"]
    later: Float[Tensor, "kind layer head"]
    baseline: float


@torch.no_grad()
def composition(
    model: Model, kind: Literal["Q", "K", "V"]
) -> Float[Tensor, "source_layer source_head layer head"]:
    """How strongly each head reads what each earlier one writes: |OV M| / (|OV| |M|).

    M is the later head's QK (Q), its transpose (K) or its OV (V), the norm the Frobenius one
    (Elhage et al. 2021); rotary models' QK without rotation. NaN where the source is not
    earlier or a head is zero. Compare with `baseline`.
    """
    check_queries(model, 0)
    writers = torch.stack([_writer(layer) for layer in layers(model)])
    readers = torch.stack([_reader(layer, kind) for layer in layers(model)])
    n_layers, n_heads = writers.shape[:2]
    scores = writers.new_full((n_layers, n_heads, n_layers, n_heads), torch.nan)
    for source in range(n_layers - 1):
        for later in range(source + 1, n_layers):
            scores[source, :, later] = _meeting(writers[source], readers[later])
    return scores


def baseline(model: Model) -> float:
    """The composition score of two circuits turned at random: its root mean square, exactly.

    1 / sqrt(d), whatever the circuits' ranks; d is d_model, less the direction that LayerNorm
    takes away.
    """
    return (model.architecture.d_model - norm(model).centres) ** -0.5


@torch.no_grad()
def partners(model: Model, head: Head) -> Partners:
    """The composition scores of one head with all others."""
    check_queries(model, 0)
    own, sizes = folded(model, head), model.architecture
    writer = _writer(own)[head.head][None]
    readers = [_reader(own, kind)[head.head][None] for kind in COMPOSITIONS]
    shape = (len(COMPOSITIONS), sizes.n_layers, sizes.n_heads)
    earlier, later = (torch.full(shape, torch.nan, device=model.device) for _ in range(2))
    for number, layer in enumerate(layers(model)):
        if number < head.layer:
            scores = [_meeting(_writer(layer), reader)[:, 0] for reader in readers]
            earlier[:, number] = torch.stack(scores)
        elif number > head.layer:
            scores = [_meeting(writer, _reader(layer, kind))[0] for kind in COMPOSITIONS]
            later[:, number] = torch.stack(scores)
    return Partners(earlier, later, baseline(model))


def _writer(layer: Folded) -> Float[Tensor, "head rank d_model"]:
    """OV, less what does not change a norm from the left, scaled to norm 1."""
    return _unit(_triangle(layer.values) @ layer.output)


def _reader(layer: Folded, kind: str) -> Float[Tensor, "head d_model rank"]:
    """QK, its transpose or OV, less what does not change a norm from the right; of norm 1."""
    near, far = {
        "Q": (layer.queries, layer.keys),
        "K": (layer.keys, layer.queries),
        "V": (layer.values, layer.output.mT),
    }[kind]
    return _unit(near @ _triangle(far).mT)


def _triangle(tall: Float[Tensor, "head d_model d_head"]) -> Float[Tensor, "head rank d_head"]:
    """R of `tall = Q R`: Q is orthonormal and changes no norm."""
    return torch.linalg.qr(tall).R


def _unit(matrix: Float[Tensor, "head rows columns"]) -> Float[Tensor, "head rows columns"]:
    return matrix / matrix.norm(dim=(-2, -1), keepdim=True)


def _meeting(
    writers: Float[Tensor, "writer rank d_model"], readers: Float[Tensor, "reader d_model rank2"]
) -> Float[Tensor, "writer reader"]:
    """|writer @ reader| for every pair."""
    return einsum(writers, readers, "w i m, r m j -> w r i j").norm(dim=(-2, -1))

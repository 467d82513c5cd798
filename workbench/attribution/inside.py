"""Inside a component: a head's share by the position it was brought from, an MLP's by neuron."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor

from workbench.attribution.question import Question, last_residual, reader_of
from workbench.cache import Store, capture
from workbench.errors import InputError
from workbench.models import Model
from workbench.models.weights import attention_weights, mlp_weights
from workbench.sites import Site


@dataclass(frozen=True)
class Neurons:
    """One MLP's share by neuron: those that weigh most, all others together, and its bias."""

    layer: int
    index: Int[Tensor, "batch k"]
    values: Float[Tensor, "batch k"]
    rest: Float[Tensor, " batch"]
    bias: Float[Tensor, " batch"]


@torch.no_grad()
def by_source(
    model: Model,
    asked: Question,
    layers: Iterable[int] | None = None,
    store: Store | None = None,
) -> Float[Tensor, "batch layer head key"]:
    """Each head's share by the position that it was brought from; NaN at padding.

    A head writes its values, weighted by its pattern, through W_O: over the keys the shares add
    up to `Attribution.heads`. By default over all layers.
    """
    chosen = _layers(model, layers)
    wanted = [Site(name, layer) for layer in chosen for name in ("pattern", "v")]
    taken = capture(model, asked.ids, [*wanted, last_residual(model)], store, mask=asked.mask)
    reader = reader_of(model, asked, taken[last_residual(model)])
    shares = []
    for layer in chosen:
        read = reader.through(attention_weights(model, layer).W_O)
        values = taken[Site("v", layer)].float()
        group = read.shape[1] // values.shape[2]
        grouped = rearrange(read, "b (kv group) d -> b kv group d", group=group)
        written = einsum(values, grouped, "b k kv d, b kv group d -> b kv group k")
        looks = asked.take(taken[Site("pattern", layer)].transpose(1, 2))
        shares.append(looks * rearrange(written, "b kv group k -> b (kv group) k"))
    return torch.stack(shares, dim=1)


@torch.no_grad()
def neurons(
    model: Model, asked: Question, layer: int, *, k: int = 10, store: Store | None = None
) -> Neurons:
    """One MLP's share by neuron (activation times what its row of W_out writes).

    `values`, `rest` and `bias` add up to `Attribution.mlps` of that layer.
    """
    weights = mlp_weights(model, layer)
    wanted = [Site("mlp_post", layer), last_residual(model)]
    taken = capture(model, asked.ids, wanted, store, mask=asked.mask)
    reader = reader_of(model, asked, taken[last_residual(model)])
    shares = asked.take(taken[wanted[0]]) * (reader.direction @ weights.W_out.float().T)
    index = shares.abs().topk(min(k, shares.shape[1]), dim=-1).indices
    values = shares.gather(-1, index)
    rest = shares.scatter(-1, index, 0).sum(-1)
    return Neurons(layer, index, values, rest, reader.constant(weights.b_out))


def _layers(model: Model, layers: Iterable[int] | None) -> list[int]:
    n_layers = model.architecture.n_layers
    chosen = list(range(n_layers) if layers is None else layers)
    if not chosen or not all(0 <= layer < n_layers for layer in chosen):
        raise InputError(f"layers {chosen} are not layers of this model, 0 to {n_layers - 1}")
    return chosen

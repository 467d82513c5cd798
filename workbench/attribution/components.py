"""A logit difference as a sum over the components of the model."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from workbench.attribution.question import Question, last_residual, reader_of
from workbench.cache import Capture, Store, capture
from workbench.hooks import sites
from workbench.models import Model
from workbench.models.weights import attention_weights, norm
from workbench.sites import Site


@dataclass(frozen=True)
class Attribution:
    """The logit difference of each prompt as a sum; zeros for what the model does not have.

    `heads` are what each head wrote (z W_O), `attention_bias` the b_O of each layer,
    `norm_bias` and `unembed_bias` what is there whatever the residual.
    """

    embed: Float[Tensor, " batch"]
    pos_embed: Float[Tensor, " batch"]
    heads: Float[Tensor, "batch layer head"]
    attention_bias: Float[Tensor, "batch layer"]
    mlps: Float[Tensor, "batch layer"]
    norm_bias: Float[Tensor, " batch"]
    unembed_bias: Float[Tensor, " batch"]
    logit_difference: Float[Tensor, " batch"]
    capture: Capture

    @property
    def parts(self) -> Mapping[str, Float[Tensor, " batch"]]:
        """Every component by name, as the forward meets them; what is zero throughout left out."""
        named = {"embed": self.embed, "pos_embed": self.pos_embed}
        for layer in range(self.heads.shape[1]):
            for head in range(self.heads.shape[2]):
                named[f"L{layer}H{head}"] = self.heads[:, layer, head]
            named[f"L{layer} attention bias"] = self.attention_bias[:, layer]
            named[f"L{layer} MLP"] = self.mlps[:, layer]
        named |= {"final norm bias": self.norm_bias, "unembedding bias": self.unembed_bias}
        return {name: values for name, values in named.items() if bool((values != 0).any())}

    def top(self, count: int, row: int = 0) -> list[tuple[str, float]]:
        """The components that weigh most in one prompt, either sign, largest first."""
        found = [(name, float(values[row])) for name, values in self.parts.items()]
        return sorted(found, key=lambda part: -abs(part[1]))[:count]

    @property
    def accumulated(self) -> Float[Tensor, "batch layer"]:
        """The sum after the embedding (row 0) and after each layer, biases at the end included.

        It is what the logit lens reads with the norm at its final scale; the last row is the
        whole.
        """
        layers = self.heads.sum(-1) + self.attention_bias + self.mlps
        start = self.embed + self.pos_embed + self.norm_bias + self.unembed_bias
        return torch.cat([start[:, None], layers], dim=1).cumsum(1)

    @property
    def total(self) -> Float[Tensor, " batch"]:
        """The sum of all components."""
        return self.accumulated[:, -1]

    @property
    def remainder(self) -> Float[Tensor, " batch"]:
        """The model's own logit difference less the sum: rounding, if the model is understood."""
        return self.logit_difference - self.total


@torch.no_grad()
def attribute(model: Model, asked: Question, store: Store | None = None) -> Attribution:
    """Split the logit difference by component.

    Raises `InputError` for tokens outside the vocabulary and a model without a final norm
    that is known here.
    """
    known = sites(model)
    layers = range(model.architecture.n_layers)
    wanted = [Site("embed"), *(Site("z", layer) for layer in layers), last_residual(model)]
    wanted += [
        site
        for site in (Site("pos_embed"), *(Site("mlp_out", layer) for layer in layers))
        if site in known
    ]
    taken = capture(model, asked.ids, wanted, store, mask=asked.mask)
    reader = reader_of(model, asked, taken[last_residual(model)])

    def share(site: Site) -> Float[Tensor, " batch"]:
        return reader(asked.take(taken[site])) if site in known else torch.zeros_like(reader.logit)

    heads, biases = [], []
    for layer in layers:
        weights = attention_weights(model, layer)
        z = asked.take(taken[Site("z", layer)])
        heads.append((z * reader.through(weights.W_O)).sum(-1))
        biases.append(reader.constant(weights.b_O))
    return Attribution(
        embed=share(Site("embed")),
        pos_embed=share(Site("pos_embed")),
        heads=torch.stack(heads, dim=1),
        attention_bias=torch.stack(biases, dim=1),
        mlps=torch.stack([share(Site("mlp_out", layer)) for layer in layers], dim=1),
        norm_bias=reader.norm_bias,
        unembed_bias=reader.unembed_bias,
        logit_difference=reader.logit,
        capture=taken,
    )


@torch.no_grad()
def over_layers(
    model: Model, asked: Question, store: Store | None = None
) -> Float[Tensor, "batch layer pos"]:
    """The logit difference of the residual after each layer, at every position; NaN at padding.

    Row 0 is the embedding. Each position's final norm is held at its final scale, so that a
    layer's step is what it wrote; at the position asked it is `Attribution.accumulated`.
    """
    layers = [Site("resid_post", layer) for layer in range(model.architecture.n_layers)]
    resids = [Site("resid_pre", 0), *layers]
    taken = capture(model, asked.ids, resids, store, mask=asked.mask)
    scale = norm(model).scale(taken[resids[-1]].float())
    reader = reader_of(model, asked, taken[resids[-1]])
    direction = reader.direction * asked.take(scale)[:, None]
    always = (reader.norm_bias + reader.unembed_bias)[:, None]
    return torch.stack(
        [
            einsum(taken[site].float(), direction, "b pos m, b m -> b pos") / scale + always
            for site in resids
        ],
        dim=1,
    )

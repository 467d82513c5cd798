"""The methods of attribution patching: the change that each cell's patch is estimated to make.

The estimate of a patch is the metric of the base run and a change:

- `AtP` (Nanda 2023): (source - base) . gradient at the base run, all layers from one backward.
- `AtP*` (Kramár et al. 2024): for queries and keys, the attention pattern with the patch is
  computed exactly and its change is dotted with the gradient at the pattern; elsewhere as AtP.
  Its `magnitude` is GradDrop: the mean over layers of |AtP*| with no gradient through what that
  layer's attention and MLP add to the residual stream, so that a direct and an indirect effect
  that cancel are not missed. The node's own layer, without which nothing is left, is not
  counted (the paper's factor 1 / (L - 1)); at sites of the residual stream all layers are.
- `IG` (Sundararajan et al. 2017): the gradient is averaged along the straight line from the base
  to the source activation of the whole site at one layer, all positions and components moving
  together. Its cells share that joint patch's effect out: over a whole site they sum to it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from workbench.hooks import Edit, Start, run
from workbench.patching.attention_correction import (
    KeysMoved,
    PatternMoved,
    Shares,
    attention_moved,
)
from workbench.patching.gradients import summed, tape
from workbench.patching.runs import Runs
from workbench.patching.variants import Variant
from workbench.sites import Site

Cells = Float[Tensor, "component place pair"]


@dataclass
class Count:
    """What was run."""

    forwards: int = 0
    backwards: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Asked:
    """Pairs of one length with the cells that are wanted of them."""

    both: Runs
    positions: Int[Tensor, "pair place"]
    first: Int[Tensor, " pair"]
    steps: int
    at_once: int  # of the steps, in one run
    count: Count

    @property
    def whole(self) -> bool:
        return bool(self.positions[0, 0] < 0)

    def cells(self, shares: Shares) -> Cells:
        """The places wanted of what each position and component contributes.

        Before the first token that differs both runs are one.
        """
        shares = shares.float().cpu()
        apart = torch.arange(shares.shape[1]) >= self.first[:, None]
        shares = shares.where(apart[..., None], 0.0)
        if self.whole:
            found = shares.sum(1, keepdim=True)
        else:
            index = self.positions[..., None].expand(-1, -1, shares.shape[2])
            found = shares.gather(1, index)
        return rearrange(found, "pair place component -> component place pair")


Found = Iterator[tuple[Cells, Cells]]  # change and magnitude, layer by layer


def _linear(asked: Asked) -> Found:
    """AtP."""
    variant, both = asked.both.variant, asked.both
    entries = {layer: variant.enters(layer) for layer in variant.layers}
    taped = tape(both, list(entries.values()))
    _ran(asked.count, both.ids.numel())
    slopes = taped.gradients()
    for layer, site in entries.items():
        apart = _apart(both, layer, taped.activations[site])
        change = asked.cells(_shares(variant, apart * slopes[site].float()))
        yield change, change.abs()


def _corrected(asked: Asked) -> Found:
    """AtP*: the exact pattern for queries and keys, and GradDrop."""
    both, variant = asked.both, asked.both.variant
    n_layers = variant.n_layers
    attends = variant.name in ("q", "k")
    entries = {
        layer: Site("z", layer) if attends else variant.enters(layer) for layer in variant.layers
    }
    taped = tape(both, list(entries.values()), droppable=True)
    asked.count.forwards += 1
    asked.count.tokens += both.ids.numel()
    shares: dict[int, Callable[[Tensor], Shares]] = {}
    for layer, site in entries.items():
        if attends:
            moved = attention_moved(both, layer, whole=asked.whole)
            shares[layer] = partial(_chosen, variant, moved)
        else:
            apart = _apart(both, layer, taped.activations[site])
            shares[layer] = partial(_dotted, variant, apart)

    def estimated(without: int | None) -> dict[int, Cells]:
        slopes = taped.gradients(without)
        asked.count.backwards += 1
        return {layer: asked.cells(shares[layer](slopes[site])) for layer, site in entries.items()}

    change = estimated(None)
    sizes = {layer: torch.zeros_like(cells) for layer, cells in change.items()}
    lowest = min(site.layer or 0 for site in entries.values())
    for without in range(n_layers):
        found = change if without < lowest else estimated(without)
        for layer, cells in found.items():
            if without != layer or _in_stream(variant):
                sizes[layer] += cells.abs()
    counted = n_layers if _in_stream(variant) else n_layers - 1
    for layer in variant.layers:
        yield change[layer], sizes[layer] / counted if counted else change[layer].abs()


def _integrated(asked: Asked) -> Found:
    """Integrated gradients, by the midpoint rule."""
    both = asked.both
    for layer in both.variant.layers:
        site = both.variant.enters(layer)
        assert site.layer is not None
        start = Start(site.layer, both.resid[Site("resid_pre", site.layer)])
        base = run(both.model, both.ids, read=site, start=start)[site]
        apart = _apart(both, layer, base)
        slopes = torch.zeros_like(apart)
        for first in range(0, asked.steps, asked.at_once):
            numbers = range(first, min(first + asked.at_once, asked.steps))
            shares = [(number + 0.5) / asked.steps for number in numbers]
            slopes += _slopes_along(asked, site, base, apart, shares)
        change = asked.cells(_shares(both.variant, apart * slopes / asked.steps))
        yield change, change.abs()


METHODS: Mapping[str, Callable[[Asked], Found]] = {
    "AtP": _linear,
    "AtP*": _corrected,
    "IG": _integrated,
}
"""All methods by the name under which commands and pages show them."""


def _slopes_along(
    asked: Asked, site: Site, base: Tensor, apart: Tensor, shares: Sequence[float]
) -> Tensor:
    """The sum of the gradients at some points of the line from base to source."""
    both, n_pairs = asked.both, len(asked.both.ids)
    assert site.layer is not None
    rows = torch.arange(n_pairs).repeat(len(shares))
    between = torch.cat([(base + share * apart).to(base.dtype) for share in shares])
    leaf = between.detach().requires_grad_()
    resid = both.resid[Site("resid_pre", site.layer)][rows]
    ran = run(
        both.model,
        both.ids[rows],
        edit=Edit(site, lambda _: leaf),
        start=Start(site.layer, resid),
        logits_at=None if both.columns is None else both.columns[rows],
        grad=True,
    )
    assert ran.logits is not None, "a run without reads goes on to the logits"
    (slopes,) = torch.autograd.grad(summed(both.metric, ran.logits, both.wanted.of(rows)), leaf)
    _ran(asked.count, len(rows) * both.ids.shape[1])
    return slopes.float().unflatten(0, (len(shares), n_pairs)).sum(0)


def _ran(count: Count, tokens: int) -> None:
    """One forward and one backward."""
    count.forwards += 1
    count.backwards += 1
    count.tokens += tokens


def _apart(both: Runs, layer: int, base: Tensor) -> Tensor:
    """Source less base activation, in float32."""
    return both.source[both.variant.site(layer)].float() - base.detach().float()


def _chosen(variant: Variant, moved: PatternMoved | KeysMoved, at_z: Tensor) -> Shares:
    return moved.shares(at_z)[..., list(variant.components)]


def _dotted(variant: Variant, apart: Tensor, slope: Tensor) -> Shares:
    return _shares(variant, apart * slope.float())


def _shares(variant: Variant, products: Tensor) -> Shares:
    """What each position and chosen component contributes, of products at every number."""
    by_position = products.transpose(1, 2) if variant.name == "pattern" else products
    if variant.labels == ("",):
        return by_position.sum(-1, keepdim=True)
    each = by_position if variant.name == "mlp_post" else by_position.sum(-1)
    return each[..., list(variant.components)]


def _in_stream(variant: Variant) -> bool:
    return variant.name.startswith("resid_")

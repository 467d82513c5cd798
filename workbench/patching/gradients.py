"""The metric of a run as a function that can be differentiated at the activations within it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.hooks import Edit, Start, run, sites
from workbench.models import Model
from workbench.patching.metric import Metric, Wanted
from workbench.patching.runs import Runs
from workbench.sites import Site


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """No parameter takes a gradient inside; afterwards each does that did before."""
    with model.lock:
        model.fresh_bridge()
        # The bridge may hold copies of its own: GPT-NeoX' split QKV.
        trees = (model.weights, model.bridge)
        flags = {p: p.requires_grad for tree in trees for p in tree.parameters()}
        try:
            for parameter in flags:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter, flag in flags.items():
                parameter.requires_grad_(flag)


@dataclass
class _Dropped:
    """The layer whose contribution passes no gradient on, while one is taken."""

    layer: int | None = None

    def mark(self, tensor: Tensor, layer: int) -> Tensor:
        tensor.register_hook(partial(self._slope, layer=layer))
        return tensor

    def _slope(self, slope: Tensor, layer: int) -> Tensor | None:
        return torch.zeros_like(slope) if layer == self.layer else None


@dataclass(frozen=True)
class Tape:
    """One base run of all pairs, kept for as many backward passes as are asked for."""

    both: Runs
    activations: Mapping[Site, Tensor]
    logits: Tensor
    total: Float[Tensor, ""]
    dropped: _Dropped = field(default_factory=_Dropped)

    def gradients(self, without: int | None = None) -> Mapping[Site, Tensor]:
        """Of each pair's metric at every site taped, from one backward pass.

        `without` a layer, nothing flows through what its attention and its MLP add to the
        residual stream. Raises `InputError` for a metric that is flat at the base run.
        """
        self.dropped.layer = without
        at = [*self.activations.values(), self.logits]
        *slopes, last = torch.autograd.grad(self.total, at, retain_graph=True)
        check_slope(self.both.metric, last)
        return dict(zip(self.activations, slopes, strict=True))


def tape(both: Runs, wanted: Sequence[Site], *, droppable: bool = False) -> Tape:
    """Run the base prompts with gradients at some sites, from the lowest layer wanted on.

    Rows do not mix, so the gradient of the metrics' sum is each pair's own.
    """
    lowest = min(site.layer or 0 for site in wanted)
    resid = both.resid[Site("resid_pre", lowest)].detach().clone().requires_grad_()
    dropped = _Dropped()
    edits = _droppers(both.model, dropped, lowest) if droppable else []
    # An edit that changes nothing: what is read is then what the model computes on with.
    edits += [Edit(site, _itself) for site in wanted]
    ran = run(
        both.model,
        both.ids,
        read=wanted,
        edit=edits,
        start=Start(lowest, resid),
        logits_at=both.columns,
        stop="never",
        grad=True,
    )
    assert ran.logits is not None, "nothing stops this run"
    total = summed(both.metric, ran.logits, both.wanted)
    return Tape(both, {site: ran[site] for site in wanted}, ran.logits, total, dropped)


def check_slope(metric: Metric, at_logits: Tensor) -> None:
    """Raise `InputError` where the metric is flat: its gradient at the logits is 0."""
    if not bool(at_logits.any()):
        raise InputError(
            f"the metric {metric.name} is flat at the base run (its gradient is 0), so every "
            "estimate would be 0; give another metric or direction, or a method along the line "
            "(IG, EAP-IG)"
        )


def summed(metric: Metric, logits: Tensor, wanted: Wanted) -> Float[Tensor, ""]:
    """The metric of all rows together. Raises `InputError` where it has no gradient."""
    with torch.enable_grad():
        total = metric(logits, wanted).sum()
    if not total.requires_grad:
        raise InputError(
            f"the metric {metric.name} has no gradient, so nothing can be estimated from it; "
            "give one that changes smoothly with the logits, such as logit difference, or run the "
            "exact sweep"
        )
    return total


def _droppers(model: Model, dropped: _Dropped, lowest: int) -> list[Edit]:
    """Marks on what each block's attention and MLP write."""
    known = sites(model)
    return [
        Edit(site, partial(dropped.mark, layer=layer))
        for layer in range(lowest, model.architecture.n_layers)
        for site in (Site("attn_out", layer), Site("mlp_out", layer))
        if site in known
    ]


def _itself(tensor: Tensor) -> Tensor:
    return tensor

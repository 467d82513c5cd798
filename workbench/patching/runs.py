"""The two runs of some pairs, and what a patched run needs of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.cache import Store, capture
from workbench.hooks import Edit, Past, Start, run
from workbench.models import Model
from workbench.patching.metric import Metric, Wanted, wanted_of
from workbench.patching.rows import Rows
from workbench.patching.variants import Variant
from workbench.sites import Site
from workbench.tasks import Pair


@dataclass(frozen=True)
class Runs:
    """Pairs of one length: the run that is patched (`base`), and what is taken of the other."""

    model: Model
    variant: Variant
    metric: Metric
    ids: Int[Tensor, "pair pos"]
    resid: Mapping[Site, Float[Tensor, "pair pos d_model"]]
    source: Mapping[Site, Float[Tensor, "pair ..."]]
    past: Past | None
    logits: Float[Tensor, "pair kept d_vocab"]
    wanted: Wanted
    columns: Int[Tensor, "pair 1"] | None
    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]
    base: Float[Tensor, " pair"]

    @property
    def n_bytes(self) -> int:
        """What is held for as long as these pairs are swept."""
        kept = [*self.resid.values(), *self.source.values(), self.logits, self.wanted.clean]
        if self.past is not None:
            kept += [*self.past.keys, *self.past.values]
        return sum(tensor.nbytes for tensor in kept)

    def patched(self, layer: int, begin: int, rows: Rows) -> Float[Tensor, " row"]:
        """The metric of patched runs at one layer, computed from position `begin` on."""
        enters = self.variant.enters(layer)
        start, source = Site("resid_pre", enters.layer), self.source[self.variant.site(layer)]
        resid = self.resid[start][rows.pair, begin:]
        put = partial(self.variant.put, source=source, rows=rows, begin=begin)
        if enters == start:
            edits, resid = (), put(resid)
        else:
            edits = (Edit(enters, put),)
        assert start.layer is not None
        columns = None if self.columns is None else self.columns[rows.pair] - begin
        ran = run(
            self.model,
            self.ids[rows.pair, begin:],
            edit=edits,
            start=Start(start.layer, resid),
            past=self._past(start.layer, begin, rows) if begin else None,
            logits_at=columns,
        )
        logits = ran.logits
        assert logits is not None, "a run without reads goes on to the logits"
        if columns is None and begin:
            logits = torch.cat([self.logits[rows.pair, :begin], logits], dim=1)
        return self.metric(logits, self.wanted.of(rows.pair))

    def _past(self, layer: int, begin: int, rows: Rows) -> Past:
        """The base run's keys and values before `begin`; below `layer` nobody looks at them."""
        assert self.past is not None
        parts = []
        for tensors in (self.past.keys, self.past.values):
            none = tensors[0][:1, :, :begin].expand(len(rows), -1, -1, -1)
            needed = [tensor[:, :, :begin][rows.pair] for tensor in tensors[layer:]]
            parts.append((*[none] * layer, *needed))
        return Past(*parts)


def runs_of(
    model: Model,
    pairs: Sequence[Pair],
    variant: Variant,
    metric: Metric,
    *,
    denoising: bool,
    store: Store | None,
) -> Runs:
    """Run both prompts of each pair; all pairs must have as many tokens."""
    clean, corrupted = (
        torch.tensor([getattr(pair, side).ids for pair in pairs], device=model.device)
        for side in ("clean", "corrupted")
    )
    base, other = (corrupted, clean) if denoising else (clean, corrupted)
    starts = [Site("resid_pre", variant.enters(layer).layer) for layer in variant.layers]
    resid = capture(model, base, starts, store)
    source = capture(model, other, [variant.site(layer) for layer in variant.layers], store)
    columns = metric.columns(pairs)
    caches = model.bridge_road.caches
    ran = run(model, base, logits_at=columns, keep_past=caches)
    also = run(model, other, logits_at=columns)
    assert ran.logits is not None and also.logits is not None
    wanted = wanted_of(pairs, also.logits if denoising else ran.logits)
    here, there = metric(ran.logits, wanted), metric(also.logits, wanted)
    return Runs(
        model=model,
        variant=variant,
        metric=metric,
        ids=base,
        resid=resid.activations,
        source=source.activations,
        past=ran.past,
        logits=ran.logits,
        wanted=wanted,
        columns=columns,
        clean=there if denoising else here,
        corrupted=here if denoising else there,
        base=here,
    )

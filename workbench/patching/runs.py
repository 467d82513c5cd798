"""The two runs of some pairs, and what a patched run needs of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.cache import Store, capture
from workbench.errors import InputError
from workbench.hooks import Edit, Past, Start, run
from workbench.models import Model
from workbench.patching.metric import Metric, Wanted, wanted_of
from workbench.patching.rows import Rows
from workbench.patching.variants import Variant
from workbench.sites import Site
from workbench.tasks import Pair

Direction = Literal["denoising", "noising"]


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

    def patched(self, begin: int, rows: Rows) -> Float[Tensor, " row"]:
        """The metric of patched runs, lowest layer first, computed from position `begin` on."""
        starts: list[Start] = []
        edits: list[Edit] = []
        layers, counts = rows.layer.unique_consecutive(return_counts=True)
        first = 0
        for number, count in zip(layers.tolist(), counts.tolist(), strict=True):
            here = slice(first, first + count)
            start, edit = self._start(self.variant.layers[number], begin, rows.of(here), here)
            if starts and starts[-1].layer == start.layer:  # resid_post of the last layer
                start = Start(start.layer, torch.cat([starts.pop().resid, start.resid]))
            starts.append(start)
            edits += edit
            first += count
        columns = None if self.columns is None else self.columns[rows.pair] - begin
        ran = run(
            self.model,
            self.ids[rows.pair, begin:],
            edit=edits,
            start=starts,
            past=self._past(starts, begin, rows) if begin else None,
            logits_at=columns,
        )
        logits = ran.logits
        assert logits is not None, "a run without reads goes on to the logits"
        if columns is None and begin:
            logits = torch.cat([self.logits[rows.pair, :begin], logits], dim=1)
        return self.metric(logits, self.wanted.of(rows.pair))

    def _start(self, layer: int, begin: int, rows: Rows, here: slice) -> tuple[Start, list[Edit]]:
        """Where rows of one layer start, and the edit that patches them where that is later."""
        enters = self.variant.enters(layer)
        start, source = Site("resid_pre", enters.layer), self.source[self.variant.site(layer)]
        resid = self.resid[start][rows.pair, begin:]
        assert start.layer is not None
        if enters == start:
            return Start(start.layer, self.variant.put(resid, source, rows, begin)), []

        def put(tensor: Tensor) -> Tensor:
            self.variant.put(tensor[here], source, rows, begin)
            return tensor

        return Start(start.layer, resid), [Edit(enters, put)]

    def _past(self, starts: Sequence[Start], begin: int, rows: Rows) -> Past:
        """The base run's keys and values before `begin`, for the rows that are at each layer."""
        assert self.past is not None
        counts = torch.zeros(len(self.past.keys), dtype=torch.long)
        counts[[start.layer for start in starts]] = torch.tensor([len(s.resid) for s in starts])
        there = counts.cumsum(0).tolist()
        # Below the first start nobody looks at them.
        none = self.past.keys[0][:1, :, :begin].expand(there[starts[0].layer], -1, -1, -1)
        return Past(
            *(
                tuple(
                    tensor[:, :, :begin][rows.pair[:n]] if n else none
                    for tensor, n in zip(tensors, there, strict=True)
                )
                for tensors in (self.past.keys, self.past.values)
            )
        )


def runs_of(
    model: Model,
    pairs: Sequence[Pair],
    variant: Variant,
    metric: Metric,
    *,
    direction: Direction,
    store: Store | None,
) -> Runs:
    """Run both prompts of each pair; all pairs must have as many tokens.

    Raises `InputError` for another direction.
    """
    if direction not in ("denoising", "noising"):
        raise InputError(f"direction {direction!r} is not one of denoising, noising")
    denoising = direction == "denoising"
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

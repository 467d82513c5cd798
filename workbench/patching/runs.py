"""The two runs of some pairs, and what a patched run needs of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.cache import Store, capture
from workbench.errors import InputError
from workbench.hooks import Edit, Past, Run, Start, run
from workbench.models import Model
from workbench.patching.memory import LOGITS
from workbench.patching.metric import Metric, Wanted, taken, wanted_of
from workbench.patching.rows import Rows
from workbench.patching.variants import Variant
from workbench.sites import Site
from workbench.tasks import Pair

Direction = Literal["denoising", "noising"]


@dataclass(frozen=True)
class Runs:
    """Pairs of one length: the run that is patched (`base`), and what is taken of the other.

    Where `tokens` are given, `logits` and `wanted` are of these alone.
    """

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
    tokens: Int[Tensor, " token"] | None
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
            past=self.past.upto(begin).of(rows.pair) if self.past and begin else None,
            logits_at=columns,
            logits_of=self.tokens,
        )
        assert ran.logits is not None, "a run without reads goes on to the logits"
        return self._judged(ran.logits, begin, rows.pair)

    def _judged(
        self, logits: Float[Tensor, "row kept d_vocab"], begin: int, pair: Int[Tensor, " row"]
    ) -> Float[Tensor, " row"]:
        """The metric, of a few rows at a time: over all positions logits are large."""
        most = max(1, LOGITS // self.logits[0].numel())
        found = []
        for some, index in zip(logits.split(most), pair.split(most), strict=True):
            if self.columns is None and begin:
                some = torch.cat([taken(self.logits[:, :begin], index), some], dim=1)
            found.append(self.metric(some, self.wanted.of(index)))
        return torch.cat(found)

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


def runs_of(
    model: Model,
    pairs: Sequence[Pair],
    variant: Variant,
    metric: Metric,
    *,
    direction: Direction,
    store: Store | None,
    few: bool = False,
) -> Runs:
    """Run both prompts of each pair; all pairs must have as many tokens.

    `few` leaves out the logits of all tokens that the metric does not look at.
    Raises `InputError` for another direction.
    """
    base, other = base_and_source(pairs, direction, model.device)
    denoising = direction == "denoising"
    columns, tokens = metric.columns(pairs), metric.tokens(pairs) if few else None
    run_to = partial(_ran, model, store=store, columns=columns, tokens=tokens)
    starts = [Site("resid_pre", variant.enters(layer).layer) for layer in variant.layers]
    resid, ran = run_to(base, starts, keep_past=model.bridge_road.caches)
    source, also = run_to(other, [variant.site(layer) for layer in variant.layers])
    assert ran.logits is not None and also.logits is not None
    wanted = wanted_of(pairs, also.logits if denoising else ran.logits)
    if tokens is not None:
        wanted = wanted.among(tokens.to(model.device))
    here, there = metric(ran.logits, wanted), metric(also.logits, wanted)
    return Runs(
        model=model,
        variant=variant,
        metric=metric,
        ids=base,
        resid=resid,
        source=source,
        past=ran.past,
        logits=ran.logits,
        wanted=wanted,
        columns=columns,
        tokens=tokens,
        clean=there if denoising else here,
        corrupted=here if denoising else there,
        base=here,
    )


def base_and_source(
    pairs: Sequence[Pair], direction: Direction, device: torch.device
) -> tuple[Int[Tensor, "pair pos"], Int[Tensor, "pair pos"]]:
    """The prompts that are patched, and those that are patched from, of pairs of one length.

    Raises `InputError` for another direction.
    """
    if direction not in ("denoising", "noising"):
        raise InputError(f"direction {direction!r} is not one of denoising, noising")
    sides = ("corrupted", "clean") if direction == "denoising" else ("clean", "corrupted")
    base, source = (
        torch.tensor([getattr(pair, side).ids for pair in pairs], device=device) for side in sides
    )
    return base, source


def _ran(
    model: Model,
    ids: Int[Tensor, "pair pos"],
    sites: Sequence[Site],
    *,
    store: Store | None,
    columns: Int[Tensor, "pair 1"] | None,
    tokens: Int[Tensor, " token"] | None,
    keep_past: bool = False,
) -> tuple[Mapping[Site, Tensor], Run]:
    """What stands at the sites, and the run to the logits: one forward without a store."""
    found = None if store is None else capture(model, ids, sites, store).activations
    ran = run(
        model,
        ids,
        read=sites if found is None else (),
        logits_at=columns,
        logits_of=tokens,
        keep_past=keep_past,
        stop="never",
    )
    return (ran.activations if found is None else found), ran

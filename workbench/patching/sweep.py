"""`sweep`: exact activation patching at many sites, many sites to a forward.

Each number is what one forward of its own would give (Meng et al. 2022, Wang et al. 2022): the
base run with one activation taken from the other run of the pair. A row starts at the patched
layer from the base run's residual and at the first position that can change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.cache import Progress, Store
from workbench.cache.resources import Spent, spending
from workbench.models import Model
from workbench.patching.memory import (
    bytes_each,
    bytes_kept,
    bytes_run,
    held_by,
    tokens_at_once,
)
from workbench.patching.metric import Measure, Metric
from workbench.patching.places import Places, positions_of
from workbench.patching.rows import batches, rows_of
from workbench.patching.runs import Direction, runs_of
from workbench.patching.statistics import Interval, check_anchors, normalised
from workbench.patching.variants import variant_of
from workbench.sites import Site
from workbench.tasks import Pairs


@dataclass(frozen=True)
class Sweep:
    """The metric of every patched run, `[layer, component, place, pair]`, and both anchors.

    Components are heads or neurons (one without a name where a site has neither), places are
    positions (one, `all`, where all are patched together). `forwards` and `tokens` count what
    was run; `predicted` and `spent` are bytes, and seconds, of this process.
    """

    site: str
    metric: str
    at: str
    direction: Direction
    layers: tuple[int, ...]
    components: tuple[str, ...]
    places: tuple[str, ...]
    values: Float[Tensor, "layer component place pair"]
    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]
    forwards: int
    tokens: int
    predicted: int
    spent: Spent

    @property
    def changes(self) -> Float[Tensor, "layer component place pair"]:
        """How far each patch moves the metric from the base run."""
        return self.values - (self.corrupted if self.direction == "denoising" else self.clean)

    @property
    def nothing(self) -> float:
        """The effect of a patch that changes nothing."""
        return 0.0 if self.direction == "denoising" else 1.0

    def name(self, layer: int, component: int, *, long: bool = False) -> str:
        """What is patched in a cell: `5.resid_pre`, `L5H1.z`; `long` as its hook is called.

        Layer and component are counted in the sweep.
        """
        part = self.components[component]
        site = Site(self.site, self.layers[layer])
        if long:
            return f"{site.long} {part}".rstrip()
        if part.startswith("H"):
            return str(Site(site.name, site.layer, int(part[1:])))
        return f"{site} {part}".rstrip()

    def effects(self, *, confidence: float = 0.95, seed: int = 0) -> Interval:
        """Where each patch brings the mean metric: 0 is corrupted, 1 is clean, with intervals.

        `[layer, component, place]`, in either direction on the same scale.
        """
        return normalised(self.values, self.clean, self.corrupted, confidence=confidence, seed=seed)


def sweep(
    model: Model,
    pairs: Pairs,
    site: str,
    *,
    metric: str | Metric | Measure = "logit difference",
    direction: Direction = "denoising",
    places: Places = "each",
    layers: Sequence[int] | None = None,
    components: Sequence[int] | None = None,
    store: Store | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Patch `site` (such as `resid_pre`, `z`, `mlp_post`) at every layer, place and component.

    `denoising` puts clean activations into the corrupted run, `noising` the other way round. A
    metric without a place is taken at each prompt's end; one of your own is a function of
    logits over all positions (see `Metric`). `places` are "each" position, "all" together,
    or names and numbers that each pair knows; `layers` and `components` (heads, neurons) are
    all by default. `memory` bounds the bytes a forward may take. Raises `InputError` for what
    the model or a pair lacks, anchors that are equal, and values that are not finite.
    """
    judged = Metric.of(metric)
    patched = variant_of(model, site, layers, components)
    names, positions = positions_of(pairs, places)
    values = torch.empty(len(patched.layers), len(patched.components), len(names), len(pairs))
    clean, corrupted = torch.empty(len(pairs)), torch.empty(len(pairs))
    held = held_by(model)
    done = forwards = tokens = predicted = 0
    with spending(model.device) as spent:
        for length, index, most in _groups(model, pairs, judged, memory):
            some = [pairs.rows[i] for i in index]
            both = runs_of(model, some, patched, judged, direction=direction, store=store, few=True)
            clean[index], corrupted[index] = both.clean.cpu(), both.corrupted.cpu()
            rows = rows_of(
                positions[index],
                torch.tensor([pair.first for pair in some]),
                None if both.columns is None else both.columns[:, 0],
                len(patched.layers),
                len(patched.components),
            )
            together = list(batches(rows, length, most, reuse=both.past is not None))
            sizes = [(len(some), 0), *((len(batch), begin) for begin, batch in together)]
            needed = [bytes_run(model, both.logits, n, length, begin) for n, begin in sizes]
            predicted = max(predicted, both.n_bytes + max(needed))
            where = torch.tensor(index)
            values[..., where] = both.base.cpu()
            done += values[..., where].numel() - len(rows)
            for begin, batch in together:
                place = (batch.layer, batch.component, batch.place, where[batch.pair])
                values[place] = both.patched(begin, batch).cpu()
                forwards, tokens = forwards + 1, tokens + len(batch) * (length - begin)
                done += len(batch)
                if progress is not None:
                    progress(done, values.numel())
    check_anchors(clean, corrupted)
    return Sweep(
        site=patched.name,
        metric=judged.name,
        at=str(judged.at),
        direction=direction,
        layers=patched.layers,
        components=patched.labels,
        places=names,
        values=values,
        clean=clean,
        corrupted=corrupted,
        forwards=forwards,
        tokens=tokens,
        predicted=held + predicted,
        spent=spent,
    )


def _groups(
    model: Model, pairs: Pairs, metric: Metric, memory: int | None
) -> Iterator[tuple[int, list[int], int]]:
    """Pairs of one length that are held together: length, which, tokens at once."""
    few = metric.tokens(pairs.rows) is not None
    for length, index in pairs.by_length.items():
        each = bytes_each(model, length, few=few)
        kept = bytes_kept(model, length, few=few, everywhere=metric.everywhere)
        most = tokens_at_once(model, memory, each + kept, length)
        for first in range(0, len(index), most // length):
            yield length, index[first : first + most // length], most

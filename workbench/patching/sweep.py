"""`sweep`: exact activation patching at many sites, many sites to a forward.

Each number is what one forward of its own would give (Meng et al. 2022, Wang et al. 2022): the
base run with one activation taken from the other run of the pair. A row starts at the patched
layer from the base run's residual and at the first position that can change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.cache import Progress, Store
from workbench.cache.resources import Spent, free_device, free_host, resident, spending
from workbench.errors import InputError
from workbench.models import Model
from workbench.patching.metric import Measure, Metric
from workbench.patching.rows import batches, rows_of
from workbench.patching.runs import runs_of
from workbench.patching.statistics import Interval, check_anchors, normalised
from workbench.patching.variants import variant_of
from workbench.tasks import Pairs

Direction = Literal["denoising", "noising"]
Places = Literal["each", "all"] | Sequence[str | int]
TOKENS, TOKENS_ON_DEVICE = 1024, 2**14  # in one forward, where memory allows


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
    judged = _metric(metric)
    if direction not in ("denoising", "noising"):
        raise InputError(f"direction {direction!r} is not one of denoising, noising")
    patched = variant_of(model, site, layers, components)
    names, positions = _positions(pairs, places)
    values = torch.empty(len(patched.layers), len(patched.components), len(names), len(pairs))
    clean, corrupted = torch.empty(len(pairs)), torch.empty(len(pairs))
    held = _held(model)
    done = forwards = tokens = predicted = 0
    with spending(model.device) as spent:
        for length, index in pairs.by_length.items():
            some = [pairs.rows[i] for i in index]
            both = runs_of(
                model, some, patched, judged, denoising=direction == "denoising", store=store
            )
            clean[index], corrupted[index] = both.clean.cpu(), both.corrupted.cpu()
            each = _bytes_each(model, length, judged.everywhere)
            most = _most(model, memory, each, length)
            predicted = max(predicted, both.n_bytes + most * each)
            rows = rows_of(
                positions[index],
                torch.tensor([pair.first for pair in some]),
                None if both.columns is None else both.columns[:, 0],
                len(patched.layers),
                len(patched.components),
            )
            where = torch.tensor(index)
            values[..., where] = both.base.cpu()
            done += values[..., where].numel() - len(rows)
            for begin, batch in batches(rows, length, most, reuse=both.past is not None):
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


def _metric(given: str | Metric | Measure) -> Metric:
    if isinstance(given, Metric):
        return given
    if isinstance(given, str):
        return Metric.named(given)
    return Metric(getattr(given, "__name__", "a metric of your own"), given, at="all")


def _positions(pairs: Pairs, places: Places) -> tuple[tuple[str, ...], Int[Tensor, "pair place"]]:
    """Names of the places, and each pair's position there; -1 for all positions together."""
    if isinstance(places, str):
        if places not in ("each", "all"):
            raise InputError(f"places {places!r} are not one of each, all, or a list of places")
        if places == "all":
            return ("all",), torch.full((len(pairs), 1), -1)
        if len(pairs.by_length) > 1:
            raise InputError(
                f"prompts of {', '.join(map(str, pairs.by_length))} tokens have no positions in "
                f"common; name places, such as {', '.join(pairs.places)}, or patch all together"
            )
        length = next(iter(pairs.by_length))
        return tuple(map(str, range(length))), torch.arange(length).repeat(len(pairs), 1)
    if not places:
        raise InputError("no place is named; give at least one, or each, or all")
    positions = torch.tensor([[pair.at(place) for place in places] for pair in pairs])
    return tuple(map(str, places)), positions


def _held(model: Model) -> int:
    """Bytes held now where the model computes."""
    now = resident(model.device)
    return now.host if model.device.type == "cpu" else now.device


def _most(model: Model, memory: int | None, bytes_each: int, length: int) -> int:
    """Tokens in one forward. Raises `InputError` where not even one row fits."""
    on_cpu = model.device.type == "cpu"
    free = free_host() if on_cpu else free_device(model.device)
    allowed = memory if memory is not None else (free or 2**32) // 2
    most = allowed // bytes_each
    if most < length:
        raise InputError(
            f"one patched run of {length} tokens takes some {length * bytes_each / 1e6:,.0f} MB, "
            f"{allowed / 1e6:,.0f} MB are allowed; give more memory, or shorter prompts"
        )
    return min(most, max(length, TOKENS if on_cpu else TOKENS_ON_DEVICE))


def _bytes_each(model: Model, length: int, everywhere: bool) -> int:
    """What a token of a patched run takes at its worst moment, about."""
    sizes, item = model.architecture, model.dtype.itemsize
    block = 10 * sizes.d_model + 4 * sizes.d_mlp + 3 * sizes.n_heads * length
    past = 4 * sizes.n_layers * sizes.n_kv_heads * sizes.d_head
    logits = sizes.d_vocab * (item + 8)  # and twice in float32
    return item * (block + past) + (logits if everywhere else -(-logits // length))

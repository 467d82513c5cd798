"""`attribute_patches`: what a sweep would give, estimated from gradients of few runs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from workbench.cache import Progress, Store
from workbench.cache.resources import spending
from workbench.errors import InputError
from workbench.models import Model
from workbench.patching.estimate import Estimate
from workbench.patching.gradients import frozen
from workbench.patching.memory import held_by, tokens_at_once
from workbench.patching.methods import METHODS, Asked, Count
from workbench.patching.metric import Measure, Metric, kl
from workbench.patching.places import Places, positions_of
from workbench.patching.runs import Direction, runs_of
from workbench.patching.statistics import check_anchors
from workbench.patching.variants import variant_of
from workbench.tasks import Pairs


def attribute_patches(
    model: Model,
    pairs: Pairs,
    site: str,
    *,
    metric: str | Metric | Measure = "logit difference",
    direction: Direction = "denoising",
    places: Places = "each",
    layers: Sequence[int] | None = None,
    components: Sequence[int] | None = None,
    method: str = "AtP",
    steps: int = 16,
    store: Store | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Estimate:
    """Estimate `sweep` with the same arguments; `steps` are those of IG.

    Raises `InputError` as `sweep` does, and for a metric without gradient or flat at the base
    run. Parameters and their gradients stay as they were, whatever happens.
    """
    judged = Metric.of(metric)
    _check_method(method, steps, judged, direction)
    patched = variant_of(model, site, layers, components)
    names, positions = positions_of(pairs, places)
    change = torch.empty(len(patched.layers), len(patched.components), len(names), len(pairs))
    magnitude = torch.empty_like(change)
    clean, corrupted = torch.empty(len(pairs)), torch.empty(len(pairs))
    held, count, predicted = held_by(model), Count(), 0
    groups = _groups(model, pairs, memory, judged.everywhere)
    done, total = 0, len(patched.layers) * len(groups)
    with spending(model.device) as spent:
        for index, most, each in groups:
            some = [pairs.rows[i] for i in index]
            both = runs_of(model, some, patched, judged, direction=direction, store=store)
            clean[index], corrupted[index] = both.clean.cpu(), both.corrupted.cpu()
            first = torch.tensor([pair.first for pair in some])
            at_once = min(steps, most // both.ids.numel()) if method == "IG" else 1
            asked = Asked(both, positions[index], first, steps, at_once, count)
            predicted = max(predicted, both.n_bytes + at_once * both.ids.numel() * each)
            where = torch.tensor(index)
            with frozen(model):
                for number, found in enumerate(METHODS[method](asked)):
                    change[number][..., where], magnitude[number][..., where] = found
                    done += 1
                    if progress is not None:
                        progress(done, total)
    check_anchors(clean, corrupted)
    _check_finite(change, judged, site)
    base = corrupted if direction == "denoising" else clean
    return Estimate(
        site=patched.name,
        metric=judged.name,
        at=str(judged.at),
        direction=direction,
        layers=patched.layers,
        components=patched.labels,
        places=names,
        values=base + change,
        clean=clean,
        corrupted=corrupted,
        forwards=count.forwards,
        tokens=count.tokens,
        predicted=held + predicted,
        spent=spent,
        method=method,
        magnitude=magnitude,
        backwards=count.backwards,
        steps=steps if method == "IG" else None,
    )


def _groups(
    model: Model, pairs: Pairs, memory: int | None, everywhere: bool
) -> list[tuple[list[int], int, int]]:
    """Pairs of one length that fit into one run with gradients; its tokens, and bytes of each."""
    groups = []
    for length, index in pairs.by_length.items():
        each = _bytes_each(model, length, everywhere)
        most = tokens_at_once(model, memory, each, length)
        at_once = most // length
        groups += [
            (index[first : first + at_once], most, each) for first in range(0, len(index), at_once)
        ]
    return groups


def _bytes_each(model: Model, length: int, everywhere: bool) -> int:
    """What a token of a run kept for its gradients takes, about."""
    sizes, item = model.architecture, model.dtype.itemsize
    block = 20 * sizes.d_model + 6 * sizes.d_mlp + 4 * sizes.n_heads * length
    logits = sizes.d_vocab * (2 * item + 16)
    return item * sizes.n_layers * block + (logits if everywhere else -(-logits // length))


def _check_method(method: str, steps: int, metric: Metric, direction: Direction) -> None:
    if method not in METHODS:
        raise InputError(f"method {method!r} is not one of {', '.join(METHODS)}")
    if steps < 1:
        raise InputError(f"integrated gradients in {steps} steps; give at least 1")
    if method != "IG" and metric.measure is kl and direction == "noising":
        raise InputError(
            f"{metric.name} against the clean run is flat at the clean run, where noising begins, "
            f"so {method} would give 0; give another metric, denoising, or method IG"
        )


def _check_finite(change: Tensor, metric: Metric, site: str) -> None:
    wrong = int((~change.isfinite()).sum())
    if wrong:
        raise InputError(
            f"the gradient of {metric.name} at {site} is not finite in {wrong} of "
            f"{change.numel()} cells; load the model in float32, or look at the metric"
        )

"""`align`: the subspace of one activation in which the answer lies (distributed alignment search).

Patching a whole activation shows that it carries the answer; here a small subspace of it is
learned whose exchange alone carries it too (Geiger, Wu, Potts, Icard and Goodman 2024, arXiv
2303.02536). What was learned is judged on pairs that training did not see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from workbench.cache import Progress, Store
from workbench.errors import InputError
from workbench.models import Model
from workbench.patching.interchange import Basis, Cases, cases_of, prefers_answer
from workbench.patching.metric import Metric
from workbench.patching.runs import Direction
from workbench.patching.statistics import Interval, check_anchors, normalised
from workbench.patching.subspace import Subspace, descend, random_bases
from workbench.patching.variants import SWEPT, Variant, variant_of
from workbench.tasks import Pairs

_DRAWS = 10  # random subspaces beside the learned one
_LEAST = 2  # pairs to learn from, and to judge by: one alone has no interval


@dataclass(frozen=True)
class Outcome:
    """Held-out pairs after an interchange: the metric, and whether the source's answer won."""

    values: Float[Tensor, "draw pair"]
    right: Bool[Tensor, "draw pair"]


@dataclass(frozen=True)
class Alignment:
    """A learned subspace and what its interchange does to pairs that were held out.

    `basis` has orthonormal columns; the heads of a site are one vector, one behind the other.
    `losses` are nats, each before its step. `trained` and `held_out` number the pairs given;
    `clean`, `corrupted` and the outcomes have the latter's order. Outcomes are those of the
    `learned` subspace, of `random` ones of the same size (the only one of several draws), of
    the `whole` activation (plain patching) and of `none` (the base run).
    """

    site: str
    place: str
    metric: str
    at: str
    direction: Direction
    basis: Basis
    losses: Float[Tensor, " step"]
    trained: tuple[int, ...]
    held_out: tuple[int, ...]
    outcomes: Mapping[str, Outcome]
    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]

    def accuracies(self, *, confidence: float = 0.95, seed: int = 0) -> dict[str, Interval]:
        """The share of pairs that give the source's answer: each outcome's, `[draw]`."""
        all_right = torch.ones(len(self.clean))
        return {
            name: normalised(
                found.right.float(),
                all_right,
                torch.zeros_like(all_right),
                confidence=confidence,
                seed=seed,
            )
            for name, found in self.outcomes.items()
        }

    def effects(self, *, confidence: float = 0.95, seed: int = 0) -> dict[str, Interval]:
        """Where the mean metric is brought, 0 corrupted and 1 clean: each outcome's, `[draw]`.

        In either direction on the same scale, as `Sweep.effects` gives it.
        """
        return {
            name: normalised(
                found.values, self.clean, self.corrupted, confidence=confidence, seed=seed
            )
            for name, found in self.outcomes.items()
        }


def align(
    model: Model,
    pairs: Pairs,
    site: str,
    *,
    layer: int,
    place: str | int = "end",
    k: int = 1,
    metric: str | Metric = "logit difference",
    direction: Direction = "denoising",
    steps: int = 100,
    lr: float = 1e-2,
    batch: int = 16,
    held_out: float = 0.5,
    seed: int = 0,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Alignment:
    """Learn a `k`-dimensional subspace of one activation that carries the answer.

    Orthonormal R `[d_site, k]` is trained so that `base + (source - base) R R^T` at `site` (such
    as `resid_pre`, `z`) of one `layer`, at one `place` of each pair, gives the source's answer.

    In `denoising` the base is the corrupted run and the source the clean one, whose answer the
    pair's `answers` are; in `noising` the other way round, and the corrupted run's answer are
    the pair's `wrongs`, which it must name. The loss is the cross-entropy towards it over the
    whole vocabulary: the source's answer has to come, not only the base's to go (on capitals of
    smollm2-135m this does better on held-out pairs than -log sigmoid of the logit difference).
    A run is right if, of the pair's answers and wrong tokens, the likeliest is one of the
    source's (of all tokens, where none is wrong): by the pair's labels, whatever the model says
    to the source prompt. Loss and accuracy are taken where the metric is.

    A share `held_out` of the pairs is kept from training, and of equal pairs all or none. One
    seed gives one result, on one machine; parameters stay as they were, whatever happens.
    Raises `InputError` for what the model or a pair lacks, a k beyond the site, too few pairs,
    a place from which nothing reaches the answer, anchors that are equal, and a loss that is
    not finite.
    """
    _check_settings(k=k, steps=steps, lr=lr, batch=batch, held_out=held_out)
    judged, variant = Metric.of(metric), _variant(model, site, layer)
    _check_pairs(pairs, place, judged, direction)
    drawn = torch.Generator().manual_seed(seed)
    ran = partial(
        cases_of,
        model,
        variant=variant,
        place=place,
        metric=judged,
        direction=direction,
        store=store,
    )
    trained, kept = _split(pairs, held_out, drawn)
    seen, unseen = (
        [ran([pairs.rows[i] for i in index]) for index in groups] for groups in (trained, kept)
    )
    clean, corrupted = (
        torch.cat([getattr(some.both, anchor).cpu() for some in unseen])
        for anchor in ("clean", "corrupted")
    )
    check_anchors(clean, corrupted)
    start, *others = random_bases(seen[0], k, 1 + _DRAWS, drawn)
    learned = Subspace(start)
    losses = []
    for loss in islice(descend(seen, learned, drawn, batch=batch, lr=lr), steps):
        losses.append(loss)
        if progress is not None:
            progress(len(losses), steps)
    basis = learned.basis.detach()
    return Alignment(
        site=str(variant.site(layer)),
        place=str(place),
        metric=judged.name,
        at=str(judged.at),
        direction=direction,
        basis=basis.cpu(),
        losses=torch.tensor(losses),
        trained=tuple(chain.from_iterable(trained)),
        held_out=tuple(chain.from_iterable(kept)),
        outcomes={
            "learned": _outcome(unseen, [basis], batch),
            "random": _outcome(unseen, others, batch),
            "whole": _outcome(unseen, [None], batch),
            "none": _untouched(unseen),
        },
        clean=clean,
        corrupted=corrupted,
    )


def _outcome(cases: Sequence[Cases], bases: Sequence[Basis | None], batch: int) -> Outcome:
    """What the interchange of each subspace does to all pairs."""
    values, right = [], []
    for basis in bases:
        for some in cases:
            for rows in torch.arange(len(some)).split(batch):
                logits = some.logits(basis, rows)
                values.append(some.both.metric(logits, some.both.wanted.of(rows)))
                right.append(prefers_answer(logits, some.towards.of(rows)))
    n = len(bases)
    return Outcome(torch.cat(values).view(n, -1).cpu(), torch.cat(right).view(n, -1).cpu())


def _untouched(cases: Sequence[Cases]) -> Outcome:
    """The base runs as they are."""
    right = [prefers_answer(some.both.logits, some.towards) for some in cases]
    values = [some.both.base for some in cases]
    return Outcome(torch.cat(values)[None].cpu(), torch.cat(right)[None].cpu())


def _split(
    pairs: Pairs, held_out: float, drawn: Generator
) -> tuple[list[list[int]], list[list[int]]]:
    """Which pairs are trained on and which are held out, those of one length together."""
    equal: dict[tuple, list[int]] = {}
    for number, pair in enumerate(pairs):
        equal.setdefault((pair.clean.ids, pair.corrupted.ids), []).append(number)
    n_kept = round(held_out * len(equal))
    if min(n_kept, len(equal) - n_kept) < _LEAST:
        raise InputError(
            f"of {len(equal)} different pairs, {held_out:g} held out leaves "
            f"{len(equal) - n_kept} to train on and {n_kept} to judge by; each needs {_LEAST}: "
            "give more pairs, or another share"
        )
    order = torch.randperm(len(equal), generator=drawn).tolist()
    groups = list(equal.values())
    kept = {number for group in order[:n_kept] for number in groups[group]}
    sides = [
        [[number for number in index if (number in kept) == held] for held in (False, True)]
        for index in pairs.by_length.values()
    ]
    trained, unseen = zip(*sides, strict=True)
    return [index for index in trained if index], [index for index in unseen if index]


def _variant(model: Model, site: str, layer: int) -> Variant:
    if site == "pattern":
        able = ", ".join(name for name in SWEPT if name != site)
        raise InputError(f"{site!r} has no vector at a position to search in; give one of {able}")
    return variant_of(model, site, [layer], None)


def _check_settings(**given: int | float) -> None:
    wrong = [
        f"{name} {value}"
        for name, value in given.items()
        if not value > 0 or (name == "held_out" and value >= 1)
    ]
    if wrong:
        raise InputError(
            f"no subspace can be learned with {', '.join(wrong)}; give numbers above 0, and a "
            "share held_out below 1"
        )


def _check_pairs(pairs: Pairs, place: str | int, metric: Metric, direction: Direction) -> None:
    if metric.everywhere:
        raise InputError(
            f"the answer is read at one place, the metric {metric.name} is taken over all; give "
            "Metric(name, measure, at='end'), or another place"
        )
    if direction == "noising" and not all(pair.wrongs for pair in pairs):
        raise InputError(
            "noising brings the corrupted run's answer, and some pairs name none; give each "
            "wrong tokens, or direction denoising"
        )
    if not any(pair.first <= pair.at(place) <= pair.at(metric.at) for pair in pairs):
        raise InputError(
            f"place {place!r} lies, in every pair, before the prompts differ or behind the answer "
            f"(at {metric.at!r}), so nothing there changes it; give another place"
        )

"""`attribute_patches`: what a sweep would give, estimated from gradients of few runs.

For each method the estimate of a patch is the metric of the base run and a change:

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

from workbench.cache import Progress, Store
from workbench.cache.resources import spending
from workbench.errors import InputError
from workbench.hooks import Edit, Start, run
from workbench.models import Model
from workbench.patching.attention_correction import (
    KeysMoved,
    PatternMoved,
    Shares,
    attention_moved,
)
from workbench.patching.gradients import frozen, summed, tape
from workbench.patching.metric import Measure, Metric, kl
from workbench.patching.runs import Runs, runs_of
from workbench.patching.statistics import check_anchors
from workbench.patching.sweep import (
    Direction,
    Places,
    Sweep,
    _held,
    _metric,
    _most,
    _positions,
)
from workbench.patching.variants import Variant, variant_of
from workbench.sites import Site
from workbench.tasks import Pairs

Cells = Float[Tensor, "component place pair"]


@dataclass(frozen=True)
class Estimate(Sweep):
    """A sweep's numbers as a method estimates them, on the sweep's own axes.

    `magnitude` is what patches are ranked by: the absolute change, for AtP* the mean of
    GradDrop. `forwards` and `tokens` count the runs that were differentiated, `backwards` how
    often; `steps` is None but for IG.
    """

    method: str
    magnitude: Float[Tensor, "layer component place pair"]
    backwards: int
    steps: int | None

    @property
    def changes(self) -> Float[Tensor, "layer component place pair"]:
        """How far each patch is estimated to move the metric from the base run."""
        return changes(self)


@dataclass(frozen=True)
class Correlation:
    """Pearson's r between two sweeps' changes, and over how many cells."""

    r: float
    cells: int


@dataclass
class _Count:
    """What was run."""

    forwards: int = 0
    backwards: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class _Asked:
    """Pairs of one length with the cells that are wanted of them."""

    both: Runs
    positions: Int[Tensor, "pair place"]
    first: Int[Tensor, " pair"]
    steps: int
    at_once: int  # of the steps, in one run
    count: _Count

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
    judged = _metric(metric)
    if direction not in ("denoising", "noising"):
        raise InputError(f"direction {direction!r} is not one of denoising, noising")
    _check_method(method, steps, judged, direction)
    patched = variant_of(model, site, layers, components)
    names, positions = _positions(pairs, places)
    change = torch.empty(len(patched.layers), len(patched.components), len(names), len(pairs))
    magnitude = torch.empty_like(change)
    clean, corrupted = torch.empty(len(pairs)), torch.empty(len(pairs))
    held, count, predicted = _held(model), _Count(), 0
    groups = _groups(model, pairs, memory, judged.everywhere)
    done, total = 0, len(patched.layers) * len(groups)
    with spending(model.device) as spent:
        for index, most, each in groups:
            some = [pairs.rows[i] for i in index]
            denoising = direction == "denoising"
            both = runs_of(model, some, patched, judged, denoising=denoising, store=store)
            clean[index], corrupted[index] = both.clean.cpu(), both.corrupted.cpu()
            first = torch.tensor([pair.first for pair in some])
            at_once = min(steps, most // both.ids.numel()) if method == "IG" else 1
            asked = _Asked(both, positions[index], first, steps, at_once, count)
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


def changes(found: Sweep) -> Float[Tensor, "layer component place pair"]:
    """How far each patch moves the metric from the base run."""
    return found.values - (found.corrupted if found.direction == "denoising" else found.clean)


def correlation(exact: Sweep, estimate: Sweep, *, of_means: bool = False) -> Correlation:
    """Pearson's r between the changes of two sweeps, over layers, components, places and pairs.

    `of_means` averages each cell over the pairs first. Raises `InputError` where the two are of
    other axes or pairs, and where one of them is constant.
    """
    _check_alike(exact, estimate)
    one, other = (
        (values.mean(-1) if of_means else values).flatten().double()
        for values in (changes(exact), changes(estimate))
    )
    one, other = one - one.mean(), other - other.mean()
    spread = float(one.norm() * other.norm())
    if spread == 0:
        raise InputError(
            f"no correlation over {len(one)} cells: one of the sweeps is constant over them"
        )
    return Correlation(float(one @ other) / spread, len(one))


def _linear(asked: _Asked) -> Found:
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


def _corrected(asked: _Asked) -> Found:
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


def _integrated(asked: _Asked) -> Found:
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


METHODS: Mapping[str, Callable[[_Asked], Found]] = {
    "AtP": _linear,
    "AtP*": _corrected,
    "IG": _integrated,
}
"""All methods by the name under which commands and pages show them."""


def _slopes_along(
    asked: _Asked, site: Site, base: Tensor, apart: Tensor, shares: Sequence[float]
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
    (slopes,) = torch.autograd.grad(summed(both, ran.logits, rows), leaf)
    _ran(asked.count, len(rows) * both.ids.shape[1])
    return slopes.float().unflatten(0, (len(shares), n_pairs)).sum(0)


def _ran(count: _Count, tokens: int) -> None:
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


def _groups(
    model: Model, pairs: Pairs, memory: int | None, everywhere: bool
) -> list[tuple[list[int], int, int]]:
    """Pairs of one length that fit into one run with gradients; its tokens, and bytes of each."""
    groups = []
    for length, index in pairs.by_length.items():
        each = _bytes_each(model, length, everywhere)
        most = _most(model, memory, each, length)
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


_AXES = ("site", "metric", "at", "direction", "layers", "components", "places")


def _check_alike(exact: Sweep, estimate: Sweep) -> None:
    """Raise `InputError` unless both sweeps are of the same cells."""
    for name in _AXES:
        one, other = getattr(exact, name), getattr(estimate, name)
        if one != other:
            raise InputError(
                f"the sweeps differ in {name}: {one} and {other}; give two of the same"
            )
    if len(exact.clean) != len(estimate.clean):
        raise InputError(
            f"the sweeps are of {len(exact.clean)} and {len(estimate.clean)} pairs; give two of "
            "the same"
        )
    for one, other in ((exact.clean, estimate.clean), (exact.corrupted, estimate.corrupted)):
        if not torch.allclose(one, other, rtol=0.05, atol=0.05):
            raise InputError("the sweeps are of other pairs: their anchors differ; give the same")

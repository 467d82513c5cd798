"""`score_edges`: how much each edge matters, exactly or estimated from gradients.

An edge's score is the change of the clean run's metric when that edge alone carries what its
sender writes in the corrupted run:

- `exact`: one patched run for each edge.
- `EAP` (edge attribution patching; Syed, Rager and Conmy 2023): (corrupted - clean output of the
  sender) . gradient at the receiver's input in the clean run.
- `EAP-IG` (Hanna, Pezzelle and Belinkov 2024): the gradient is averaged over runs whose embeddings
  lie on the line from corrupted to clean; scores of the edges that leave the embedding then sum
  to the whole difference. By the midpoint rule.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from workbench.cache import Progress, Store
from workbench.cache.resources import Spent, spending
from workbench.errors import InputError
from workbench.hooks import Start, run
from workbench.models import Model
from workbench.patching.edges.ends import Ends, batches
from workbench.patching.edges.forward import Untouched, edits_of
from workbench.patching.edges.graph import Graph, graph_of
from workbench.patching.gradients import check_slope, frozen, summed
from workbench.patching.memory import held_by
from workbench.patching.metric import Measure, Metric, kl
from workbench.patching.statistics import Interval, check_anchors, normalised
from workbench.tasks import Pairs

Scores = Float[Tensor, "receiver sender pair"]
Some = tuple[Int[Tensor, "edge 2"], Float[Tensor, "edge pair"]]
"""Edges, as receiver and sender, and the change that each one's cut makes (or a part of it)."""


@dataclass(frozen=True)
class EdgeScores:
    """The change of the metric that each edge's cut makes, 0 where there is no edge.

    `predicted` and `spent` are bytes, and seconds, of this process; `steps` are None but for
    EAP-IG.
    """

    graph: Graph
    metric: str
    at: str
    method: str
    steps: int | None
    values: Scores
    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]
    forwards: int
    predicted: int
    spent: Spent

    @property
    def shares(self) -> Float[Tensor, "receiver sender"]:
        """How much of the way from clean (0) to corrupted (1) each cut goes.

        A ratio of means over pairs, positive where the edge helps the clean answer.
        """
        return self.values.mean(-1) / (self.corrupted - self.clean).mean()

    @property
    def summed(self) -> float:
        """The shares of the edges out of the embedding, together.

        1 for EAP-IG with enough steps: how near the integral is to the whole difference.
        """
        return float(self.shares[:, 0].sum())

    def intervals(self, edges: Sequence[tuple[int, int]]) -> Interval:
        """The shares of some edges (receiver, sender) with bootstrap intervals over pairs."""
        receivers, senders = map(list, zip(*edges, strict=True))
        return normalised(self.clean + self.values[receivers, senders], self.corrupted, self.clean)

    def top(self, count: int) -> list[tuple[int, int]]:
        """Receiver and sender of the edges with the largest shares, either sign, largest first."""
        edges = self.graph.valid.nonzero()
        order = self.shares[self.graph.valid].abs().argsort(descending=True, stable=True)
        return [(int(receiver), int(sender)) for receiver, sender in edges[order[:count]]]


def score_edges(
    model: Model,
    pairs: Pairs,
    *,
    metric: str | Metric | Measure = "logit difference",
    method: str = "EAP-IG",
    steps: int = 5,
    store: Store | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> EdgeScores:
    """Score every edge of the model's graph; `steps` are those of EAP-IG.

    Exact scores take a run for each edge and pair: for small models. Raises `InputError` for
    another method, anchors that are equal, a metric without gradient or (with EAP) flat at the
    clean run, and values that are not finite.
    """
    judged, graph = Metric.of(metric), graph_of(model)
    _check_method(method, steps, judged)
    values = torch.zeros(*graph.valid.shape, len(pairs))
    clean, corrupted = torch.empty(len(pairs)), torch.empty(len(pairs))
    held, predicted, forwards, done = held_by(model), 0, 0, 0
    total = int(graph.valid.sum()) * len(pairs) * (steps if method == "EAP-IG" else 1)
    with spending(model.device) as spent:
        for ends, index, most, each in batches(model, graph, pairs, judged, store, memory):
            clean[index], corrupted[index] = ends.base.cpu(), ends.source.cpu()
            tokens = most if method == "exact" else ends.ids.numel()
            predicted = max(predicted, tokens * each)
            for edges, change in METHODS[method](ends, steps, most):
                where = edges[:, :1], edges[:, 1:], torch.tensor(index)
                values[where] += change.cpu()
                forwards, done = forwards + 1, done + change.numel()
                if progress is not None:
                    progress(done, total)
    check_anchors(clean, corrupted)
    _check_finite(values, judged)
    return EdgeScores(
        graph=graph,
        metric=judged.name,
        at=str(judged.at),
        method=method,
        steps=steps if method == "EAP-IG" else None,
        values=values,
        clean=clean,
        corrupted=corrupted,
        forwards=forwards,
        predicted=held + predicted,
        spent=spent,
    )


def _at_clean(ends: Ends, steps: int, most: int) -> Iterator[Some]:
    """EAP."""
    yield _sloped(ends, ends.resid[0])


def _on_the_line(ends: Ends, steps: int, most: int) -> Iterator[Some]:
    """EAP-IG."""
    away = (ends.other[0] - ends.written[0]).to(ends.resid.dtype)
    for step in range(steps):
        edges, change = _sloped(ends, ends.resid[0] + (step + 0.5) / steps * away)
        yield edges, change / steps


def _exactly(ends: Ends, steps: int, most: int) -> Iterator[Some]:
    """One run for each edge, those into one layer together."""
    edges = ends.graph.valid.nonzero()
    layers = torch.tensor([ends.graph.layer_of(int(receiver)) for receiver in edges[:, 0]])
    at_once = max(1, most // ends.ids.numel())
    for layer in layers.unique().tolist():
        for some in edges[layers == layer].split(at_once):
            removed = torch.zeros(len(some), *ends.graph.valid.shape)
            removed[range(len(some)), some[:, 0], some[:, 1]] = 1
            yield some, ends.cut(removed, first=layer) - ends.base


METHODS: Mapping[str, Callable[[Ends, int, int], Iterator[Some]]] = {
    "EAP-IG": _on_the_line,
    "EAP": _at_clean,
    "exact": _exactly,
}
"""All methods by the name under which commands and pages show them."""


def _sloped(ends: Ends, embedded: Float[Tensor, "pair pos d_model"]) -> Some:
    """Every edge's difference times the gradient at its receiver, in a run from `embedded`."""
    wiring = Untouched()
    with frozen(ends.model):
        ran = run(
            ends.model,
            ends.ids,
            edit=edits_of(ends.model, ends.graph, wiring),
            start=Start(0, embedded.detach().clone().requires_grad_()),
            logits_at=ends.columns,
            grad=True,
        )
        assert ran.logits is not None, "a run without reads goes on to the logits"
        total = summed(ends.metric, ran.logits, ends.wanted)
        *slopes, last = torch.autograd.grad(total, [*wiring.inputs.values(), ran.logits])
    check_slope(ends.metric, last)
    apart = ends.other - ends.written
    found = ends.ids.new_zeros(*ends.graph.valid.shape, len(ends.ids), dtype=torch.float32)
    for first, slope in zip(wiring.inputs, slopes, strict=True):
        rows = slice(first, first + slope.shape[1])
        before = int(ends.graph.valid[first].sum())  # senders stand in the forward's order
        found[rows, :before] = einsum(slope[0].float(), apart[:before], "r p t d, s p t d -> r s p")
    edges = ends.graph.valid.nonzero()
    return edges, found[edges[:, 0], edges[:, 1]]


def _check_method(method: str, steps: int, metric: Metric) -> None:
    if method not in METHODS:
        raise InputError(f"method {method!r} is not one of {', '.join(METHODS)}")
    if steps < 1:
        raise InputError(f"EAP-IG in {steps} steps; give at least 1")
    if method == "EAP" and metric.measure is kl:
        raise InputError(
            f"{metric.name} against the clean run is flat at the clean run, so EAP would give 0; "
            "give another metric, or EAP-IG"
        )


def _check_finite(values: Tensor, metric: Metric) -> None:
    wrong = int((~values.isfinite()).sum())
    if wrong:
        raise InputError(
            f"{wrong} scores of {metric.name} are not finite; load the model in float32, or look "
            "at the metric"
        )

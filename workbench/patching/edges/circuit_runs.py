"""Runs in which only a circuit's edges carry the clean prompt, and what is read off them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.cache import Progress, Store
from workbench.errors import InputError
from workbench.models import Model
from workbench.patching.edges.circuit import Circuit
from workbench.patching.edges.ends import Ends, batches
from workbench.patching.edges.graph import Graph, graph_of
from workbench.patching.metric import Measure, Metric
from workbench.patching.statistics import Interval, check_anchors, normalised
from workbench.tasks import Pairs

Ablation = Literal["resample", "mean", "zero"]
ABLATIONS = {
    "resample": "what its sender writes in the corrupted prompt",
    "mean": "the mean, by position, of that over the corrupted prompts of the pair's length",
    "zero": "nothing",
}
"""What an edge outside the circuit carries, by the name of the ablation."""


@dataclass(frozen=True)
class CircuitRuns:
    """The metric of each circuit alone, and the anchors: the whole model and the empty circuit."""

    metric: str
    ablation: Ablation
    values: Float[Tensor, "circuit pair"]
    whole: Float[Tensor, " pair"]
    empty: Float[Tensor, " pair"]

    def faithfulness(self) -> Interval:
        """How much of the metric each circuit keeps, `[circuit]`: 0 is the empty one, 1 the model.

        A ratio of means over pairs, with bootstrap intervals.
        """
        return normalised(self.values, self.whole, self.empty)


def run_circuits(
    model: Model,
    pairs: Pairs,
    circuits: Sequence[Circuit],
    *,
    metric: str | Metric | Measure = "logit difference",
    ablation: Ablation = "resample",
    store: Store | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> CircuitRuns:
    """Run the clean prompts with the edges of a circuit as they are and all others ablated.

    Raises `InputError` for another ablation, no circuit, a circuit of another model's graph, and
    a model and an empty circuit of equal metric.
    """
    judged, graph = Metric.of(metric), graph_of(model)
    _check(graph, circuits, ablation)
    removed = torch.stack([graph.valid & ~one.kept for one in [*circuits, _empty(graph)]]).float()
    values = torch.empty(len(removed), len(pairs))
    whole = torch.empty(len(pairs))
    done = 0
    means = _means(model, graph, pairs, judged, store, memory) if ablation == "mean" else {}
    for batch, index, most, _ in batches(model, graph, pairs, judged, store, memory):
        ends = _ablated(batch, ablation, means)
        whole[index] = ends.base.cpu()
        at_once = max(1, most // ends.ids.numel())
        for first in range(0, len(removed), at_once):
            some = slice(first, first + at_once)
            values[some, torch.tensor(index)] = ends.cut(removed[some]).cpu()
            done += len(removed[some]) * len(index)
            if progress is not None:
                progress(done, values.numel())
    check_anchors(whole, values[-1])
    return CircuitRuns(judged.name, ablation, values[:-1], whole, values[-1])


def _empty(graph: Graph) -> Circuit:
    return Circuit(graph, torch.zeros_like(graph.valid))


def _check(graph: Graph, circuits: Sequence[Circuit], ablation: str) -> None:
    if ablation not in ABLATIONS:
        raise InputError(f"ablation {ablation!r} is not one of {', '.join(ABLATIONS)}")
    if not circuits:
        raise InputError("no circuit is given; give at least one")
    for one in circuits:
        if one.graph != graph:
            raise InputError(
                f"the circuit is of another model: {one.graph}, this one is {graph}; load the "
                "model that it was found in"
            )


def _ablated(ends: Ends, ablation: Ablation, means: dict[int, Tensor]) -> Ends:
    if ablation == "zero":
        return replace(ends, other=torch.zeros_like(ends.other))
    if ablation == "mean":
        return replace(ends, other=means[ends.ids.shape[1]].expand_as(ends.other))
    return ends


def _means(
    model: Model,
    graph: Graph,
    pairs: Pairs,
    metric: Metric,
    store: Store | None,
    memory: int | None,
) -> dict[int, Float[Tensor, "sender 1 pos d_model"]]:
    """What each sender writes on the mean over corrupted prompts, by their number of tokens."""
    sums: dict[int, Tensor] = {}
    for ends, *_ in batches(model, graph, pairs, metric, store, memory):
        length = ends.ids.shape[1]
        part = ends.other.sum(1, keepdim=True) / len(pairs.by_length[length])
        sums[length] = sums[length] + part if length in sums else part
    return sums

"""Circuits found: by the largest scores, by growing from the logits, by ACDC's rule."""

import heapq
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.cache import Progress, Store
from workbench.errors import InputError
from workbench.models import Model
from workbench.patching.edges.circuit import Circuit
from workbench.patching.edges.ends import batches
from workbench.patching.edges.graph import Graph, graph_of
from workbench.patching.metric import Metric
from workbench.tasks import Pairs

Strengths = Float[Tensor, "receiver sender"]


def largest(graph: Graph, strengths: Strengths, count: int) -> Circuit:
    """The `count` strongest edges, less those that carry nothing then (`Circuit.pruned`).

    Raises `InputError` for a count outside 0 to the number of edges.
    """
    _check(graph, strengths, count)
    values = strengths.masked_fill(~graph.valid, -torch.inf).flatten()
    kept = torch.zeros(values.numel(), dtype=torch.bool)
    kept[values.argsort(descending=True, stable=True)[:count]] = True
    return Circuit(graph, kept.view_as(graph.valid)).pruned()


def grown(graph: Graph, strengths: Strengths, count: int) -> Circuit:
    """The strongest edges of those that lead to the logits, one by one (Hanna et al. 2024).

    It begins with the logits alone; an edge taken brings what its sender reads within reach.
    Raises `InputError` for a count outside 0 to the number of edges.
    """
    _check(graph, strengths, count)
    kept = torch.zeros_like(graph.valid)
    reached: set[int] = set()
    within: list[tuple[float, int, int]] = []
    readers = {sender: [] for sender in range(len(graph.senders))}
    for receiver in range(len(graph.receivers)):
        for sender in graph.owners(receiver):
            readers[sender].append(receiver)

    def reach(receiver: int) -> None:
        if receiver not in reached:
            reached.add(receiver)
            for sender in graph.valid[receiver].nonzero().flatten().tolist():
                heapq.heappush(within, (-float(strengths[receiver, sender]), receiver, sender))

    reach(len(graph.receivers) - 1)
    while within and count > 0:
        _, receiver, sender = heapq.heappop(within)
        kept[receiver, sender] = True
        count -= 1
        for reads in readers[sender]:
            reach(reads)
    return Circuit(graph, kept)


SEARCHES: Mapping[str, Callable[[Graph, Strengths, int], Circuit]] = {
    "greedy": grown,
    "threshold": largest,
}
"""How edges are chosen by their scores, by the name under which commands and pages show it."""


def random_circuits(circuit: Circuit, count: int, *, seed: int = 0) -> list[Circuit]:
    """Circuits of as many edges, each grown from the logits by strengths drawn at random.

    Edges drawn anywhere would mostly carry nothing: too weak a rival.
    """
    drawn = torch.Generator().manual_seed(seed)
    graph = circuit.graph
    return [
        grown(graph, torch.rand(graph.valid.shape, generator=drawn), len(circuit))
        for _ in range(count)
    ]


def acdc(
    model: Model,
    pairs: Pairs,
    threshold: float,
    *,
    at: str | int = "end",
    store: Store | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Circuit:
    """Edges without which the clean run's distribution moves (Conmy et al. 2023, ACDC).

    From the logits down, each edge is cut for good where KL(clean || run), in nats at the metric's
    position and on the mean over pairs, rises by less than `threshold`; what is cut carries the
    corrupted prompt. One run for each edge: for small models. Raises `InputError` for a
    threshold that is not above 0.
    """
    if not threshold > 0:
        raise InputError(f"threshold {threshold} is not above 0; give nats, such as 0.01")
    graph, metric = graph_of(model), Metric.named("KL", at)
    all_ends = [
        (ends, len(index) / len(pairs))
        for ends, index, *_ in batches(model, graph, pairs, metric, store, memory)
    ]
    removed, now, done = torch.zeros(1, *graph.valid.shape), 0.0, 0
    total = int(graph.valid.sum())
    for receiver in reversed(range(len(graph.receivers))):
        owners, first = graph.owners(receiver), graph.layer_of(receiver)
        senders = graph.valid[receiver].nonzero().flatten().tolist()
        done += len(senders)
        if owners and not bool((graph.valid & (removed[0] == 0))[:, owners].any()):
            removed[0, receiver, senders] = 1  # nothing is read of what it serves
            continue
        for sender in reversed(senders):
            removed[0, receiver, sender] = 1
            # All that is cut so far lies here or above: the run starts at this layer.
            then = sum(
                share * float(ends.cut(removed, first=first).mean()) for ends, share in all_ends
            )
            if then - now < threshold:
                now = then
            else:
                removed[0, receiver, sender] = 0
        if progress is not None:
            progress(done, total)
    return Circuit(graph, graph.valid & (removed[0] == 0))


def _check(graph: Graph, strengths: Strengths, count: int) -> None:
    edges = int(graph.valid.sum())
    if bool(strengths.isnan().any()):
        raise InputError(
            f"{int(strengths.isnan().sum()):,} strengths are NaN, so edges have no order; look at "
            "the scores"
        )
    if not 0 <= count <= edges:
        raise InputError(f"a circuit of {count:,} edges: this model has {edges:,}; give 0 to that")

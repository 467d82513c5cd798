"""Path patching: what goes straight from a sender to some receivers, all else as it was."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.cache import Progress, Store
from workbench.errors import InputError
from workbench.models import Model
from workbench.patching.edges.ends import batches
from workbench.patching.edges.graph import Graph, graph_of
from workbench.patching.metric import Measure, Metric
from workbench.patching.runs import Direction
from workbench.patching.statistics import Interval, check_anchors, normalised
from workbench.tasks import Pairs


@dataclass(frozen=True)
class PathPatches:
    """The metric where one sender's output comes from the other run, for the receivers alone."""

    metric: str
    direction: Direction
    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    values: Float[Tensor, "sender pair"]
    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]

    def effects(self) -> Interval:
        """Where each path brings the mean metric, `[sender]`: 0 is corrupted, 1 is clean."""
        return normalised(self.values, self.clean, self.corrupted)


def patch_paths(
    model: Model,
    pairs: Pairs,
    receivers: Sequence[str] = ("logits",),
    senders: Sequence[str] | None = None,
    *,
    metric: str | Metric | Measure = "logit difference",
    direction: Direction = "noising",
    store: Store | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> PathPatches:
    """Patch the paths from each sender to all the receivers together, one sender at a time.

    Receivers (`L5H1.q`, `L5H0.k`, `L5.mlp`, `logits`) read the sender (`L3H2`, `L3.mlp`, `embed`)
    as the other run has it, and everything else as their own run has it (Wang et al. 2022;
    Goldowsky-Dill et al. 2023); what follows from the receivers goes on through the model. By
    default from all senders that come before a receiver. `noising` patches the clean run.
    Raises `InputError` for what is no sender or receiver, and a sender that no receiver hears.
    """
    judged, graph = Metric.of(metric), graph_of(model)
    into = [_index(name, graph.receivers, "receiver") for name in receivers]
    if not into:
        raise InputError("no receiver is named; give at least one, such as logits")
    named, removed = _paths(graph, into, senders)
    first = min(graph.layer_of(receiver) for receiver in into)
    values = torch.empty(len(named), len(pairs))
    base, other = torch.empty(len(pairs)), torch.empty(len(pairs))
    done = 0
    for ends, index, most, _ in batches(
        model, graph, pairs, judged, store, memory, direction=direction
    ):
        base[index], other[index] = ends.base.cpu(), ends.source.cpu()
        for some in torch.arange(len(named)).split(max(1, most // ends.ids.numel())):
            values[some[:, None], torch.tensor(index)] = ends.cut(removed[some], first=first).cpu()
            done += len(some) * len(index)
            if progress is not None:
                progress(done, values.numel())
    clean, corrupted = (base, other) if direction == "noising" else (other, base)
    check_anchors(clean, corrupted)
    return PathPatches(judged.name, direction, named, tuple(receivers), values, clean, corrupted)


def _paths(
    graph: Graph, into: Sequence[int], senders: Sequence[str] | None
) -> tuple[tuple[str, ...], Float[Tensor, "sender_named receiver sender"]]:
    """The senders, and the edges of each to the receivers."""
    heard = graph.valid[into].any(0)
    chosen = (
        heard.nonzero().flatten().tolist()
        if senders is None
        else [_index(name, graph.senders, "sender") for name in senders]
    )
    if deaf := [graph.senders[number] for number in chosen if not bool(heard[number])]:
        raise InputError(
            f"{', '.join(deaf)} writes after {', '.join(graph.receivers[r] for r in into)} read; "
            "name senders that come before"
        )
    removed = torch.zeros(len(chosen), *graph.valid.shape)
    for row, sender in enumerate(chosen):
        removed[row, into, sender] = graph.valid[into, sender].float()
    return tuple(graph.senders[number] for number in chosen), removed


def _index(name: str, names: Sequence[str], what: str) -> int:
    if name not in names:
        raise InputError(f"{name!r} is no {what} of this model; {names[0]} is one, {names[-1]} too")
    return names.index(name)

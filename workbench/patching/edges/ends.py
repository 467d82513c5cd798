"""The two runs of some pairs as a graph sees them: what each sender writes, and the anchors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from workbench.cache import Capture, Store, capture
from workbench.hooks import Start, run
from workbench.hooks import sites as known_sites
from workbench.models import Model
from workbench.patching.edges.forward import Cut, edits_of, written_by_heads
from workbench.patching.edges.graph import Graph
from workbench.patching.memory import tokens_at_once
from workbench.patching.metric import Metric, Wanted, wanted_of
from workbench.patching.runs import Direction, base_and_source
from workbench.sites import Site
from workbench.tasks import Pair, Pairs

Outputs = Float[Tensor, "sender pair pos d_model"]


@dataclass(frozen=True)
class Ends:
    """Pairs of one length: the run in which edges are cut (`base`) and the other (`source`).

    `resid` is the residual stream into each layer of the base run, `written` what each sender
    writes there, `other` what it writes in the source run; `base` and `source` are the metrics.
    """

    model: Model
    graph: Graph
    metric: Metric
    ids: Int[Tensor, "pair pos"]
    resid: Float[Tensor, "layer pair pos d_model"]
    written: Outputs
    other: Outputs
    wanted: Wanted
    columns: Int[Tensor, "pair 1"] | None
    base: Float[Tensor, " pair"]
    source: Float[Tensor, " pair"]

    def cut(
        self, removed: Float[Tensor, "variant receiver sender"], *, first: int = 0
    ) -> Float[Tensor, "variant pair"]:
        """The metric where edges carry the source run's output, for several sets of edges.

        `removed` is 1 where an edge does; no edge below layer `first` may be among them.
        """
        below = self.graph.heads(first).start if first else 0
        removed = removed.to(self.ids.device)
        wiring = Cut(removed, self.other, self.written, below)
        rows = torch.arange(len(self.ids)).repeat(len(removed))
        ran = run(
            self.model,
            self.ids[rows],
            edit=edits_of(self.model, self.graph, wiring, first),
            start=Start(first, self.resid[first][rows]),
            logits_at=None if self.columns is None else self.columns[rows],
        )
        assert ran.logits is not None, "a run without reads goes on to the logits"
        return self.metric(ran.logits, self.wanted.of(rows)).view(len(removed), -1)


def ends_of(
    model: Model,
    graph: Graph,
    pairs: Sequence[Pair],
    metric: Metric,
    *,
    direction: Direction = "noising",
    store: Store | None = None,
) -> Ends:
    """Run both prompts of each pair; all pairs must have as many tokens.

    `noising` has the clean run as base, `denoising` the corrupted one. Raises `InputError` for
    another direction.
    """
    base, source = base_and_source(pairs, direction, model.device)
    into = [Site("resid_pre", layer) for layer in range(graph.n_layers)]
    kept = capture(model, base, [*into, *_writers(model, graph)], store)
    other = capture(model, source, [into[0], *_writers(model, graph)], store)
    columns = metric.columns(pairs)
    here, there = (run(model, ids, logits_at=columns).logits for ids in (base, source))
    assert here is not None and there is not None, "runs without reads go on to the logits"
    wanted = wanted_of(pairs, here if direction == "noising" else there)
    return Ends(
        model=model,
        graph=graph,
        metric=metric,
        ids=base,
        resid=torch.stack([kept[site] for site in into]),
        written=_outputs(model, graph, kept),
        other=_outputs(model, graph, other),
        wanted=wanted,
        columns=columns,
        base=metric(here, wanted),
        source=metric(there, wanted),
    )


def batches(
    model: Model,
    graph: Graph,
    pairs: Pairs,
    metric: Metric,
    store: Store | None,
    memory: int | None,
    *,
    direction: Direction = "noising",
) -> Iterator[tuple[Ends, list[int], int, int]]:
    """Pairs that fit together: ends, numbers, the tokens that a run may have, bytes of each."""
    for length, index in pairs.by_length.items():
        each = _bytes_each(model, graph, length, metric.everywhere)
        most = tokens_at_once(model, memory, each, length)
        at_once = most // length
        for first in range(0, len(index), at_once):
            some = index[first : first + at_once]
            rows = [pairs.rows[i] for i in some]
            yield (
                ends_of(model, graph, rows, metric, direction=direction, store=store),
                some,
                most,
                each,
            )


def _bytes_each(model: Model, graph: Graph, length: int, everywhere: bool) -> int:
    """What a token takes, about: what each sender writes in both runs and in this one, and the
    inputs of all receivers, each with its norm, kept for their gradients."""
    sizes, item = model.architecture, model.dtype.itemsize
    streams = 4 * sizes.d_model * (3 * len(graph.senders) + 2 * len(graph.receivers))
    block = 20 * sizes.d_model + 6 * sizes.d_mlp + 4 * sizes.n_heads * length
    logits = sizes.d_vocab * (2 * item + 16)
    past = item * sizes.n_layers * block
    return streams + past + (logits if everywhere else -(-logits // length))


def _writers(model: Model, graph: Graph) -> list[Site]:
    known = known_sites(model)
    return [
        site
        for layer in range(graph.n_layers)
        for site in (Site("z", layer), Site("mlp_out", layer))
        if site in known
    ]


def _outputs(model: Model, graph: Graph, found: Capture) -> Outputs:
    """What each sender writes, in the order of the graph."""
    written = [found[Site("resid_pre", 0)][None]]
    for layer in range(graph.n_layers):
        heads = written_by_heads(model, layer, found[Site("z", layer)])
        written.append(rearrange(heads, "pair head pos d -> head pair pos d"))
        if graph.mlps:
            written.append(found[Site("mlp_out", layer)][None])
    return torch.cat(written).float()

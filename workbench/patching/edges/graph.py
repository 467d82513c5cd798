"""The model as a graph: what each component writes goes along edges to all that read after it.

Senders are the embedding, every head and every MLP; receivers are the query, key and value inputs
of every head, the input of every MLP, and the logits (Elhage et al. 2021; Syed et al. 2023).
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor

from workbench.errors import InputError
from workbench.hooks import sites
from workbench.models import Model
from workbench.sites import Site

PARTS = ("q", "k", "v")


@dataclass(frozen=True)
class Graph:
    """Names and order of senders and receivers; a matrix over edges is `[receiver, sender]`.

    Keys and values that heads share are one receiver for all of them (`L3H1.k` is then that of
    group 1). In `parallel` blocks the MLP does not read what attention of its layer writes.
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    mlps: bool
    parallel: bool

    @cached_property
    def senders(self) -> tuple[str, ...]:
        names = ["embed"]
        for layer in range(self.n_layers):
            names += [f"L{layer}H{head}" for head in range(self.n_heads)]
            names += [f"L{layer}.mlp"] if self.mlps else []
        return tuple(names)

    @cached_property
    def receivers(self) -> tuple[str, ...]:
        names = []
        for layer in range(self.n_layers):
            for part in PARTS:
                names += [f"L{layer}H{head}.{part}" for head in range(self._count(part))]
            names += [f"L{layer}.mlp"] if self.mlps else []
        return (*names, "logits")

    @cached_property
    def valid(self) -> Bool[Tensor, "receiver sender"]:
        """Which edges there are: from a sender to what reads after it."""
        found = torch.zeros(len(self.receivers), len(self.senders), dtype=torch.bool)
        for layer in range(self.n_layers):
            for part in PARTS:
                found[self.reads(layer, part), : self.heads(layer).start] = True
            if self.mlps:
                heads = self.heads(layer)
                found[self.reads(layer, "mlp"), : heads.start if self.parallel else heads.stop] = (
                    True
                )
        found[-1] = True
        return found

    def heads(self, layer: int) -> slice:
        """The senders that are heads of a layer."""
        first = 1 + layer * (self.n_heads + self.mlps)
        return slice(first, first + self.n_heads)

    def mlp(self, layer: int) -> slice:
        """The sender that is a layer's MLP."""
        first = self.heads(layer).stop
        return slice(first, first + 1)

    def reads(self, layer: int, part: str) -> slice:
        """The receivers of a layer: `q`, `k`, `v` of its heads, or `mlp`."""
        counts = [self._count(name) for name in PARTS]
        first = layer * (sum(counts) + self.mlps)
        if part == "mlp":
            return slice(first + sum(counts), first + sum(counts) + 1)
        number = PARTS.index(part)
        first += sum(counts[:number])
        return slice(first, first + counts[number])

    def owners(self, receiver: int) -> list[int]:
        """The senders whose output hangs on a receiver: heads of a group, an MLP; none: logits."""
        if receiver == len(self.receivers) - 1:
            return []
        width = self.n_heads + 2 * self.n_kv_heads + self.mlps
        layer, inside = divmod(receiver, width)
        for part in PARTS:
            count = self._count(part)
            if inside < count:
                group = self.n_heads // count
                first = self.heads(layer).start + inside * group
                return list(range(first, first + group))
            inside -= count
        return [self.mlp(layer).start]

    def layer_of(self, receiver: int) -> int:
        """The layer of a receiver; the last one's for the logits, which read its output."""
        width = self.n_heads + 2 * self.n_kv_heads + self.mlps
        return min(receiver // width, self.n_layers - 1)

    def edge(self, name: str) -> tuple[int, int]:
        """Receiver and sender of `L0H1->L1H2.k`. Raises `InputError` for what is no edge."""
        sender, arrow, receiver = (part.strip() for part in name.partition("->"))
        if not arrow or sender not in self.senders or receiver not in self.receivers:
            raise InputError(
                f"{name!r} is no edge of this model; write one as {self.senders[0]}->"
                f"{self.receivers[0]} or {self.senders[-1]}->logits"
            )
        where = self.receivers.index(receiver), self.senders.index(sender)
        if not bool(self.valid[where]):
            raise InputError(f"{name!r}: {receiver} reads before {sender} writes, so no edge is")
        return where

    def name(self, receiver: int, sender: int) -> str:
        return f"{self.senders[sender]}->{self.receivers[receiver]}"

    def _count(self, part: str) -> int:
        return self.n_heads if part == "q" else self.n_kv_heads


def graph_of(model: Model) -> Graph:
    """The graph of a model."""
    sizes, known = model.architecture, sites(model)
    return Graph(
        n_layers=sizes.n_layers,
        n_heads=sizes.n_heads,
        n_kv_heads=sizes.n_kv_heads,
        mlps=Site("mlp_out", 0) in known,
        parallel=Site("resid_mid", 0) not in known,
    )

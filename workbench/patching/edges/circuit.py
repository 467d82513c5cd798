"""A circuit: the edges that are kept, and the file it is written to."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from workbench.errors import MISFITS, InputError
from workbench.patching.edges.graph import Graph

FORMAT = "circuit 1"


@dataclass(frozen=True, eq=False)
class Circuit:
    """Edges of a graph; `found` says how they were come by (model, task, method, ...)."""

    graph: Graph
    kept: Bool[Tensor, "receiver sender"]
    found: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kept.shape != self.graph.valid.shape or bool((self.kept & ~self.graph.valid).any()):
            raise InputError(
                f"a circuit of shape {tuple(self.kept.shape)} has edges that its graph of shape "
                f"{tuple(self.graph.valid.shape)} lacks; build it with Circuit.of"
            )

    @classmethod
    def of(cls, graph: Graph, edges: Iterable[str], **found: Any) -> "Circuit":
        """A circuit of edges by name, such as `L0H1->L1H2.k`.

        Raises `InputError` for what is no edge.
        """
        kept = torch.zeros_like(graph.valid)
        for name in edges:
            kept[graph.edge(name)] = True
        return cls(graph, kept, found)

    @classmethod
    def whole(cls, graph: Graph) -> "Circuit":
        return cls(graph, graph.valid.clone())

    def __len__(self) -> int:
        return int(self.kept.sum())

    @property
    def edges(self) -> tuple[str, ...]:
        return tuple(
            self.graph.name(int(receiver), int(sender)) for receiver, sender in self.kept.nonzero()
        )

    def links(self) -> list[tuple[str, str, tuple[int, int]]]:
        """Sender and reading component (or `logits`) of each edge, and its receiver and sender.

        A key or value that heads share is read by each of its heads of which something is read.
        """
        names, heard = self.graph.senders, self.kept.any(0)
        found = []
        for receiver, sender in self.kept.nonzero().tolist():
            owners = self.graph.owners(receiver)
            readers = [names[owner] for owner in owners if bool(heard[owner])] or [
                names[owner] for owner in owners[:1]
            ]
            for reader in readers or ["logits"]:
                found.append((names[sender], reader, (receiver, sender)))
        return found

    @property
    def senders(self) -> tuple[str, ...]:
        """The components of which something is read."""
        return tuple(self.graph.senders[int(n)] for n in self.kept.any(0).nonzero().flatten())

    def without(self, senders: Iterable[str]) -> "Circuit":
        """The circuit less all edges out of some components.

        Raises `InputError` for a component that the graph lacks.
        """
        kept = self.kept.clone()
        for name in senders:
            kept[:, self._sender(name)] = False
        return Circuit(self.graph, kept, self.found)

    def joined(self, names: Iterable[str]) -> "Circuit":
        """The circuit and more: an edge by its name, or all edges into and out of a component.

        Raises `InputError` for what is neither.
        """
        graph, kept = self.graph, self.kept.clone()
        for name in names:
            if "->" in name:
                kept[graph.edge(name)] = True
                continue
            sender = self._sender(name)
            read = [n for n in range(len(graph.receivers)) if sender in graph.owners(n)]
            kept[:, sender] = graph.valid[:, sender]
            kept[read] = graph.valid[read]
        return Circuit(graph, kept, self.found)

    def complement(self) -> "Circuit":
        return Circuit(self.graph, self.graph.valid & ~self.kept, self.found)

    def pruned(self) -> "Circuit":
        """Only edges on a way from the embedding to the logits: others carry nothing."""
        graph, kept = self.graph, self.kept.clone()
        fed = torch.zeros(len(graph.senders), dtype=torch.bool)
        fed[0] = True
        for receiver in range(len(graph.receivers)):
            kept[receiver] &= fed
            if bool(kept[receiver].any()):
                fed[graph.owners(receiver)] = True
        leads = torch.zeros_like(fed)
        for receiver in reversed(range(len(graph.receivers))):
            owners = graph.owners(receiver)
            if owners and not bool(leads[owners].any()):
                kept[receiver] = False
            leads |= kept[receiver]
        return Circuit(graph, kept, self.found)

    def _sender(self, name: str) -> int:
        if name not in self.graph.senders:
            raise InputError(f"{name!r} is no component of this model, such as L0H1 or L0.mlp")
        return self.graph.senders.index(name)

    def text(self) -> str:
        """As JSON, which `read_circuit` reads from a file."""
        content = {
            "format": FORMAT,
            "graph": asdict(self.graph),
            "found": dict(self.found),
            "edges": list(self.edges),
        }
        return json.dumps(content, indent=1) + "\n"

    def write(self, path: str | Path) -> None:
        """As JSON."""
        Path(path).write_text(self.text(), encoding="utf-8")


def read_circuit(path: str | Path) -> Circuit:
    """A circuit from its JSON file.

    Raises `InputError` for a file that is none, and for edges that its graph lacks.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise InputError(f"it is of format {content['format']!r}; {FORMAT!r} is read here")
        sizes = content["graph"]
        whole = all(type(sizes[name]) is int for name in ("n_layers", "n_heads", "n_kv_heads"))
        flags = all(type(sizes[name]) is bool for name in ("mlps", "parallel"))
        if not whole or not flags or not _sensible(sizes):
            raise InputError(f"the sizes of its graph, {sizes}, are those of no model")
        return Circuit.of(Graph(**sizes), content["edges"], **content["found"])
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except MISFITS as error:
        raise InputError(
            f"{path} is no circuit ({error}); `workbench circuit --out` writes one"
        ) from error


_MOST = 2**12  # layers, or heads: far above any model, so that a lying file takes no memory


def _sensible(sizes: Mapping[str, int]) -> bool:
    layers, heads, groups = (sizes[name] for name in ("n_layers", "n_heads", "n_kv_heads"))
    return (
        1 <= layers <= _MOST
        and 1 <= groups <= heads <= _MOST
        and heads % groups == 0
        and (layers * heads) ** 2 <= 2**28
    )

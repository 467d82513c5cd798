"""What a circuit is worth: faithfulness by size (CPR, CMD), completeness, minimality."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.models import Model
from workbench.patching.edges.circuit import Circuit
from workbench.patching.edges.circuit_runs import run_circuits
from workbench.patching.edges.graph import Graph
from workbench.patching.edges.search import SEARCHES
from workbench.patching.statistics import Interval
from workbench.tasks import Pairs

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Of all edges: the sizes at which the MIB benchmark takes circuits."""


@dataclass(frozen=True)
class Curve:
    """Faithfulness of circuits of growing size, `[fraction]`, and how many edges each has."""

    fractions: tuple[float, ...]
    sizes: tuple[int, ...]
    faithfulness: Interval

    @property
    def cpr(self) -> float:
        """Integrated circuit performance ratio: the area under the curve; more is better."""
        return self._area(self.faithfulness.mean)

    @property
    def cmd(self) -> float:
        """Integrated circuit-model distance: the area between the curve and 1; 0 is best."""
        return self._area((1 - self.faithfulness.mean).abs())

    def _area(self, heights: Float[Tensor, " fraction"]) -> float:
        return float(torch.trapezoid(heights.double(), torch.tensor(self.fractions).double()))


def curve(
    model: Model,
    pairs: Pairs,
    graph: Graph,
    strengths: Float[Tensor, "receiver sender"],
    *,
    search: str = "threshold",
    fractions: Sequence[float] = FRACTIONS,
    **how: Any,
) -> Curve:
    """Faithfulness of the strongest edges by how many are taken (Mueller et al. 2025, MIB).

    MIB ranks by signed scores for CPR (`EdgeScores.shares`) and by their size for CMD
    (`shares.abs()`). `how` are arguments of `run_circuits`.
    """
    count = int(graph.valid.sum())
    circuits = [SEARCHES[search](graph, strengths, int(part * count)) for part in fractions]
    ran = run_circuits(model, pairs, circuits, **how)
    return Curve(tuple(fractions), tuple(map(len, circuits)), ran.faithfulness())


@dataclass(frozen=True)
class Completeness:
    """Faithfulness of circuit and model without the same components, `[subset]`.

    A complete circuit suffers as the model does: `gap` is the largest difference.
    """

    subsets: tuple[tuple[str, ...], ...]
    circuit: Float[Tensor, " subset"]
    model: Float[Tensor, " subset"]

    @property
    def gap(self) -> float:
        return float((self.circuit - self.model).abs().max())


def completeness(
    model: Model, pairs: Pairs, circuit: Circuit, *, count: int = 8, seed: int = 0, **how: Any
) -> Completeness:
    """Take random halves of the circuit's components out of it and out of the model.

    Wang et al. 2022, section 4: F(C without K) against F(M without K). `how` are arguments of
    `run_circuits`.
    """
    chosen = [tuple(names) for names in _halves(circuit, count, seed)]
    whole = Circuit.whole(circuit.graph)
    ran = run_circuits(
        model,
        pairs,
        [one.without(names) for one in (circuit, whole) for names in chosen],
        **how,
    )
    found = ran.faithfulness().mean
    return Completeness(tuple(chosen), found[:count], found[count:])


def minimality(model: Model, pairs: Pairs, circuit: Circuit, **how: Any) -> dict[str, float]:
    """How much faithfulness falls without each component of the circuit, all others kept.

    Wang et al. 2022 look for a subset without which a component matters; this is the empty one,
    so two that stand in for each other may both show little. `how` are arguments of
    `run_circuits`.
    """
    names = [name for name in circuit.senders if name != "embed"]
    ran = run_circuits(model, pairs, [circuit, *(circuit.without([name]) for name in names)], **how)
    found = ran.faithfulness().mean
    return dict(zip(names, (found[0] - found[1:]).tolist(), strict=True))


def _halves(circuit: Circuit, count: int, seed: int) -> list[list[str]]:
    """Random halves of a circuit's components, the embedding left out."""
    names = [name for name in circuit.senders if name != "embed"]
    drawn = torch.Generator().manual_seed(seed)
    return [
        [names[n] for n in torch.randperm(len(names), generator=drawn)[: (len(names) + 1) // 2]]
        for _ in range(count)
    ]

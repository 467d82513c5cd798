"""The Circuit page's numbers: a circuit of some size, what it keeps, its strongest edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from dashboards.circuit_finding import Question, Stage, Task, judged

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.patching.edges import Circuit, CircuitRuns, EdgeScores, Graph

LISTED = 20  # edges in the table
OFFERED = 30  # edges that can be pinned from the list; others can be typed


@dataclass(frozen=True)
class Kept:
    """Which edges stay, and the share of the metric that they keep, with its interval."""

    name: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Strong:
    """An edge: the share of the difference that is lost without it, and whether it is kept."""

    name: str
    share: float
    low: float
    high: float
    kept: bool


@dataclass(frozen=True)
class Chosen:
    """What the user chose of the edges: how many, which in any case, and how many rivals."""

    size: int
    pins: tuple[str, ...]
    rivals: int

    @property
    def without_pins(self) -> Chosen:
        return replace(self, pins=())


@dataclass(frozen=True)
class Found:
    """A circuit by the scores of its edges, and random ones of as many."""

    task: Task
    question: Question
    scores: EdgeScores
    chosen: Chosen
    circuit: Circuit
    rivals: Sequence[Circuit]

    @property
    def graph(self) -> Graph:
        return self.scores.graph

    @property
    def links(self) -> list[tuple[str, str, str, float]]:
        """Sender, reader, name and share of each edge, as the drawing takes them."""
        shares = self.scores.shares
        return [
            (sender, reader, self.graph.name(*edge), float(shares[edge]))
            for sender, reader, edge in self.circuit.links()
        ]

    def strongest(self, count: int = LISTED) -> list[Strong]:
        """The edges with the largest shares of all, with intervals over the pairs."""
        edges = self.scores.top(count)
        found = self.scores.intervals(edges)
        bounds = (found.mean.tolist(), found.low.tolist(), found.high.tolist())
        return [
            Strong(self.graph.name(*edge), mean, low, high, bool(self.circuit.kept[edge]))
            for edge, mean, low, high in zip(edges, *bounds, strict=True)
        ]

    @property
    def sized(self) -> str:
        """How many edges, in words."""
        count, total = len(self.circuit), int(self.graph.valid.sum())
        more = count - self.chosen.size
        pinned = f", {more:,} of them by pins alone" if more > 0 else ""
        return f"{count:,} of {total:,} edges ({count / total:.2%}{pinned})"


@dataclass(frozen=True)
class CircuitView:
    """A circuit, and what it, all other edges and the random ones keep of the metric."""

    found: Found
    runs: CircuitRuns

    @cached_property
    def kept(self) -> list[Kept]:
        """This circuit, all other edges, and random circuits of as many."""
        shares = self.runs.faithfulness()
        names = ["this circuit", "all other edges"]
        names += [f"random circuit {number + 1}" for number in range(len(self.found.rivals))]
        columns = (bound.tolist() for bound in (shares.mean, shares.low, shares.high))
        return [Kept(*row) for row in zip(names, *columns, strict=True)]

    @property
    def said(self) -> str:
        """The share that the circuit keeps, in words."""
        first = self.kept[0]
        interval = "" if self.one else f" [{first.low:.1%}, {first.high:.1%}]"
        return f"{first.mean:.1%}{interval} of the {self.runs.metric} kept by {self.found.sized}"

    @property
    def one(self) -> bool:
        """Whether there is one pair alone, which has no interval."""
        return len(self.runs.whole) == 1

    @property
    def about(self) -> str:
        """What was found and judged, on what, and the anchors."""
        runs, task, question = self.runs, self.found.task, self.found.question
        count = len(task.judge.pairs)
        on = f"{count} other pairs" if task.apart else f"the same {_pairs(count)}"
        intervals = "" if self.one else "; 95 % bootstrap intervals over pairs"
        return (
            f"Edges scored by {question.by} on {_pairs(len(task.find.pairs))}, chosen by "
            f"{question.search} search; judged on {on}: {runs.metric} "
            f"{float(runs.whole.mean()):.4f} of the whole model = 1, "
            f"{float(runs.empty.mean()):.4f} of the empty circuit = 0 ({runs.ablation} ablation)"
            f"{intervals}"
        )


def sizes(graph: Graph) -> list[int]:
    """What the slider offers: 1, 2, 3, 5, 10, ... to all edges, less what is next to nothing."""
    total = int(graph.valid.sum())
    steps = [digit * 10**power for power in range(9) for digit in (1, 2, 3, 5)]
    return [*(step for step in steps if total / 10_000 <= step < total), total]


def first_size(known: Sequence[int]) -> int:
    """The slider's first place: about one edge in 300, and at least five."""
    most = max(5, known[-1] // 300)
    return max(size for size in known if size <= most)


def offered(scores: EdgeScores) -> list[str]:
    """What can be pinned by choice: the strongest edges, and the components that they join."""
    graph, names = scores.graph, scores.graph.senders
    edges = scores.top(OFFERED)
    ends = [names[n] for edge in edges for n in (edge[1], *graph.owners(edge[0]))]
    components = [name for name in dict.fromkeys(ends) if name != "embed"]
    return [*components, *(graph.name(*edge) for edge in edges)]


def find(task: Task, question: Question, scores: EdgeScores, chosen: Chosen) -> Found:
    """The circuit that was asked for. Raises `InputError` for pins that the model lacks."""
    from workbench.patching.edges import SEARCHES, Circuit, random_circuits

    model = task.find.model
    how = {"model": model.name, "fingerprint": model.identity.fingerprint}
    how |= {"task": task.find.pairs.name, "pairs": len(task.find.pairs)}
    how |= {**question.scoring, "search": question.search}
    how |= {"size": chosen.size, "pins": [*chosen.pins]}
    strengths = scores.shares.abs()
    one = SEARCHES[question.search](scores.graph, strengths, chosen.size).joined(chosen.pins)
    rivals = random_circuits(one, chosen.rivals)
    return Found(task, question, scores, chosen, Circuit(one.graph, one.kept, how), rivals)


def judge(found: Found, stage: Stage) -> CircuitView:
    """Run the circuit, all other edges, and the random circuits."""
    circuits = [found.circuit, found.circuit.complement(), *found.rivals]
    return CircuitView(found, judged(found.task, found.question, circuits, stage))


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count} pairs"

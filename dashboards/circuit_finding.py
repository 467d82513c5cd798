"""Scores of edges, and runs of circuits, of the Circuit page: computed once, held."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboards.patching_sweeps import Source
from dashboards.progress import Progress
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.patching.edges import Circuit, CircuitRuns, Curve, EdgeScores

    Curves = tuple[Curve, Curve]

MOST = 8  # of each kind held for all sessions; scores of a large model are some megabytes
LARGE = 20_000  # runs of exact scores: minutes of a processor's
Stage = Callable[[str], Progress]


@dataclass(frozen=True)
class Question:
    """How edges are scored, how a circuit of them is chosen, and how it is judged."""

    metric: str
    method: str
    steps: int
    search: str
    ablation: str

    @property
    def scoring(self) -> dict[str, Any]:
        """Arguments of `score_edges`."""
        steps = {"steps": self.steps} if self.method == "EAP-IG" else {}
        return {"metric": self.metric, "method": self.method, **steps}

    @property
    def judging(self) -> dict[str, Any]:
        """Arguments of `run_circuits`."""
        return {"metric": self.metric, "ablation": self.ablation}

    @property
    def by(self) -> str:
        """The method, in words."""
        return f"{self.method} ({self.steps} steps)" if self.method == "EAP-IG" else self.method


@dataclass(frozen=True)
class Task:
    """Where circuits are found, and where they are judged: on other pairs if there are enough."""

    find: Source
    judge: Source

    @classmethod
    def of(cls, source: Source) -> Task:
        find, judge = source.pairs.halves()
        return cls(replace(source, pairs=find), replace(source, pairs=judge))

    @property
    def apart(self) -> bool:
        return self.find.pairs is not self.judge.pairs


def scored(task: Task, question: Question, stage: Stage) -> tuple[EdgeScores, bool]:
    """The scores, and whether they were held. Raises `InputError` for too many exact runs."""
    key = (task.find.key, *question.scoring.items())
    held = _held_scores()
    known = key in held
    if not known:
        _put(held, key, _scored(task.find, question, stage))
    return held[key], known


def judged(
    task: Task, question: Question, circuits: Sequence[Circuit], stage: Stage
) -> CircuitRuns:
    """Each circuit alone; only those are run that have not been."""
    import torch

    from workbench.patching.edges import CircuitRuns, run_circuits

    held = _held_runs()
    key = (task.judge.key, *question.judging.items())
    rows = held[key] if key in held else _put(held, key, {})
    missing = {_digest(one): one for one in circuits if _digest(one) not in rows}
    if missing:
        ran = run_circuits(
            task.judge.model,
            task.judge.pairs,
            [*missing.values()],
            **question.judging,
            store=task.judge.store,
            progress=stage("Circuits run, on each pair"),
        )
        for digest, values in zip(missing, ran.values, strict=True):
            rows[digest] = replace(ran, values=values[None])
    found = [rows[_digest(one)] for one in circuits]
    values = torch.cat([one.values for one in found])
    first = found[0]
    return CircuitRuns(first.metric, first.ablation, values, first.whole, first.empty)


def curves(task: Task, question: Question, scores: EdgeScores, stage: Stage) -> Curves:
    """Faithfulness by size, edges ranked by signed scores (CPR) and by their size (CMD)."""
    from workbench.patching.edges import curve

    key = curves_key(task, question)
    held = _held_curves()
    if key not in held:
        source, how = task.judge, question.judging  # by threshold, as MIB defines them
        found = [
            curve(
                source.model,
                source.pairs,
                scores.graph,
                strengths,
                store=source.store,
                progress=stage(f"By {what}: circuits run, on each pair"),
                **how,
            )
            for what, strengths in (
                ("signed scores", scores.shares),
                ("their size", scores.shares.abs()),
            )
        ]
        _put(held, key, (found[0], found[1]))
    return held[key]


def curves_held(task: Task, question: Question) -> bool:
    return curves_key(task, question) in _held_curves()


def curves_key(task: Task, question: Question) -> Hashable:
    return (task.find.key, task.judge.key, question)


def _scored(source: Source, question: Question, stage: Stage) -> EdgeScores:
    from workbench import runs
    from workbench.patching.edges import graph_of, score_edges

    model, pairs = source.model, source.pairs
    needed = int(graph_of(model).valid.sum()) * len(pairs)
    if question.method == "exact" and needed > LARGE:
        raise InputError(
            f"exact scores take {needed:,} runs here, and this page does at most {LARGE:,}; "
            "choose EAP-IG, which estimates them from a few"
        )
    found = score_edges(
        model,
        pairs,
        **question.scoring,
        store=source.store,
        progress=stage(f"{question.by}, scores"),
    )
    runs.keep(
        runs.Record(
            kind="circuit",
            model={"name": model.name, **asdict(model.identity)},
            tokens=[list(side.ids) for row in pairs for side in (row.clean, row.corrupted)],
            arguments={**question.scoring, "task": pairs.name},
            device=str(model.device),
            seconds=round(found.spent.seconds, 4),
        )
    )
    return found


def _digest(circuit: Circuit) -> bytes:
    return sha256(circuit.kept.numpy().tobytes()).digest()


def _put(held: dict, key: Hashable, value: Any) -> Any:
    """Hold one more; the oldest is forgotten. A cached function could show no progress."""
    held[key] = value
    while len(held) > MOST:
        held.pop(next(iter(held)), None)
    return value


@st.cache_resource(show_spinner=False)
def _held_scores() -> dict[Hashable, EdgeScores]:
    return {}


@st.cache_resource(show_spinner=False)
def _held_runs() -> dict[Hashable, dict[bytes, CircuitRuns]]:
    return {}


@st.cache_resource(show_spinner=False)
def _held_curves() -> dict[Hashable, Curves]:
    return {}

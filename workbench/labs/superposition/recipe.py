"""Recipes of the ReLU output model of Elhage et al. 2022: over densities, and phase diagrams."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.labs.superposition.features import GROUPINGS, Features, Grouping
from workbench.labs.superposition.relu_output import ReLUOutput, narrow
from workbench.labs.superposition.spread import spread
from workbench.labs.superposition.training import (
    BatchedTraining,
    Part,
    Schedule,
    Task,
    ToyModel,
)
from workbench.training import Ranges, refuse

_HELD_OUT = 10**9  # a step that no training reaches
_MOST = 2**26  # numbers in a batch of all instances
DENSITIES = (1e-4, 1.0)
RANGES: Ranges = {
    "features": (1, 1000),
    "hidden": (1, 1000),
    "repeats": (1, 1000),
    "batch": (1, 65_536),
    "steps": (1, 1_000_000),
    "warmup": (0, 1_000_000),
    "rate": (1e-6, 1),
    "weight_decay": (0, 10),
    "seed": (0, 2**31),
}


@dataclass(frozen=True)
class Superposition(Schedule):
    """`features` in `hidden` dimensions, for each of `densities` (`spread`: a list or a range).

    Each feature is `importance` times as important as the one before. The grouping of
    neighbours: independent, correlated or anticorrelated, `group` of them. Every density is
    trained `repeats` times, from other weights and on other data. Raises `InputError` that lists
    every number out of range.
    """

    name: str = "superposition"
    about: str = "ReLU output models: features in fewer dimensions, from dense to sparse"
    features: int = 5
    hidden: int = 2
    importance: float = 0.9
    densities: str = "1..0.05 in 10"
    repeats: int = 5
    grouping: str = "independent"
    group: int = 2
    batch: int = 512

    def __post_init__(self) -> None:
        grouped = {"group": (1, max(1, self.features))}
        refuse(self, {**RANGES, **grouped, "importance": (1e-3, 1)})
        _grouping(self.grouping)
        densest = max(self.density)
        if self.grouping == "anticorrelated" and densest * self.group > 1:
            raise InputError(
                f"density {densest:g} is too dense for anticorrelated groups of {self.group}, of "
                f"which one feature is present at a time; give at most {1 / self.group:g}"
            )

    @property
    def density(self) -> tuple[float, ...]:
        """Of each cell."""
        return spread("densities", self.densities, *DENSITIES)

    def examples(self, done: int) -> int:
        """Per instance."""
        return done * self.batch

    def task(self) -> Task:
        importance = self.importance ** torch.arange(self.features)
        density = torch.tensor(self.density)[:, None].expand(-1, self.features)
        features = Features(density, self.repeats, _grouping(self.grouping), self.group)
        model = ReLUOutput(self.hidden)
        return fresh(features, importance.expand_as(density), model, self.seed, self.batch)

    def begin(self, device: str = "auto", compiled: bool = False) -> BatchedTraining:
        return BatchedTraining(self, device)


@dataclass(frozen=True)
class PhaseDiagram(Schedule):
    """Every cell a density and an importance of the last feature; the others have importance 1.

    `densities` are the outer axis, `importances` the inner one (`spread`: a list or a range);
    each cell is trained `repeats` times, and its best counts.
    Raises `InputError` that lists every number out of range.
    """

    steps: int = 1000
    rate: float = 0.03
    name: str = "superposition-phases"
    about: str = "ReLU output models: a phase diagram of importance and density"
    features: int = 2
    hidden: int = 1
    densities: str = "1..0.01 in 100"
    importances: str = "0.1..10 in 20"
    repeats: int = 4
    batch: int = 128

    def __post_init__(self) -> None:
        refuse(self, RANGES)
        _ = self.density, self.importance  # refused here rather than at the first step

    @property
    def density(self) -> tuple[float, ...]:
        return spread("densities", self.densities, *DENSITIES)

    @property
    def importance(self) -> tuple[float, ...]:
        """Of the last feature."""
        return spread("importances", self.importances, 1e-3, 1e3)

    def examples(self, done: int) -> int:
        """Per instance."""
        return done * self.batch

    def task(self) -> Task:
        importance = torch.ones(len(self.density), len(self.importance), self.features)
        importance[..., -1] = torch.tensor(self.importance)
        density = torch.tensor(self.density)[:, None, None].expand_as(importance).flatten(0, 1)
        features, model = Features(density, self.repeats), ReLUOutput(self.hidden)
        return fresh(features, importance.flatten(0, 1), model, self.seed, self.batch)

    def begin(self, device: str = "auto", compiled: bool = False) -> BatchedTraining:
        return BatchedTraining(self, device)


def fresh(
    features: Features,
    importance: Float[Tensor, "cell n"],
    model: ToyModel,
    seed: int,
    batch: int,
) -> Task:
    """Other examples at each step; what is held out is the same for all of a cell's repeats.

    Raises `InputError` where a batch of all instances is too large for one step.
    """
    repeats, numbers = features.repeats, importance.numel() * features.repeats
    if numbers * batch > _MOST:
        raise InputError(
            f"{numbers:,} features of all instances times a batch of {batch:,} are too many for a "
            f"step; the limit is {_MOST:,}: give fewer instances or a smaller batch"
        )
    side = isinstance(model, ReLUOutput) and narrow(model.hidden, importance.shape[1])
    once = replace(features, repeats=1)

    def batches(step: int) -> Sequence[Part]:
        return [(slice(None), features.draw(seed, step, batch, instances_last=side))]

    def held_out(many: int) -> Iterator[Part]:
        many = max(64, min(many, _MOST // importance.numel()))
        x = once.draw(seed, _HELD_OUT, many, instances_last=side)
        for repeat in range(repeats):
            yield slice(repeat, None, repeats), x

    return Task(model, importance, repeats, batches, held_out)


def _grouping(name: str) -> Grouping:
    for known in GROUPINGS:
        if known == name:
            return known
    raise InputError(f"grouping {name!r} does not exist; known: {', '.join(GROUPINGS)}")


SUPERPOSITION = Superposition(steps=5000, rate=0.03)
GEOMETRY = Superposition(
    name="superposition-geometry",
    about="ReLU output models: 200 equally important features in 20 dimensions",
    features=200,
    hidden=20,
    importance=1.0,
    densities="1..0.05 in 16",
    batch=256,
    steps=2500,
)
PHASE_DIAGRAM = PhaseDiagram()
PHASE_DIAGRAM_3 = replace(PHASE_DIAGRAM, name="superposition-phases-3", features=3, hidden=2)
PAIRS = PhaseDiagram(
    name="superposition-pairs",
    about="ReLU output models: two features in one dimension, many times",
    densities="0.1,0.3,0.8,1",
    importances="0.9,1",
    repeats=80,
    batch=256,
    steps=3000,
)

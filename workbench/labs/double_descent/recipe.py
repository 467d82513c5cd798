"""The recipe of double descent in toy models, after Henighan et al. 2023.

Superposition, Memorization, and Double Descent: the ReLU output model of Elhage et al. 2022 on a
fixed set of sparse examples of norm 1, the whole set at each step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.labs.superposition.relu_output import ReLUOutput
from workbench.labs.superposition.spread import spread
from workbench.labs.superposition.training import (
    BatchedTraining,
    Part,
    Schedule,
    Task,
)
from workbench.training import refuse

_HELD_OUT = 10**9  # a number of points that no training has
_MOST = 2**27  # numbers in all data of a training


@dataclass(frozen=True)
class DoubleDescent(Schedule):
    """For each of the numbers of `points`, `repeats` models on as many sets of so many points.

    `points` is a list with commas (`spread`). All features are equally important. Raises
    `InputError` that lists every number out of range.
    """

    steps: int = 2000
    warmup: int = 100
    weight_decay: float = 0.03
    name: str = "double-descent"
    about: str = "ReLU output models on few fixed examples: data points, then features, in polygons"
    points: str = "3,4,5,6,8,12,20,30,50,100,200,300,500,1000,2000,5000"
    features: int = 1000
    hidden: int = 2
    density: float = 0.01
    repeats: int = 5

    def __post_init__(self) -> None:
        refuse(
            self,
            {
                "features": (2, 10_000),
                "hidden": (1, 100),
                "density": (1e-4, 1),
                "repeats": (1, 100),
                "steps": (1, 1_000_000),
                "warmup": (0, 1_000_000),
                "rate": (1e-6, 1),
                "weight_decay": (0, 10),
                "seed": (0, 2**31),
            },
        )
        numbers = sum(self.sets) * self.repeats * self.features
        if numbers > _MOST:
            raise InputError(
                f"points {self.points}, {self.repeats} repeats and {self.features} features are "
                f"{numbers:,} numbers of data; the limit is {_MOST:,}: give fewer of them"
            )

    @property
    def sets(self) -> tuple[int, ...]:
        """How many points each set has."""
        found = spread("points", self.points, 1.0, 1e5)
        if wrong := [number for number in found if number != int(number)]:
            raise InputError(f"points {wrong[0]:g} is no whole number; give a list such as 3,5,100")
        return tuple(int(number) for number in found)

    def data(self, points: int) -> Float[Tensor, "repeat {points} n"]:
        """The sets of that many points which the models of this recipe are trained on."""
        return sparse(self.seed, points, self.repeats, self.features, self.density)

    def examples(self, done: int) -> int:
        """Per repeat, over all sets."""
        return done * sum(self.sets)

    def task(self) -> Task:
        repeats = self.repeats
        places = [slice(at * repeats, (at + 1) * repeats) for at in range(len(self.sets))]
        parts: list[Part] = []

        def batches(step: int) -> Sequence[Part]:
            if not parts:  # drawn at the first step: who only looks at a model needs none
                drawn = (self.data(points) for points in self.sets)
                parts.extend(zip(places, drawn, strict=True))
            return parts

        def held_out(many: int) -> Iterator[Part]:
            drawn = sparse(self.seed, many, 1, self.features, self.density, held_out=True)
            for place in places:
                yield place, drawn.expand(repeats, -1, -1)

        importance = torch.ones(len(places), self.features)
        return Task(ReLUOutput(self.hidden), importance, self.repeats, batches, held_out)

    def begin(self, device: str = "auto", compiled: bool = False) -> BatchedTraining:
        return BatchedTraining(self, device)


def sparse(
    seed: int, points: int, repeats: int, n: int, density: float, *, held_out: bool = False
) -> Float[Tensor, "repeat {points} n"]:
    """Points of norm 1; each feature is present with probability `density`, uniform in [0, 1].

    A point without any feature is all zeros.
    """
    drawn = np.random.default_rng((seed, _HELD_OUT if held_out else points)).random(
        (repeats, points, n), dtype=np.float32
    )
    x = torch.from_numpy(drawn).sub_(1 - density).div_(density).clamp_min_(0)
    return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-12)


DOUBLE_DESCENT = DoubleDescent()

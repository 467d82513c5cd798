"""Computation in superposition: absolute values with few neurons (Elhage et al. 2022).

y' = ReLU(W2 ReLU(W1 x) + b), trained to give |x|. With two neurons for each feature one takes x
and the other -x; with fewer, features share neurons.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.labs.superposition.features import Features
from workbench.labs.superposition.recipe import DENSITIES, RANGES, fresh
from workbench.labs.superposition.relu_output import threshold_backward
from workbench.labs.superposition.spread import spread
from workbench.labs.superposition.training import BatchedTraining, Schedule, Task
from workbench.training import refuse

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class AbsoluteModel:
    """`w_in` [instance neuron n], `w_out` [instance n neuron], `bias` [instance n]."""

    neurons: int

    def initial(self, seed: int, repeats: int, n: int) -> dict[str, Tensor]:
        """Xavier's normal weights."""
        drawn = torch.randn(
            2, repeats, self.neurons, n, generator=torch.Generator().manual_seed(seed)
        ) * math.sqrt(2 / (self.neurons + n))
        return {"w_in": drawn[0], "w_out": drawn[1].mT, "bias": torch.zeros(repeats, n)}

    def gradients(
        self,
        weights: Weights,
        x: Float[Tensor, "instance batch n"],
        importance: Float[Tensor, "instance n"],
    ) -> tuple[Float[Tensor, " instance"], dict[str, Tensor]]:
        """As `gradients` of the ReLU output model, on features spread over -1 to 1."""
        w_in, w_out = weights["w_in"], weights["w_out"]
        x = signed(x)
        neurons = torch.bmm(x, w_in.mT).relu_()
        before = torch.baddbmm(weights["bias"][:, None], neurons, w_out.mT)
        error = before.relu().sub_(x.abs())
        loss = (error.square().sum(1) * importance).sum(1) / x.shape[1]
        error = threshold_backward(error, before, 0).mul_(importance[:, None] * (2 / x.shape[1]))
        back = threshold_backward(torch.bmm(error, w_out), neurons, 0)
        return loss, {
            "w_in": torch.bmm(back.mT, x),
            "w_out": torch.bmm(error.mT, neurons),
            "bias": error.sum(1),
        }


def signed(x: Float[Tensor, "instance batch n"]) -> Float[Tensor, "instance batch n"]:
    """Features uniform in [0, 1] where present, as features uniform in [-1, 1] there."""
    return torch.where(x > 0, 2 * x - 1, 0.0)


@dataclass(frozen=True)
class AbsoluteValue(Schedule):
    """`features` absolute values with `neurons`, for each of `densities` (a list or a range).

    Each feature is `importance` times as important as the one before; every density is trained
    `repeats` times. Raises `InputError` that lists every number out of range.
    """

    name: str = "absolute-value"
    about: str = "absolute values of sparse features, with fewer neurons than two for each"
    features: int = 10
    neurons: int = 10
    importance: float = 0.8
    densities: str = "1..0.02 in 8"
    repeats: int = 5
    batch: int = 512

    def __post_init__(self) -> None:
        own = {"neurons": (1, 1000), "importance": (1e-3, 1)}
        refuse(self, {name: ends for name, ends in RANGES.items() if name != "hidden"} | own)
        _ = self.density  # refused here rather than at the first step

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
        return fresh(
            Features(density, self.repeats),
            importance.expand_as(density),
            AbsoluteModel(self.neurons),
            self.seed,
            self.batch,
        )

    def begin(self, device: str = "auto", compiled: bool = False) -> BatchedTraining:
        return BatchedTraining(self, device)


def purity(w_in: Float[Tensor, "*instance neuron n"]) -> Float[Tensor, "*instance neuron"]:
    """The share of a neuron's squared input weights that its largest has: 1 for one feature."""
    squares = w_in.square()
    return squares.amax(-1) / squares.sum(-1).clamp_min(1e-9)


ABSOLUTE_VALUE = AbsoluteValue()

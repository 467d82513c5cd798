"""Many toy models trained side by side: what their recipes share, and one loop for all."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.labs.superposition.checkpoint import save_tensors
from workbench.models.loading import resolve_device
from workbench.training import Step, power_of_two

Part = tuple[slice, Float[Tensor, "instance batch n"]]
"""Which instances see a batch, and the batch."""
_LOGGED = 256  # examples of a log row's evaluation
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps


@runtime_checkable
class ToyModel(Protocol):
    """A model of which many are trained at once: its first weights, and loss and gradients."""

    def initial(self, seed: int, repeats: int, n: int) -> dict[str, Tensor]:
        """By name, with an axis of repeats in front."""
        ...

    def gradients(
        self,
        weights: Mapping[str, Tensor],
        x: Float[Tensor, "instance batch n"],
        importance: Float[Tensor, "instance n"],
    ) -> tuple[Float[Tensor, " instance"], dict[str, Tensor]]:
        """The loss of each instance, and by name what each weight changes it by."""
        ...


@dataclass(frozen=True)
class Task:
    """What instances are asked for, cell by cell; every cell is trained `repeats` times.

    `batches(step)` are the parts of a step's data, `held_out(many)` those that nobody trains on,
    `many` examples of each.
    """

    model: ToyModel
    importance: Float[Tensor, "cell n"]
    repeats: int
    batches: Callable[[int], Sequence[Part]]
    held_out: Callable[[int], Iterable[Part]]

    @property
    def instances(self) -> int:
        return len(self.importance) * self.repeats


@runtime_checkable
class ToyRecipe(Protocol):
    """What the loop asks of a recipe, beside what every recipe has."""

    @property
    def name(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    def scale(self, step: int) -> float: ...
    def numbers(self) -> dict[str, object]: ...
    def task(self) -> Task: ...


@dataclass(frozen=True)
class Schedule:
    """Fields and methods that recipes of toy models share; the rate falls by a cosine to 0."""

    steps: int = 3000
    rate: float = 0.01
    warmup: int = 50
    weight_decay: float = 0.0
    seed: int = 0

    def numbers(self) -> dict[str, object]:
        return {name: value for name, value in asdict(self).items() if name != "about"}

    def scale(self, step: int) -> float:
        """The share of the rate at a step: up over `warmup`, then half a cosine down to 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        left = (self.steps - step) / max(1, self.steps - self.warmup)
        return 0.5 * (1 - math.cos(math.pi * left))

    def rung(self, done: int) -> bool:
        return power_of_two(done)


class BatchedTraining:
    """Toy models under way, all of them one step at a time: AdamW, gradients by hand.

    The cells of a repeat begin with the same weights.
    """

    precision = "float32"

    def __init__(self, recipe: ToyRecipe, device: str = "auto") -> None:
        self.recipe = recipe
        self.device = resolve_device(device)
        self.done = 0
        self.task = recipe.task()
        cells, n = self.task.importance.shape
        first = self.task.model.initial(recipe.seed, self.task.repeats, n)
        self.weights = {
            name: value.repeat(cells, *[1] * (value.ndim - 1)).to(self.device)
            for name, value in first.items()
        }
        spread = self.task.importance.repeat_interleave(self.task.repeats, 0)
        self._importance = spread.to(self.device)
        self._optimiser = torch.optim.AdamW(
            self.weights.values(), lr=recipe.rate, weight_decay=recipe.weight_decay
        )

    def steps(self) -> Iterator[Step]:
        """The steps that are left; whoever reads may stop at any of them."""
        while self.done < self.recipe.steps:
            loss = self._step()
            self.done += 1
            yield Step(self.done, self.recipe.steps, loss)

    def losses(self, examples: int = 4096) -> Float[Tensor, " instance"]:
        """Of every instance, on examples that none was trained on."""
        found = torch.empty(self.task.instances)
        for part, x in self.task.held_out(examples):
            found[part] = self._gradients(part, x)[0].cpu()
        return found

    def by_cell(self, name: str) -> Float[Tensor, "cell repeat ..."]:
        """A copy of one of the weights as it is now, on the processor."""
        value = self.weights[name].detach().cpu()
        return value.reshape(-1, self.task.repeats, *value.shape[1:]).clone()

    def metrics(self) -> Mapping[str, float]:
        """Held-out loss: the mean over instances, and over each cell's best."""
        found = self.losses(_LOGGED).view(-1, self.task.repeats)
        return {"held-out loss": float(found.mean()), "best": float(found.amin(1).mean())}

    def state(self) -> dict[str, Tensor]:
        moments = {
            f"{name}.{key}": value
            for name, parameter in self.weights.items()
            for key, value in self._optimiser.state[parameter].items()
        }
        return {**self.weights, **moments}

    def restore(self, state: dict[str, Tensor], done: int) -> None:
        """Continue from what `state()` gave after `done` steps.

        Raises `InputError` for tensors that are not those of this recipe.
        """
        kept: dict[int, dict[str, Tensor]] = {}
        for number, (name, value) in enumerate(self.weights.items()):
            given = state.get(name)
            if given is None or given.shape != value.shape:
                found = "missing" if given is None else f"of shape {tuple(given.shape)}"
                raise InputError(
                    f"this checkpoint does not fit recipe {self.recipe.name}: {name} is {found}, "
                    f"expected {tuple(value.shape)}; give the recipe that made it, or start anew"
                )
            value.copy_(given)
            if done:
                kept[number] = {key: state[f"{name}.{key}"] for key in _MOMENTS}
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": kept, "param_groups": groups})
        self.done = done

    def save(self, folder: Path, card: Mapping[str, Any]) -> None:
        """Weights by name, their shapes, and a card."""
        save_tensors(folder, self.weights, card)

    def _step(self) -> Float[Tensor, ""]:
        found = {name: torch.empty_like(value) for name, value in self.weights.items()}
        loss = torch.empty(self.task.instances, device=self.device)
        for part, x in self.task.batches(self.done):
            loss[part], each = self._gradients(part, x)
            for name, value in each.items():
                found[name][part] = value
        for name, value in found.items():
            self.weights[name].grad = value
        self._optimiser.param_groups[0]["lr"] = self.recipe.rate * self.recipe.scale(self.done)
        self._optimiser.step()
        return loss.mean()

    def _gradients(self, part: slice, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        weights = {name: value[part] for name, value in self.weights.items()}
        return self.task.model.gradients(weights, x.to(self.device), self._importance[part])

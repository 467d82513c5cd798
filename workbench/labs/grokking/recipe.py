"""Addition modulo p, trained full-batch until it groks: the recipe and its loop."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from workbench.errors import InputError
from workbench.labs.grokking.checkpoints import MIXED
from workbench.labs.grokking.circuit import accuracy, cross_entropy, embedding_gini, logits
from workbench.labs.grokking.fast import answers, examples, loss, split
from workbench.labs.grokking.weights import Weights, from_native, shape_of, to_native
from workbench.models.loading import resolve_device
from workbench.models.native import CONFIG, network, save_native
from workbench.models.tokens import Labels
from workbench.training import Ranges, Step, refuse

LABELS = ("sum", "random")
BETAS = (0.9, 0.98)
_RANGES: Ranges = {
    "p": (5, 257),
    "fraction": (0.01, 1),
    "weight_decay": (0, 10),
    "rate": (1e-6, 0.1),
    "d_model": (4, 1024),
    "heads": (1, 64),
    "d_mlp": (1, 8192),
    "attention": (0, 1),
    "steps": (1, 10_000_000),
    "seed": (0, 2**31),
    "every": (0, 10_000_000),
}


@dataclass(frozen=True)
class Grokking:
    """Full-batch AdamW on a share of all pairs (a, b), each with (a + b) mod p to answer.

    A step is an epoch. `labels` "random" gives each pair an answer of its own, which can only be
    memorised. `attention` mixes the softmax (1) with a constant (0). The ladder has a rung at
    each multiple of `every` (0: at none) and two before the first. Raises `InputError`
    that lists every knob out of range, with its range.
    """

    name: str = "grokking"
    about: str = "addition modulo p by a one-layer transformer, full-batch AdamW"
    p: int = 113
    fraction: float = 0.5
    weight_decay: float = 1.0
    rate: float = 1e-3
    d_model: int = 128
    heads: int = 4
    d_mlp: int = 512
    attention: float = 1.0
    labels: str = "sum"
    steps: int = 2400
    seed: int = 0
    every: int = 150

    def __post_init__(self) -> None:
        wrong = []
        if self._sizes_fit() and not round(self.fraction * self.p**2):
            wrong.append(f"fraction {self.fraction:g} (of {self.p**2} pairs that is none)")
        if self.labels not in LABELS:
            wrong.append(f"labels {self.labels} ({' or '.join(LABELS)})")
        if self.heads > 0 and self.d_model % self.heads:
            wrong.append(f"d_model {self.d_model} (a multiple of heads, {self.heads})")
        refuse(self, _RANGES, *wrong)

    def _sizes_fit(self) -> bool:
        sizes = {name: _RANGES[name] for name in ("p", "fraction")}
        return all(low <= getattr(self, name) <= high for name, (low, high) in sizes.items())

    def numbers(self) -> dict[str, object]:
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("about", "every")
        }

    def wanted(self) -> Int[Tensor, " pairs"]:
        """The answer of each pair, at a p + b."""
        if self.labels == "sum":
            return answers(self.p, torch.arange(self.p**2))
        drawn = torch.Generator().manual_seed(self.seed + 1)
        return torch.randint(self.p, (self.p**2,), generator=drawn)

    def scale(self, step: int) -> float:
        """The learning rate never changes."""
        return 1.0

    def rung(self, done: int) -> bool:
        if not self.every:
            return False
        return done % self.every == 0 or (done < self.every and done % max(1, self.every // 3) == 0)

    def examples(self, done: int) -> int:
        return done * round(self.fraction * self.p**2)

    def begin(self, device: str = "auto", compiled: bool = False) -> "GrokkingTraining":
        if compiled:
            raise InputError(
                f"{self.name} has a loop of its own that is not compiled; leave it off"
            )
        return GrokkingTraining(self, device)


class GrokkingTraining:
    """A recipe under way; `start`, the native tensors of a trained model, instead of new weights.

    One seed, thread count and machine give one result, bit for bit, however often it is stopped.
    """

    precision = "float32"

    def __init__(
        self, recipe: Grokking, device: str = "auto", start: Mapping[str, Tensor] | None = None
    ) -> None:
        self.recipe = recipe
        self.device = resolve_device(device)
        self.done = 0
        self.shape = shape_of(recipe.p, recipe.d_model, recipe.heads, recipe.d_mlp)
        made = network(self.shape, recipe.seed).named_parameters()
        own = {name: value for name, value in made if value.requires_grad}
        self.parameters = {
            name: (value if start is None else start[name])
            .detach()
            .clone()
            .to(self.device)
            .requires_grad_()
            for name, value in own.items()
        }
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(),
            lr=recipe.rate,
            betas=BETAS,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        p = recipe.p
        self.train, self.test = split(p, recipe.fraction, recipe.seed)
        self.wanted = recipe.wanted()
        self.over = examples(p, recipe.heads, self.train, self.wanted[self.train], self.device)

    def weights(self) -> Weights:
        """A copy of them as they are now."""
        now = {name: value.detach().clone() for name, value in self.parameters.items()}
        return from_native(now, self.recipe.heads, self.recipe.attention)

    def steps(self) -> Iterator[Step]:
        """The epochs that are left; whoever reads may stop at any of them."""
        while self.done < self.recipe.steps:
            now = self._step()
            self.done += 1
            yield Step(self.done, self.recipe.steps, now)

    def _step(self) -> Tensor:
        self.optimiser.zero_grad()
        now = loss(
            from_native(self.parameters, self.recipe.heads, self.recipe.attention), self.over
        )
        now.backward()
        self.optimiser.step()
        return now.detach()

    def metrics(self) -> Mapping[str, float]:
        weights = self.weights()
        found = logits(weights).flatten(0, 1).cpu()
        told = {}
        for name, pairs in (("train", self.train), ("test", self.test)):
            if len(pairs):
                given = found[pairs], self.wanted[pairs]
                told[f"{name} loss"] = cross_entropy(*given)
                told[f"{name} accuracy"] = accuracy(*given)
        return {**told, "Gini": embedding_gini(weights), "weight norm": weights.norm()}

    def state(self) -> dict[str, Tensor]:
        """Weights and optimiser, by name, in their own memory: copy or write them at once."""
        found = {f"weights.{name}": value.data for name, value in self.parameters.items()}
        for name, value in self.parameters.items():
            for key, kept in self.optimiser.state[value].items():
                found[f"adam.{name}.{key}"] = kept
        return found

    def restore(self, state: dict[str, Tensor], done: int) -> None:
        """Continue from what `state()` gave after `done` steps.

        Raises `InputError` for tensors that are not those of this recipe.
        """
        wrong = [
            name
            for name, value in self.parameters.items()
            if (given := state.get(f"weights.{name}")) is None or given.shape != value.shape
        ]
        if wrong:
            raise InputError(
                f"this checkpoint does not fit recipe {self.recipe.name}: {', '.join(wrong[:3])}"
                f"{' ...' if len(wrong) > 3 else ''} are missing or of another shape; give the "
                "recipe that made it, or start anew"
            )
        self.done = done
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(state[f"weights.{name}"])
        if done:
            group = self.optimiser.state_dict()["param_groups"]
            kept = {
                number: {
                    key: state[f"adam.{name}.{key}"].clone()
                    for key in ("step", "exp_avg", "exp_avg_sq")
                }
                for number, name in enumerate(self.parameters)
            }
            self.optimiser.load_state_dict({"state": kept, "param_groups": group})

    def save(self, folder: Path, card: Mapping[str, Any]) -> None:
        """A native folder; with mixed attention one that only `read_weights` reads."""
        save_weights(folder, self.weights(), card)


def save_weights(
    folder: Path, weights: Weights, card: Mapping[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """A folder that `workbench.models.load` takes, if the attention is a softmax alone."""
    p = weights.p
    shape = shape_of(p, weights.W_E.shape[1], weights.n_heads, weights.d_mlp)
    labels = Labels((*map(str, range(p)), "="))
    save_native(folder, shape, labels, to_native(weights), card, dtype)
    if weights.attention != 1:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config |= {"model_type": MIXED, "attention": weights.attention}
        (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


GROKKING = Grokking()

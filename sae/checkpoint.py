"""Trainings under way, and their one file: replaced whole, it continues bit for bit."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import xxhash

from sae.recipe import Recipe
from sae.samples import Samples
from sae.training import Training
from workbench import ranks
from workbench.cache import State
from workbench.carded import expect_fields, read_carded, write_carded
from workbench.errors import InputError
from workbench.models import Model

STATE = "state.safetensors"
FORMAT = 1
_WHAT = "checkpoint"
_CARD = {"recipes": list, "done": int, "seconds": float, "reader": dict, "rows": list}


@dataclass(frozen=True)
class Row:
    """One line of a training's log: means since the line before, for one dictionary."""

    step: int
    name: str
    losses: dict[str, float]
    l0: float
    n_dead: int


@dataclass
class Run:
    """What is under way: trainings in step, the reader's state, the log."""

    folder: Path
    samples: Samples
    model: Model
    trainings: dict[str, Training]
    seed: int
    about: Mapping[str, Any]
    done: int = 0
    seconds: float = 0.0
    reader: State | None = None
    rows: tuple[Row, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """Of the first; all have its steps and its batch."""
        return next(iter(self.trainings.values())).recipe

    @property
    def device(self) -> torch.device:
        """Of all trainings."""
        return next(iter(self.trainings.values())).silent.device

    @property
    def scale(self) -> str:
        """A digest of what rows are centred and multiplied by: a stream's is of a part of them."""
        ends = (self.samples.read, self.samples.wanted)
        numbers = torch.cat([part for end in ends for part in (end.mean, end.factors)])
        return xxhash.xxh3_128_hexdigest(numbers.numpy().data)

    @property
    def recipes(self) -> list[dict[str, Any]]:
        return [training.recipe.numbers() for training in self.trainings.values()]

    def write(self, since: float) -> None:
        """By the first rank; all have the same."""
        if ranks.rank():
            return
        tensors = {
            f"{name}/{key}": value
            for name, training in self.trainings.items()
            for key, value in training.state().items()
        }
        assert self.reader is not None
        card = {
            "format": FORMAT,
            "recipes": self.recipes,
            "seed": self.seed,
            "scale": self.scale,
            "done": self.done,
            "seconds": self.seconds + time.perf_counter() - since,
            "reader": self.reader.to_json(),
            "rows": [asdict(row) for row in self.rows],
        }
        write_carded(self.folder / STATE, tensors, card, what=_WHAT)

    def read(self) -> None:
        path = self.folder / STATE
        card, tensors = read_carded(path, what=_WHAT, fmt=FORMAT)
        expect_fields(path, _WHAT, card, _CARD)
        told = _differences(card, {"recipes": self.recipes, "seed": self.seed, "scale": self.scale})
        if told:
            raise InputError(f"{path} is of another training: {told}; give the same, or start anew")
        for name, training in self.trainings.items():
            own = {
                key.removeprefix(f"{name}/"): value
                for key, value in tensors.items()
                if key.startswith(f"{name}/")
            }
            training.restore(own, card["done"])
        self.done, self.seconds = card["done"], card["seconds"]
        self.reader = State.from_json(card["reader"])
        self.rows = tuple(Row(**row) for row in card["rows"])


def _differences(card: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return "; ".join(f"{k} {v}, was {card.get(k)}" for k, v in now.items() if card.get(k) != v)

"""The state of a training on disk: one file, replaced whole, that continues bit for bit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from workbench.carded import damaged, expect_fields, read_carded, write_carded
from workbench.errors import InputError, misfit
from workbench.training.recipe import SCHEDULE, Recipe

FORMAT = 2
_WHAT = "checkpoint"
_CARD = {"recipe": dict, "done": int, "seconds": float, "rows": list}


@dataclass(frozen=True)
class Row:
    """One line of a training's log: mean loss since the line before, and what was evaluated.

    `examples`: how many (tokens, of a model of sequences) were seen until then.
    """

    step: int
    examples: int
    loss: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Unfinished:
    """A training that was stopped: its tensors, its steps, the time they took, its log."""

    tensors: dict[str, Tensor]
    done: int
    seconds: float
    rows: tuple[Row, ...]


def write_state(path: Path, recipe: Recipe, state: Unfinished) -> None:
    """Replace the checkpoint at `path`."""
    card = {
        "format": FORMAT,
        "recipe": recipe.numbers(),
        "done": state.done,
        "seconds": state.seconds,
        "rows": [asdict(row) for row in state.rows],
    }
    write_carded(path, state.tensors, card, what=_WHAT)


def read_state(path: Path, recipe: Recipe) -> Unfinished:
    """The checkpoint at `path`.

    The schedule (steps, warmup, decay) may be another one as long as it gives the same learning
    rates to the steps that are done: a training is lengthened or shortened before it decays.
    Raises `InputError` naming the fields in which its recipe is not this one.
    """
    card, tensors = read_carded(path, what=_WHAT, fmt=FORMAT)
    expect_fields(path, _WHAT, card, _CARD)
    with misfit(lambda fault: damaged(path, _WHAT, "card", "a training's", fault)):
        return _unfinished(path, card, tensors, recipe)


def _unfinished(
    path: Path, card: Mapping[str, Any], tensors: dict[str, Tensor], recipe: Recipe
) -> Unfinished:
    before, now = card["recipe"], recipe.numbers()
    other = [field for field, here in now.items() if before.get(field) != here]
    if set(other) <= set(SCHEDULE):
        begun = replace(recipe, **{field: before[field] for field in SCHEDULE if field in before})
        if not 0 <= card["done"] <= begun.steps:
            raise damaged(path, _WHAT, "done", f"0 to {begun.steps}", card["done"])
        if all(begun.scale(step) == recipe.scale(step) for step in range(card["done"])):
            other = []
    told = "; ".join(f"{field} is {now[field]}, was {before.get(field)}" for field in other)
    if told:
        raise InputError(
            f"{path} is of another training: {told}; give the same recipe, or start anew in "
            "another folder"
        )
    rows = tuple(Row(**row) for row in card["rows"])
    return Unfinished(tensors, card["done"], card["seconds"], rows)

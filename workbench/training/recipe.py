"""What a recipe is: everything that decides what a training makes, as one frozen dataclass."""

import difflib
from collections.abc import Mapping
from dataclasses import Field, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from workbench.errors import InputError
from workbench.registry import named
from workbench.training.steps import Training

SCHEDULE = ("steps", "warmup", "decay")
"""Fields that matter only by the learning rates which they give to each step."""
KNOBS = {"int": int, "float": float, "str": str, "bool": {"true": True, "false": False}.__getitem__}


@runtime_checkable
class Recipe(Protocol):
    """A frozen dataclass; whichever of its fields are numbers, words or yes and no are knobs."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def seed(self) -> int: ...

    def numbers(self) -> dict[str, object]:
        """All that decides the weights, for a card and to tell what a checkpoint continues."""
        ...

    def scale(self, step: int) -> float:
        """The share of the learning rates at a step, counted from 0."""
        ...

    def rung(self, done: int) -> bool:
        """Whether the ladder keeps the weights after so many steps."""
        ...

    def examples(self, done: int) -> int:
        """How many tokens, or examples, so many steps have seen."""
        ...

    def begin(self, device: str = "auto", compiled: bool = False) -> Training:
        """The training before its first step."""
        ...


Some = TypeVar("Some", bound=Recipe)
Ranges = Mapping[str, tuple[float | int, float | int]]
"""By field: the least and the most that it can be."""


def refuse(recipe: Recipe, ranges: Ranges, *others: str) -> None:
    """Raise `InputError` that lists every field out of its range, and `others` that are wrong."""
    wrong = [
        f"{name} {value} (from {_plain(low)} to {_plain(high)})"
        for name, (low, high) in ranges.items()
        if not low <= (value := getattr(recipe, name)) <= high
    ]
    if wrong := [*wrong, *others]:
        raise InputError(f"recipe {recipe.name} cannot train with {', '.join(wrong)}")


def _plain(number: float | int) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:g}"


def power_of_two(done: int) -> bool:
    """1, 2, 4, 8, ...: the rungs of a ladder that is fine where most happens."""
    return done & (done - 1) == 0


def recipe_named(name: str) -> Recipe:
    """The recipe of that name, plugins' included. Raises `InputError` for none."""
    return named("recipes", name)


def knobs(recipe: Recipe) -> dict[str, object]:
    """The fields that `changed` takes, with their values."""
    return {
        field.name: getattr(recipe, field.name)
        for field in fields(recipe)
        if _kind(field) in KNOBS and field.name not in ("name", "about")
    }


def changed(recipe: Some, settings: Mapping[str, str]) -> Some:
    """The recipe with other knobs, given as words: `{"p": "59"}`.

    Raises `InputError` for a knob that it lacks, a word that is no value of it, and, by the
    recipe itself, a value out of range.
    """
    known, kinds = knobs(recipe), {field.name: _kind(field) for field in fields(recipe)}
    values: dict[str, Any] = {}
    for name, word in settings.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"{recipe.name} has no knob {name!r}; {hint}known: {', '.join(known)}")
        kind = kinds[name]
        try:
            values[name] = KNOBS[kind](word)
        except (ValueError, LookupError) as error:
            told = "true or false" if kind == "bool" else kind
            raise InputError(
                f"{name}={word} is no value of {recipe.name}: give one of type {told}, "
                f"such as {known[name]}"
            ) from error
    return replace(recipe, **values)


def _kind(field: Field[Any]) -> str:
    """The name of a field's type, whether annotations are kept as words or not."""
    return getattr(field.type, "__name__", str(field.type))

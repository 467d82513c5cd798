"""`check("01.broadcast", answer)`: whether an answer is right; if not, what is wrong with it.

An exercise is a function in `notebooks.exercises`, one module for each notebook. It gets what the
student made and raises `Hint` for what is wrong, without giving the answer away.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch

from workbench.errors import InputError

RIGHT, WRONG, OPEN = "✓", "✗", "✎"
EXERCISES: dict[str, Callable[..., None]] = {}


class Hint(Exception):
    """What is wrong with an answer, in words that help."""


def exercise(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function the checker of the exercise of that name, "NN.name"."""

    def kept(checker: Callable[..., None]) -> Callable[..., None]:
        EXERCISES[name] = checker
        return checker

    return kept


def check(name: str, *answer: Any) -> None:
    """Print whether an answer is right, or what to look at. Raises `InputError` for no exercise."""
    checker = _checker(name)
    if any(one is ... for one in answer):
        print(f"{OPEN} {name}: nothing here yet; put your answer in place of the dots")
        return
    try:
        checker(*answer)
    except Hint as hint:
        print(f"{WRONG} {name}: {hint}")
    else:
        print(f"{RIGHT} {name}: right")


def _checker(name: str) -> Callable[..., None]:
    number = name.partition(".")[0]
    try:
        import_module(f"notebooks.exercises.n{number}")
        return EXERCISES[name]
    except (ModuleNotFoundError, KeyError):
        known = ", ".join(one for one in EXERCISES if one.startswith(f"{number}."))
        raise InputError(f"there is no exercise {name!r}; known here: {known or 'none'}") from None


def tried(function: Callable[..., Any], *arguments: Any, told: str = "") -> Any:
    """What the student's function returns; a hint if it raises, returns nothing or still has dots.

    `told` is how the hint speaks of the arguments, where they are too long to print.
    """
    told = told or ", ".join(repr(one) for one in arguments)
    try:
        found = function(*arguments)
    except Exception as error:
        raise Hint(f"your function raises {type(error).__name__} for ({told}): {error}") from error
    if found is None or found is ...:
        raise Hint(f"your function returns nothing for ({told}); is there a `return` at its end?")
    return found


def like(found: Any, wanted: Any, what: str, *, tolerance: float = 1e-4) -> None:
    """Raise a hint unless `found` has the shape and the values of `wanted`; it never tells them."""
    if isinstance(wanted, torch.Tensor | np.ndarray) and not isinstance(found, type(wanted)):
        raise Hint(f"{what} is of type {type(found).__name__}; a {_kind(wanted)} is asked for")
    try:
        mine = np.asarray(_plain(found), dtype=float)
    except (TypeError, ValueError):
        raise Hint(f"{what} is {type(found).__name__}; a number or an array is asked for") from None
    theirs = np.asarray(_plain(wanted), dtype=float)
    if mine.shape != theirs.shape:
        raise Hint(f"{what} has the shape {mine.shape}; it should have {theirs.shape}")
    off = ~np.isclose(mine, theirs, rtol=tolerance, atol=tolerance)
    if off.any():
        place = tuple(int(one) for one in np.argwhere(off)[0])
        where = f" first at {list(place)}" if place else ""
        raise Hint(f"{what} has the right shape, but other values{where} ({off.mean():.0%} of it)")


def _kind(wanted: object) -> str:
    return "torch tensor" if isinstance(wanted, torch.Tensor) else "NumPy array"


def _plain(value: Any) -> Any:
    return value.detach().cpu().double().numpy() if isinstance(value, torch.Tensor) else value

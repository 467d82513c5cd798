"""`check("01.broadcast", answer)`: whether an answer is right; if not, what is wrong with it.

An exercise is a function in `notebooks.exercises`, one module for each notebook. It gets what the
student made and raises `Hint` for what is wrong, without giving the answer away.
"""

import dis
from collections.abc import Callable
from importlib import import_module
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from workbench.errors import InputError

RIGHT, WRONG, OPEN = "✓", "✗", "✎"
EXERCISES: dict[str, Callable[..., None]] = {}


class Hint(Exception):
    """What is wrong with an answer, in words that help."""


class Unfinished(Exception):
    """An answer still has its dots."""


def exercise(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function the checker of the exercise of that name, "NN.name"."""

    def kept(checker: Callable[..., None]) -> Callable[..., None]:
        EXERCISES[name] = checker
        return checker

    return kept


def check(name: str, *answer: Any) -> None:
    """Print whether an answer is right, or what to look at. Raises `InputError` for no exercise."""
    checker = _checker(name)
    try:
        if any(map(_untouched, answer)):
            raise Unfinished
        checker(*answer)
    except Unfinished:
        print(f"{OPEN} {name}: nothing here yet; put your answer in place of the dots")
    except Hint as hint:
        print(f"{WRONG} {name}: {hint}")
    except Exception as error:  # what came back is so far off that it could not be compared
        kind = f"{type(error).__name__}: {error}"
        print(f"{WRONG} {name}: that is not of the kind asked for ({kind}); print what you return")
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


def _untouched(answer: object) -> bool:
    """Dots, or a function that does nothing but return None or dots: what a student starts from."""
    if not isinstance(answer, FunctionType):
        return answer is ...
    steps = list(dis.get_instructions(answer))
    constants = [one.argval for one in steps if "CONST" in one.opname]
    only_returns = all(
        one.opname == "RESUME" or "CONST" in one.opname or one.opname == "RETURN_VALUE"
        for one in steps
    )
    return only_returns and constants in ([None], [...])


def tried(function: Callable[..., Any], *arguments: Any, told: str = "") -> Any:
    """What the student's function returns; a hint if it raises or returns nothing.

    `told` is how the hint speaks of the arguments, where they are too long to print. Raises
    `Unfinished` where it returns dots.
    """
    told = told or ", ".join(repr(one) for one in arguments)
    try:
        found = function(*arguments)
    except Exception as error:
        raise Hint(f"your function raises {type(error).__name__} for ({told}): {error}") from error
    if found is ...:
        raise Unfinished
    if found is None:
        raise Hint(f"your function returns nothing for ({told}); is there a `return` at its end?")
    return found


class Largest(TorchDispatchMode):
    """Counts the entries of the largest tensor that is made within."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        sizes = [one.numel() for one in tree_leaves(made) if isinstance(one, torch.Tensor)]
        self.entries = max([self.entries, *sizes])
        return made


def like(found: Any, wanted: Any, what: str, *, tolerance: float = 1e-4) -> None:
    """Raise a hint unless `found` has the shape and the values of `wanted`; it never tells them."""
    array = isinstance(wanted, torch.Tensor | np.ndarray) and wanted.ndim > 0
    if array and not isinstance(found, type(wanted)):
        raise Hint(f"{what} is of type {type(found).__name__}; a {_kind(wanted)} is asked for")
    mine = _numbers(found)
    if mine is None:
        raise Hint(f"{what} is {type(found).__name__}; a number or an array is asked for")
    theirs = np.asarray(_plain(wanted), dtype=float)
    if mine.shape != theirs.shape:
        raise Hint(f"{what} has the shape {mine.shape}; it should have {theirs.shape}")
    off = ~np.isclose(mine, theirs, rtol=tolerance, atol=tolerance)
    if off.any():
        place = tuple(int(one) for one in np.argwhere(off)[0])
        where = f" first at {list(place)}" if place else ""
        raise Hint(f"{what} has the right shape, but other values{where} ({off.mean():.0%} of it)")


def _numbers(found: object) -> np.ndarray | None:
    """None for what is none: text (which NumPy would read), None, complex numbers, ragged lists."""
    try:
        made = np.asarray(_plain(found))
    except (TypeError, ValueError, RuntimeError):
        return None
    return made.astype(float) if made.dtype.kind in "biuf" else None


def _kind(wanted: object) -> str:
    return "torch tensor" if isinstance(wanted, torch.Tensor) else "NumPy array"


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value

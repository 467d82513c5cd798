"""Which choices a task's prompts are written from: a seeded order of all there are, in turn."""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from math import prod
from random import Random
from typing import Any

from workbench.errors import InputError

Choice = tuple[Any, ...]


def check_corruption(corruption: str, known: Collection[str]) -> None:
    """Raises `InputError` for a corruption that a task does not have."""
    if corruption not in known:
        raise InputError(f"corruption {corruption!r} is not one of {', '.join(known)}")


def drawn(
    task: str,
    axes: Sequence[Sequence[Any]],
    n: int,
    seed: int,
    *,
    fits: Callable[..., bool] = lambda *_: True,
) -> list[Choice]:
    """`n` different choices of one value from each axis, of those that fit.

    The first axis' values take turns (templates, grammatical numbers), so that n prompts hold as
    many of each as there are to be had. A larger n begins with what a smaller one gives. Raises
    `InputError` where fewer than n are to be had.
    """
    if n < 1:
        raise InputError(f"{n} pairs of {task!r}; ask for at least one")
    first, *rest = axes
    order = Random(f"{task}/{seed}").sample(range(len(first)), len(first))
    walks = [_walk(first[at], rest, Random(f"{task}/{seed}/{at}"), fits) for at in order]
    found = list(islice(_in_turn(walks), n))
    if len(found) < n:
        raise InputError(
            f"{n} pairs of {task!r} are more than its words make with this vocabulary; ask for at "
            f"most {len(found)}"
            if found
            else f"the words of {task!r} make no pair with this vocabulary; load another model"
        )
    return found


def _walk(
    first: Any, axes: Sequence[Sequence[Any]], random: Random, fits: Callable[..., bool]
) -> Iterator[Choice]:
    """Every choice that begins with `first` and fits, once, in random order."""
    for number in _shuffled(prod(len(axis) for axis in axes), random):
        choice = [first]
        for axis in axes:
            number, at = divmod(number, len(axis))
            choice.append(axis[at])
        if fits(*choice):
            yield tuple(choice)


def _shuffled(size: int, random: Random) -> Iterator[int]:
    """The numbers below `size` in random order: Fisher and Yates', keeping only what moved.

    IOI has millions of prompts and docstrings more; no list of them is made.
    """
    moved: dict[int, int] = {}
    for at in range(size):
        other = random.randrange(at, size)
        yield moved.get(other, other)
        moved[other] = moved.pop(at, at)


def _in_turn(walks: list[Iterator[Choice]]) -> Iterator[Choice]:
    """One choice of each walk after another, until all have ended."""
    while walks:
        for walk in list(walks):
            choice = next(walk, None)
            if choice is None:
                walks.remove(walk)
            else:
                yield choice

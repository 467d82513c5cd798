"""For each notebook `aNN.py` with `ANSWERS`: right and typical wrong answers to its exercises."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answers:
    """What is handed to `check` after the name: right ones, and wrong ones with their hint.

    An answer is a tuple of arguments; a hint is a regular expression.
    """

    right: Sequence[tuple[Any, ...]]
    wrong: Sequence[tuple[tuple[Any, ...], str]]

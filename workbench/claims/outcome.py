"""What a claim gives back when it is checked."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """A claim, checked: where its answer comes from, what was expected and what was found."""

    source: str
    expected: str
    found: str
    holds: bool

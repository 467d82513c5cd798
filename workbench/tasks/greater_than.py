"""Greater-than: a span of years that began in 1732 ends in 17.., and later.

Hanna, Liu and Variengien 2023, arXiv 2305.00586. There a year is two tokens, `17` and `32`,
and every later pair of digits is right. Vocabularies of one token per digit are asked for the
tens: every greater digit is right, every smaller one wrong, and the same digit neither, for
there the ones would have to tell.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from workbench.errors import InputError
from workbench.models import Model
from workbench.tasks.drawing import drawn
from workbench.tasks.pairs import Pairs
from workbench.tasks.words import ids_of
from workbench.tasks.writing import contrast

TEMPLATE = "The {noun} lasted from the year {XX}{tens}{ones} to the year {century}"
CENTURIES = tuple(str(century) for century in range(11, 18))
NOUNS = (
    *("war", "siege", "campaign", "expedition", "voyage", "reign", "kingdom", "dynasty", "plague"),
    *("famine", "trial", "marriage", "friendship", "rivalry", "dispute", "conflict", "rebellion"),
    *("invasion", "investigation", "journey", "pilgrimage", "project", "program", "reform"),
    *("study", "survey", "tour", "tradition", "treaty", "alliance", "strike", "trade", "boom"),
    *("decline", "expansion", "exchange", "experiment", "operation", "negotiation", "quest"),
)
# The years 00 and 01 have nothing smaller, or are the corrupted prompt; 99 has nothing greater.
_YEARS = tuple(f"{year:02}" for year in range(2, 99))
_FIRST = "01"


@dataclass(frozen=True)
class Digits:
    """How a vocabulary ends a year.

    `ends` are the tokens that may follow the century, by what they read: `32`, or its tens.
    """

    width: Literal[1, 2]
    ends: Mapping[str, int]
    years: Mapping[str, tuple[str, ...]]  # century -> its years that end so, as does its `01`

    def sides(self, year: str) -> tuple[list[int], list[int]]:
        """The tokens that end a later year, and those that do not."""
        start = year[: self.width]
        later = [token for end, token in self.ends.items() if end > start]
        # Two digits tell a whole year, which does not last until itself; a tens digit does not.
        earlier = [t for end, t in self.ends.items() if end < start or end == year]
        return later, earlier


def greater_than(model: Model, n: int, seed: int = 0) -> Pairs:
    """Spans of years; corrupted is one that began in the year `01`, after which all are later."""
    digits = digits_of(model)
    nouns = [noun for noun in NOUNS if ids_of(model, noun)]
    sides = {year: digits.sides(year) for year in _YEARS}
    rows = []
    for century, noun, year in drawn(
        "greater-than",
        [list(digits.years), nouns, _YEARS],
        n,
        seed,
        fits=lambda century, _noun, year: year in digits.years[century] and all(sides[year]),
    ):
        words = {"noun": noun, "XX": century, "century": century}
        rows.append(
            contrast(
                model,
                TEMPLATE,
                {**words, "tens": year[0], "ones": year[1]},
                {**words, "tens": _FIRST[0], "ones": _FIRST[1]},
                answers=sides[year][0],
                wrongs=sides[year][1],
                places=("noun", "XX", "tens", "ones"),
            )
        )
    return Pairs("greater-than", tuple(rows))


def digits_of(model: Model) -> Digits:
    """Whether this vocabulary ends most years in one token of two digits, or in two tokens.

    `tens` and `ones` are then places of one position or of two. Years that are written otherwise
    (some are single tokens) are left out. Raises `InputError` where all are.
    """
    tails = {
        (century, year): tail
        for century in CENTURIES
        for year in (f"{number:02}" for number in range(100))
        if (tail := _tail(model, century, year))
    }
    sizes = Counter(len(tail) for tail in tails.values() if len(tail) <= 2)
    if not sizes:
        raise InputError(
            f"{model.name} writes 1732 in {len(ids_of(model, '1732'))} tokens; greater-than needs "
            "years that end in one token of two digits or in one token per digit"
        )
    size = sizes.most_common(1)[0][0]
    width = 2 if size == 1 else 1
    fitting = {key: tail for key, tail in tails.items() if len(tail) == size}
    ends = {year[:width]: tail[0] for (_, year), tail in fitting.items()}
    return Digits(
        width=width,
        ends=dict(sorted(ends.items())),
        years={
            century: tuple(year for year in _YEARS if (century, year) in fitting)
            for century in CENTURIES
            if (century, _FIRST) in fitting
        },
    )


def _tail(model: Model, century: str, year: str) -> tuple[int, ...]:
    """The tokens of a year behind those of its century; none where it is written otherwise."""
    head, whole = ids_of(model, century), ids_of(model, century + year)
    return whole[len(head) :] if head and whole[: len(head)] == head else ()

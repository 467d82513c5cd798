"""Prompt pairs: a clean and a corrupted prompt, token by token alike but for what is asked."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from workbench.errors import InputError
from workbench.models import Model, Tokens, visible


@dataclass(frozen=True)
class Pair:
    """Two prompts of equal length, and the tokens that tell which of them the model read.

    `answers` are right after the clean prompt, `wrongs` after the corrupted one or wrong after
    both; usually one token each. `places` names positions that both prompts share, such as
    `S2`; `end` is the last one.
    """

    clean: Tokens
    corrupted: Tokens
    answers: tuple[int, ...]
    wrongs: tuple[int, ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.clean) != len(self.corrupted):
            raise InputError(f"the prompts do not align: {_parting(self.clean, self.corrupted)}")
        if self.clean.ids == self.corrupted.ids:
            raise InputError(f"clean and corrupted prompt are the same: {self.clean.text!r}")
        if not self.answers or set(self.answers) & set(self.wrongs):
            raise InputError(
                f"answers {list(self.answers)} and wrong tokens {list(self.wrongs)}: give at least "
                "one answer, and none that is wrong as well"
            )
        if "end" in self.places:
            raise InputError("place 'end' is the last position of every pair; name yours otherwise")
        outside = {name: at for name, at in self.places.items() if not 0 <= at < len(self)}
        if outside:
            raise InputError(f"places {outside} are outside the prompt of {len(self)} tokens")

    def __len__(self) -> int:
        """Tokens in each of the prompts."""
        return len(self.clean)

    @property
    def first(self) -> int:
        """The first position at which the prompts differ."""
        ids = zip(self.clean.ids, self.corrupted.ids, strict=True)
        return next(at for at, (one, other) in enumerate(ids) if one != other)

    def at(self, place: str | int) -> int:
        """The position that a place names, a number counting from the end if it is negative."""
        known = {**self.places, "end": len(self) - 1}
        if isinstance(place, int):
            if not -len(self) <= place < len(self):
                raise InputError(
                    f"position {place} is beyond the prompt {self.clean.text!r}; its positions run "
                    f"from {-len(self)} to {len(self) - 1}"
                )
            return place % len(self)
        if place not in known:
            raise InputError(f"place {place!r} is not one of {', '.join(known)}")
        return known[place]


@dataclass(frozen=True)
class Pairs:
    """Pairs of one task, in the order in which results speak of them."""

    name: str
    rows: tuple[Pair, ...]

    def __post_init__(self) -> None:
        if not self.rows:
            raise InputError(f"task {self.name!r} holds no pair of prompts; give at least one")

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.rows)

    @property
    def places(self) -> tuple[str, ...]:
        """The places that every pair names, in the order of the first one's prompt."""
        first = self.rows[0]
        shared = [name for name in first.places if all(name in row.places for row in self.rows)]
        return (*sorted(shared, key=first.at), "end")

    @property
    def by_length(self) -> dict[int, list[int]]:
        """Which pairs have how many tokens: pairs of one length run together without padding."""
        found: dict[int, list[int]] = {}
        for index, row in enumerate(self.rows):
            found.setdefault(len(row), []).append(index)
        return dict(sorted(found.items()))

    def halves(self) -> tuple["Pairs", "Pairs"]:
        """Pairs to find something on, and others to judge it on; all for both below 4 pairs."""
        half = len(self) // 2
        if half < 2:
            return self, self
        return Pairs(self.name, self.rows[:half]), Pairs(self.name, self.rows[half:])

    def labels(self, places: Sequence[str]) -> list[str]:
        """What stands at each place: the token where all prompts have one, else its name."""
        first = self.rows[0]
        named = {at: name for name, at in first.places.items()}
        shown = []
        for place in places:
            if not re.fullmatch(r"-?\d+", place):
                shown.append(place)
                continue
            at = int(place)
            tokens = {side.labels[at] for row in self for side in (row.clean, row.corrupted)}
            name = named.get(first.at(at), "")
            if len(self) == 1:  # both, where they differ
                word = "/".join(dict.fromkeys((first.clean.labels[at], first.corrupted.labels[at])))
            elif len(tokens) == 1:
                (word,) = tokens
            elif name and all(row.places.get(name) == row.at(at) for row in self):
                word = name
            else:
                word = f"{first.clean.labels[at]}…"
            shown.append(f"{place} {word}")
        return shown


def pair(
    model: Model,
    clean: str,
    corrupted: str,
    answer: str | Sequence[str],
    wrong: str | Sequence[str] = (),
    *,
    places: Mapping[str, str | int] | None = None,
    bos: bool | None = None,
    first_token: bool = False,
) -> Pair:
    """A pair from texts.

    Answers and wrong tokens are texts of one token each; with `first_token`, the first one of
    longer texts stands for them. A place is a position, or a text of which the last token in the
    clean prompt is meant. Raises `InputError` where the prompts have not as many tokens (and says
    where they part), and for answers of several tokens.
    """
    tokens = [model.tokenize(text, bos=bos) for text in (clean, corrupted)]
    answers, wrongs = (
        tuple(_token(model, text, first_token) for text in _several(texts))
        for texts in (answer, wrong)
    )
    found = {name: _place(tokens[0], name, what) for name, what in (places or {}).items()}
    return Pair(tokens[0], tokens[1], answers, wrongs, found)


def last_token_of(tokens: Tokens, start: int, end: int) -> int:
    """The last token that overlaps the characters `start` to `end` of the prompt's text."""
    inside = [at for at, (a, b) in enumerate(tokens.offsets) if a < end and b > start]
    if not inside:
        raise InputError(f"no token of {tokens.text!r} lies at characters {start} to {end}")
    return inside[-1]


def _several(texts: str | Sequence[str]) -> Sequence[str]:
    return [texts] if isinstance(texts, str) else texts


def _token(model: Model, text: str, first_token: bool) -> int:
    ids, _ = model.vocabulary.encode(text)
    return ids[0] if first_token and ids else model.token_id(text)


def _place(tokens: Tokens, name: str, what: str | int) -> int:
    if isinstance(what, int):
        return what if what >= 0 else what + len(tokens)
    start = tokens.text.rfind(what)
    if not what or start < 0:
        raise InputError(f"place {name!r}: the prompt {tokens.text!r} does not hold {what!r}")
    return last_token_of(tokens, start, start + len(what))


def _parting(clean: Tokens, corrupted: Tokens) -> str:
    """Where two prompts of different lengths part, in words."""
    strings = zip_longest(clean.strings, corrupted.strings)
    at = next(i for i, (one, other) in enumerate(strings) if one != other)
    shown = [
        "|".join(visible(string) for string in tokens.strings[max(0, at - 2) : at + 4])
        for tokens in (clean, corrupted)
    ]
    return (
        f"{len(clean)} and {len(corrupted)} tokens, which part at position {at} "
        f"({shown[0]} against {shown[1]}); choose words of as many tokens"
    )

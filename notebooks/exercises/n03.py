"""The exercises of notebook 03: byte-pair encoding, and the position of a word."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from operator import index
from typing import Any, cast

from notebooks.check import Hint, exercise, tried

Pair = tuple[str, str]
Span = tuple[int, int]


@exercise("03.merge")
def merge(answer: Callable[[list[str], Pair], list[str]]) -> None:
    """One pair everywhere, from left to right, whole tokens only."""
    for tokens, pair, what in (
        (["l", "o", "w"], ("l", "o"), ""),
        (["e", "s", "t"], ("s", "t"), "the pair stands at the end here"),
        (["l", "o", "w"], ("o", "l"), "the pair's order counts"),
        (["a"], ("a", "a"), "one token has no neighbour"),
        (["a", "b", "c", "a", "b"], ("a", "b"), "does it go on after the first occurrence?"),
        (["a", "a", "a"], ("a", "a"), _OVERLAP),
        (["a", "a", "a", "a", "b"], ("a", "a"), _OVERLAP),
        (["xa", "b", "a", "b"], ("a", "b"), _WHOLE),
        (["ab", "c", "a", "bc"], ("a", "bc"), _WHOLE),
    ):
        given = list(tokens)
        found = _tokens(answer, given, pair)
        if given != tokens:
            raise Hint(
                f"it changes the list that it is given ({tokens} became {given}); make a new one"
            )
        _spells(found, tokens)
        if found != _merged(tokens, pair):
            about = f": {what}" if what else ""
            raise Hint(f"{tokens} with the pair {pair} became {found}, which is not right{about}")


_OVERLAP = "a token that has been used is not used again, and what remains stays as it is"
_WHOLE = "compare whole tokens, not letters: a pair of tokens is not a string with a gap in it"


@exercise("03.encode")
def encode(answer: Callable[[str, dict[Pair, int]], list[str]]) -> None:
    """The merge that was learnt first, again and again."""
    for word, ranks in _ENCODED:
        found = _tokens(answer, word, dict(ranks))
        _spells(found, list(word))
        if found != _encoded(word, ranks):
            raise Hint(
                f"{word!r} with the ranks {ranks} became {found}: {_why(word, ranks, found)}"
            )


_ENCODED: tuple[tuple[str, dict[Pair, int]], ...] = (
    ("low", {("l", "o"): 0, ("lo", "w"): 1}),
    ("abcd", {("a", "b"): 3, ("a", "bc"): 2, ("b", "c"): 1, ("c", "d"): 0}),
    ("abcde", {("a", "b"): 1, ("b", "c"): 0, ("c", "d"): 2, ("d", "e"): 3}),
    ("abc", {("a", "b"): 1, ("b", "c"): 0}),
    ("abc", {("a", "b"): 0, ("b", "c"): 1}),
    ("lower", {("e", "r"): 2, ("l", "o"): 0, ("lo", "w"): 1}),
    ("abcd", {("a", "b"): 2, ("b", "cd"): 1, ("c", "d"): 0}),
    ("aaaaa", {("a", "a"): 0, ("aa", "aa"): 1}),
    ("banana", {("a", "n"): 0, ("an", "a"): 1, ("b", "an"): 2}),
    ("xyz", {("a", "b"): 0}),
    ("q", {("a", "b"): 0}),
)


def _why(word: str, ranks: Mapping[Pair, int], found: Sequence[str]) -> str:
    left = [pair for pair in pairwise(found) if pair in ranks]
    if left:
        return f"{left[0]} still stands there and is a merge; go on until none is left"
    if any(len(one) > 1 and one not in {a + b for a, b in ranks} for one in found):
        return "one of these tokens is made by no merge"
    if found == _longest(word, ranks) != _leftmost(word, ranks):
        return "this is the longest token first; BPE takes the merge that was learnt first"
    if found == _encoded(word, {pair: -rank for pair, rank in ranks.items()}):
        return "this takes the merge that was learnt last; which end of the order is rank 0?"
    return "compare the ranks of all pairs that stand there; their place in the word is no matter"


@exercise("03.last_token")
def last_token(answer: Callable[[list[Span], str, str], int]) -> None:
    """The last token that covers a character of a word."""
    for offsets, text, word, what in _TOLD:
        told = f"{offsets}, {text!r}, {word!r}"
        found = tried(answer, list(offsets), text, word, told=told)
        try:
            found = index(cast(Any, found))  # of NumPy and torch, too
        except TypeError:
            raise Hint(
                f"a position is a whole number; your function returns {found!r} for ({told})"
            ) from None
        first = text.index(word)
        covering = [
            place
            for place, (start, end) in enumerate(offsets)
            if start < first + len(word) and end > first
        ]
        if found != covering[-1]:
            raise Hint(f"for ({told}) your function returns {found}: {_off(found, covering, what)}")


_TOLD: tuple[tuple[tuple[Span, ...], str, str, str], ...] = (
    (((0, 3), (3, 7)), "The dog", "dog", ""),
    (
        ((0, 0), (0, 3), (3, 7), (7, 13)),
        "The dog barks",
        "dog",
        "BOS stands at position 0 and covers nothing",
    ),
    (((0, 0), (0, 2), (2, 5), (5, 9), (9, 10)), "Kinshasa.", "Kinshasa", "it has several tokens"),
    (((0, 0), (0, 4), (4, 9)), "She sings", "sing", "the token reaches beyond the word's end"),
    (((0, 0), (0, 3), (3, 7), (7, 11)), "The old elm", "elm", "the last token of the text"),
    (
        ((0, 0), (0, 1), (1, 3), (2, 3), (2, 3), (3, 5)),
        "a 東 b",
        "東",
        "one sign of several bytes is covered by several tokens",
    ),
    (((0, 0), (0, 2), (2, 5), (5, 8)), "do it do", "do", "it is the first occurrence that counts"),
)


def _off(found: int, covering: Sequence[int], what: str) -> str:
    if found in covering:
        return "that token is part of the word, but not its last"
    if found == covering[-1] + 1:
        hint = "that is the token after it; offsets do not include their end"
    elif found == covering[-1] - 1:
        hint = "that is the token before it"
    else:
        hint = "that token covers no part of the word"
    return f"{hint} ({what})" if what else hint


def _tokens(answer: Callable[..., list[str]], *given: object) -> list[str]:
    found = tried(answer, *given)
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
        raise Hint(f"a list of strings is asked for; your function returns {found!r}")
    return list(found)


def _spells(found: Sequence[str], given: Sequence[str]) -> None:
    """Tokens can be joined, but no letter goes or comes."""
    if "".join(found) != "".join(given):
        raise Hint(
            f"tokens were lost or doubled: the result spells {''.join(found)!r}, not "
            f"{''.join(given)!r}; look at what happens to the last token, and after a merge"
        )


def _merged(tokens: Sequence[str], pair: Pair) -> list[str]:
    made: list[str] = []
    place = 0
    while place < len(tokens):
        width = 2 if tuple(tokens[place : place + 2]) == pair else 1
        made.append("".join(tokens[place : place + width]))
        place += width
    return made


def _encoded(word: str, ranks: Mapping[Pair, int]) -> list[str]:
    tokens = list(word)
    while known := [pair for pair in pairwise(tokens) if pair in ranks]:
        tokens = _merged(tokens, min(known, key=ranks.__getitem__))
    return tokens


def _longest(word: str, ranks: Mapping[Pair, int]) -> list[str]:
    vocabulary = {*word, *(a + b for a, b in ranks)}
    tokens = []
    while word:
        end = next(end for end in range(len(word), 0, -1) if word[:end] in vocabulary)
        tokens.append(word[:end])
        word = word[end:]
    return tokens


def _leftmost(word: str, ranks: Mapping[Pair, int]) -> list[str]:
    tokens = list(word)
    while known := [pair for pair in pairwise(tokens) if pair in ranks]:
        tokens = _merged(tokens, known[0])
    return tokens

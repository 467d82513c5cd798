"""What is done to a sound input: to bytes, to text, to JSON; drawn, so that a seed says it all."""

import json
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

OUTSIDE = "/../../outside"  # no reader may ever write there; see `watch`
SIZES = (0, 1, 2, 7, 8, 127, 255, 2**16, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**63)
PATHS = (
    "../evil",
    "../../outside/evil",
    f"a{OUTSIDE}/evil",
    "/tmp/workbench-fuzz-outside/evil",
    "..\\..\\evil",
    "~/evil",
    ".",
    "..",
    "",
    "a/b",
    "con\0trol",
    "x" * 300,
)
WORDS = (
    *PATHS,
    "nan",
    "-inf",
    "1e999",
    "9" * 5000,
    "-1",
    "٣",
    "²",
    "\ud800",
    "\udfff\ud800",
    "\u202e\u0000\ufeff",
    "é" * 50,
    "{}",
    "[",
    "null",
    "__class__",
    "self",
    "resid_post",
    "3.resid_post",
    "0-99999999.mlp_out",
    "9" * 400 + ".resid_post",
    "float32",
    "F64",
    "I64",
    "topk",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    *SIZES,
    -1,
    -(2**63),
    2**64,
    10**30,
    10**400,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    -0.0,
    *WORDS,
    [],
    {},
    [[]],
    [None],
    [{}],
    {"": None},
    {"format": 1},
    [1, "a", None, 2.5],
    [-1, 2**40],
    [2**40, 2**40],
    [0, 0],
    [[[[[[[[1]]]]]]]],
    ["a"] * 100,
    [0] * 300,
)
_DEEP = "deep \u2603"  # stands for a nesting that no Python value can hold


def of_bytes(draw: Random, data: bytes) -> bytes:
    """One to three changes of bytes."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        data = draw.choice(_BYTES)(draw, data)
    return data


def _flip(draw: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _near_the_start(draw: Random, data: bytes) -> bytes:
    """Headers are where the lies are."""
    changed = bytearray(data)
    if changed:
        changed[draw.randrange(min(64, len(changed)))] = draw.randrange(256)
    return bytes(changed)


def _cut(draw: Random, data: bytes) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _longer(draw: Random, data: bytes) -> bytes:
    return data + draw.choice((bytes(8), draw.randbytes(9), data[:100], b"\xff" * 64))


def _without_a_part(draw: Random, data: bytes) -> bytes:
    first = draw.randrange(len(data) + 1)
    return data[:first] + data[first + draw.randint(1, 40) :]


def _splice(draw: Random, data: bytes) -> bytes:
    first, at = (draw.randrange(len(data) + 1) for _ in range(2))
    part = data[first : first + draw.randint(1, 200)] * draw.choice((1, 1, 1, 50))
    return data[:at] + part + data[at + draw.choice((0, len(part))) :]


def _size(draw: Random, data: bytes) -> bytes:
    """A number that a header could hold, at a place where one could be."""
    width = draw.choice((4, 8))
    number = draw.choice((*SIZES, 2**64 - 1)) % 2 ** (8 * width)
    at = draw.choice((0, draw.randrange(len(data) + 1)))
    return data[:at] + number.to_bytes(width, "little") + data[at + width :]


def _word(draw: Random, data: bytes) -> bytes:
    at = draw.randrange(len(data) + 1)
    word = draw.choice(WORDS).encode("utf-8", "surrogatepass")
    return data[:at] + word + data[at + draw.choice((0, len(word))) :]


def _nothing(draw: Random, data: bytes) -> bytes:
    return draw.choice((b"", b"\0" * len(data), b"{}", b"\xff\xfe", b"[" * 100_000))


_BYTES = (_flip, _flip, _near_the_start, _cut, _longer, _without_a_part, _splice, _size, _size,
          _word, _word, _nothing)  # fmt: skip


def of_text(draw: Random, text: str) -> str:
    """A text with any characters in it: of all of Unicode, half pairs and control characters."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(text) + 1)
        text = draw.choice(_TEXTS)(draw, text[:at], text[at:])
    return text[:1_000_000]


_TEXTS: tuple[Callable[[Random, str, str], str], ...] = (
    lambda draw, before, after: before + _characters(draw) + after,
    lambda draw, before, after: before + draw.choice(WORDS) + after,
    lambda draw, before, after: before + after[draw.randint(1, 9) :],
    lambda draw, before, after: (
        before + before[: draw.randrange(60)] * draw.choice((1, 30)) + after
    ),
    lambda draw, before, after: draw.choice(WORDS),
    lambda draw, before, after: (before + after)[::-1],
    lambda draw, before, after: (before + after).swapcase(),
)


def _characters(draw: Random) -> str:
    first, last = draw.choice(
        ((0, 0x20), (0x20, 0x7F), (0x80, 0x2FF), (0x300, 0x36F), (0x2000, 0x20FF), (0, 0xFFFF),
         (0xD800, 0xDFFF), (0xE000, 0xF8FF), (0xFE00, 0xFFFF), (0x1F300, 0x1FAFF), (0, 0x10FFFF))
    )  # fmt: skip
    return "".join(chr(draw.randint(first, last)) for _ in range(draw.choice((1, 2, 9))))


def of_json(draw: Random, data: bytes) -> bytes:
    """JSON with values of other types, sizes and names; at times bytes that are no JSON at all."""
    if draw.random() < 0.15:
        return of_bytes(draw, data)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return of_bytes(draw, data)
    text = json.dumps(of_value(draw, value))
    return _deepened(draw, text).encode("utf-8", "surrogatepass")


def _deepened(draw: Random, text: str) -> str:
    deep = draw.choice((400, 3000, 100_000))
    opened = draw.choice(("[", '{"a":'))
    return text.replace(
        json.dumps(_DEEP), opened * deep + "1" + ("]" if opened == "[" else "}") * deep
    )


def of_value(draw: Random, value: Any) -> Any:
    """A plain value with one to three places of it changed."""
    held = {"": value}
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        places = list(_places(held))
        where, name = draw.choice(places)
        draw.choice(_VALUES)(draw, where, name, places)
    return held.get("")


def _places(value: Any) -> Any:
    """Every place in a value that can be changed: what holds it, and its name there."""
    if isinstance(value, dict | list):
        for name in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, name
            yield from _places(value[name])


Where = dict | list
Change = Callable[[Random, Any, Any, Any], None]


def _replaced(draw: Random, where: Where, name: Any, places: Any) -> None:
    where[name] = deepcopy(draw.choice((*VALUES, _DEEP)))


def _like_it(draw: Random, where: Where, name: Any, places: Any) -> None:
    """Another value of the same type: what a check of types does not see."""
    before = where[name]
    same = [one for one in VALUES if type(one) is type(before)]
    where[name] = deepcopy(draw.choice(same)) if same else None


def _near_it(draw: Random, where: Where, name: Any, places: Any) -> None:
    before = where[name]
    if isinstance(before, int | float):
        where[name] = before + draw.choice((-1, 1, 2, -2 * before, before))
    elif isinstance(before, str):
        where[name] = of_text(draw, before)
    elif isinstance(before, list):
        where[name] = before[:-1] if draw.random() < 0.5 else [*before, *before[:1]]
    else:
        where[name] = [before]


def _gone(draw: Random, where: Where, name: Any, places: Any) -> None:
    if name != "":
        del where[name]


def _renamed(draw: Random, where: Where, name: Any, places: Any) -> None:
    if isinstance(where, dict) and name != "":
        where[draw.choice((*WORDS, str(name).upper()))] = where.pop(name)


def _more(draw: Random, where: Where, name: Any, places: Any) -> None:
    """A name or a place that nobody asked for."""
    if isinstance(where, dict):
        where.setdefault(draw.choice(WORDS), deepcopy(draw.choice(VALUES)))
    else:
        where.insert(name, deepcopy(draw.choice(VALUES)))


def _another(draw: Random, where: Where, name: Any, places: Any) -> None:
    """A copy of what is at another place."""
    other, its = draw.choice(places)
    where[name] = deepcopy(other[its])


_VALUES: tuple[Change, ...] = (
    _replaced, _replaced, _like_it, _near_it, _near_it, _gone, _renamed, _more, _another
)  # fmt: skip

"""Changes of a safetensors file: its length, its header, the words in it, its data."""

import json
import struct
from random import Random
from typing import Any

from tests.fuzz.changes import SIZES, VALUES, WORDS, of_bytes, of_json, of_value

DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL", "F8_E4M3", "U16",
          "U32", "U64", "C64", "F4", "F128", "")  # fmt: skip


def of_safetensors(draw: Random, data: bytes) -> bytes:
    """A safetensors file that lies about itself, or says other things."""
    if draw.random() < 0.2:
        return of_bytes(draw, data)
    size = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + size], data[8 + size :]
    if draw.random() < 0.1:
        return struct.pack("<Q", draw.choice((*SIZES, 100_000_001, len(data)))) + header + body
    if draw.random() < 0.4:
        return framed(of_json(draw, header), body)
    try:
        return framed(*draw.choice(_HEADERS)(draw, json.loads(header), body))
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return of_bytes(draw, data)  # it was changed before, and is no header any more


def framed(header: bytes, body: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def _tensor(draw: Random, told: dict[str, Any]) -> dict[str, Any]:
    names = [name for name in told if name != "__metadata__"]
    return told[draw.choice(names)] if names else {}


def _dtype(draw: Random, told: dict[str, Any], body: bytes) -> tuple[bytes, bytes]:
    _tensor(draw, told)["dtype"] = draw.choice(DTYPES)
    return _dumped(told), body


def _shape(draw: Random, told: dict[str, Any], body: bytes) -> tuple[bytes, bytes]:
    """Another shape: any, or one of as many elements, which the format takes."""
    tensor = _tensor(draw, told)
    shape = tensor.get("shape") or [1]
    size = 1
    for side in shape:
        size *= side
    tensor["shape"] = draw.choice((
        [size], [1, *shape], [*shape, 1], shape[::-1], [size, 1, 1], [0], [0, 2**40], [],
        [*shape[:-1], shape[-1] + 1], [2**40, 2**40], [2**63], [-1], [draw.choice(SIZES)],
    ))  # fmt: skip
    if 0 in tensor["shape"]:
        tensor["data_offsets"] = [0, 0]
    return _dumped(told), body


def _offsets(draw: Random, told: dict[str, Any], body: bytes) -> tuple[bytes, bytes]:
    tensor = _tensor(draw, told)
    first, last = tensor.get("data_offsets", [0, 0])
    tensor["data_offsets"] = draw.choice((
        [first, last + 1], [first + 1, last], [last, first], [0, 2**40], [0, 2**64], [-1, last],
        [first], [0, len(body)], [draw.choice(SIZES), draw.choice(SIZES)],
    ))  # fmt: skip
    return _dumped(told), body


def _emptied(draw: Random, told: dict[str, Any], body: bytes) -> tuple[bytes, bytes]:
    """A sound file without one of its tensors, or with one that was cut to the first axis' part.

    What follows is moved, so that the format itself has nothing to say.
    """
    names = sorted(
        (name for name in told if name != "__metadata__"), key=lambda n: told[n]["data_offsets"]
    )
    chosen = draw.choice(names)
    shorter = draw.random() < 0.5
    made: dict[str, Any] = {n: told[n] for n in told if n == "__metadata__"}
    data = b""
    for name in names:
        tensor = dict(told[name])
        part = body[slice(*tensor["data_offsets"])]
        if name == chosen:
            shape = tensor["shape"]
            if not shorter or not shape or not shape[0]:
                continue
            kept = draw.randrange(shape[0])
            part = part[: len(part) // shape[0] * kept]
            tensor["shape"] = [kept, *shape[1:]]
        tensor["data_offsets"] = [len(data), len(data) + len(part)]
        made[name], data = tensor, data + part
    return _dumped(made), data


def _names(draw: Random, told: dict[str, Any], body: bytes) -> tuple[bytes, bytes]:
    name = draw.choice(list(told))
    told[draw.choice((*WORDS, name.upper(), f"{name}.T", "__metadata__"))] = told.pop(name)
    return _dumped(told), body


def _words(draw: Random, told: dict[str, Any], body: bytes) -> tuple[bytes, bytes]:
    """The metadata, and the JSON that our files keep in it as text."""
    words = told.get("__metadata__") or {}
    if words and isinstance(words, dict):
        name = draw.choice(list(words))
        words[name] = of_json(draw, str(words[name]).encode()).decode("utf-8", "replace")
    else:
        told["__metadata__"] = draw.choice(({"a": "b"}, draw.choice(VALUES)))
    return _dumped(told), body


def _values(draw: Random, told: dict[str, Any], body: bytes) -> tuple[bytes, bytes]:
    """NaN, infinities and large numbers among the data."""
    if len(body) < 8:
        return _dumped(told), body
    at = draw.randrange(len(body) // 4) * 4
    special = draw.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\xff\x7f", b"\xff" * 4))
    many = draw.choice((1, 1, len(body) // 4))
    return _dumped(told), (body[:at] + special * many)[: len(body)].ljust(len(body), b"\0")


def _all(draw: Random, told: dict[str, Any], body: bytes) -> tuple[bytes, bytes]:
    return _dumped(of_value(draw, told)), body


def _dumped(told: Any) -> bytes:
    return json.dumps(told).encode("utf-8", "surrogatepass")


_HEADERS = (_dtype, _shape, _shape, _offsets, _emptied, _emptied, _names, _words, _words, _words,
            _values, _all)  # fmt: skip

"""What crosses to the browser: token labels, arrays in one block of bytes, and the scripts.

`st.components.v2` passes bytes only when they are the whole of `data` (a dict that holds bytes is
sent as the text of its `str`), so a header and the arrays travel together in one block.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DTYPES = {"uint8": 1, "uint32": 4, "float32": 4}
HERE = Path(__file__).parent


@dataclass(frozen=True)
class TokenLabel:
    """A token as a reader sees it: `text` with spaces made visible, `title` the exact repr."""

    text: str
    title: str


def labels(tokens: Sequence[TokenLabel]) -> list[list[str]]:
    """Tokens as pairs (text, title), the form the scripts read."""
    return [[token.text, token.title] for token in tokens]


def source(*names: str) -> str:
    """Texts of files of this package, one after the other, so that two scripts can share a part."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Header and arrays in one block: header's length (uint32), JSON, then each array at 8 bytes.

    The header gains `id`, a digest of everything: a script that sees the same id draws nothing.
    Each array has a digest of its own, so that a part which did not change is not built again.
    """
    body, index = bytearray(), {}
    for name, array in arrays.items():
        kind = array.dtype.name
        if kind not in DTYPES:
            raise ValueError(f"array {name!r} has dtype {kind}; allowed: {', '.join(DTYPES)}.")
        raw = np.ascontiguousarray(array).tobytes()
        digest = hashlib.blake2b(raw, digest_size=8).hexdigest()
        index[name] = {"dtype": kind, "shape": array.shape, "at": len(body), "id": digest}
        body += raw + bytes(-len(raw) % 8)
    fields = {**header, "arrays": index}
    text = json.dumps(fields, allow_nan=False, sort_keys=True)
    fields["id"] = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    head = json.dumps(fields, allow_nan=False).encode()
    head += b" " * (-(len(head) + 4) % 8)
    return len(head).to_bytes(4, "little") + head + bytes(body)

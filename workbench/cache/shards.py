"""One shard of a harvest: a safetensors file of whole contexts, with a checksum for each.

A shard grows on the disk batch by batch, so no more than a batch is held in memory. Nothing of
when, where or by whom is written: the same activations are the same bytes.
"""

import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import torch
import xxhash
from safetensors import SafetensorError
from torch import Tensor

from workbench.cache.files import (
    FORMAT,
    TENSOR,
    DamagedError,
    check_key,
    check_refusal,
    checked_words,
    opened,
    parsed_key,
)
from workbench.cache.keys import Key
from workbench.cache.rounding import Rounding, rounded
from workbench.errors import MISFITS
from workbench.models import DTYPES

_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_ALIGNED = 64  # bytes: rows are copied fastest from there


@dataclass(frozen=True)
class Shard:
    """A whole shard, its header checked and its data mapped from the file, not yet checked.

    `activations` is `[context, pos, ...]`; `checksums` has 16 hex digits for each context.
    """

    path: Path
    activations: Tensor
    checksums: str
    rounding: Rounding
    checksum: str

    def check(self, context: int) -> None:
        """Raises `DamagedError` where the data of one context is not what was written."""
        expected = self.checksums[16 * context : 16 * (context + 1)]
        found = _checksum(self.activations[context])
        if found != expected:
            raise DamagedError(
                f"{self.path}: field {TENSOR}, context {context} of the shard: expected checksum "
                f"{expected}, found {found}; delete the file and harvest again"
            )


class ShardWriter:
    """Writes one shard into an empty file: `append` batches of contexts in order, then `finish`."""

    def __init__(self, file: BinaryIO, key: Key, number: int, shape: Sequence[int]) -> None:
        self._file, self._key, self._number, self._shape = file, key, number, tuple(shape)
        self._dtype = DTYPES[key.dtype]
        self._checksums: list[str] = []
        self._roundings: list[Rounding] = []
        widest = Rounding(*[-1.7976931348623157e308] * 3)
        room = len(self._header("0" * 16 * shape[0], widest))
        self._offset = -(-(8 + room) // _ALIGNED) * _ALIGNED
        file.write(bytes(self._offset))

    def append(self, tensor: Tensor) -> int:
        """Add contexts `[context, pos, ...]`; returns their bytes.

        Raises `InputError` where a value is too large for the dtype.
        """
        stored, lost = rounded(tensor, self._dtype, self._key.site)
        self._roundings.append(lost)
        for context in stored.cpu().contiguous():
            self._file.write(_bytes(context))
            self._checksums.append(_checksum(context))
        return stored.nbytes

    def finish(self) -> int:
        """Write the header, and all of it to the disk; then the file may take its name.

        Returns the header's bytes.
        """
        assert len(self._checksums) == self._shape[0], "a shard is written whole"
        header = self._header("".join(self._checksums), Rounding.over(self._roundings))
        padded = header.ljust(self._offset - 8)
        self._file.seek(0)
        self._file.write(struct.pack("<Q", len(padded)) + padded)
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._offset

    def _header(self, checksums: str, lost: Rounding) -> bytes:
        words = {
            "format": str(FORMAT),
            "key": json.dumps(asdict(self._key)),
            "shard": str(self._number),
            "rounding": json.dumps(lost.to_json()),
            "contexts": checksums,
        }
        whole = _whole_checksum(words, self._dtype, self._shape)
        size = self._dtype.itemsize * torch.Size(self._shape).numel()
        about = {
            "dtype": _NAMES[self._dtype],
            "shape": self._shape,
            "data_offsets": [0, size],
        }
        return json.dumps({"__metadata__": words | {"checksum": whole}, TENSOR: about}).encode()


def open_shard(path: Path, key: Key, number: int, shape: Sequence[int]) -> Shard:
    """The shard at `path`; `DamagedError` unless it is the one that is meant, and whole.

    Its data is checked context by context, by `Shard.check`, before it is used.
    """
    try:
        with opened(path) as file:
            words = file.metadata() or {}
            activations = file.get_tensor(TENSOR)
    except FileNotFoundError as error:
        raise DamagedError(
            f"{path}: field file: expected shard {number} of the harvest, found none; harvest again"
        ) from error
    except (SafetensorError, *MISFITS) as error:
        check_refusal(path, error)
        raise DamagedError(f"{path}: field {TENSOR}: {error}") from error
    words = checked_words(path, words, ("key", "shard", "rounding", "contexts", "checksum"))
    check_key(path, parsed_key(path, words["key"]), key)
    for name, expected, found in (
        ("shard", str(number), words["shard"]),
        ("shape", tuple(shape), tuple(activations.shape)),
        ("dtype", DTYPES[key.dtype], activations.dtype),
        ("checksum", _whole_checksum(words, activations.dtype, shape), words["checksum"]),
    ):
        if expected != found:
            raise DamagedError(
                f"{path}: field {name}: expected {expected}, found {found}; "
                "delete the file and harvest again"
            )
    try:
        lost = Rounding(**json.loads(words["rounding"]))
    except MISFITS as error:
        raise DamagedError(f"{path}: field rounding: cannot be read ({error})") from error
    return Shard(path, activations, words["contexts"], lost, words["checksum"])


def _whole_checksum(words: Mapping[str, str], dtype: torch.dtype, shape: Sequence[int]) -> str:
    """XXH3-128 over the header's words and the tensor's dtype and shape."""
    names = ("format", "key", "shard", "rounding", "contexts")
    text = "|".join([*(words[name] for name in names), str(dtype), str(tuple(shape))])
    return xxhash.xxh3_128_hexdigest(text.encode())


def _checksum(context: Tensor) -> str:
    return xxhash.xxh3_64_hexdigest(_bytes(context))


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().data

"""Whether the header of a GGUF file fits the file, asked before a library believes it.

The `gguf` package takes counts at their word: an array that claims 2**40 entries is read entry by
entry, beyond the file's end, until no memory is left. Here every count is held against the bytes
that are still to come.
"""

import struct
from pathlib import Path
from typing import BinaryIO

from workbench.errors import InputError

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # of plain types
_STRING, _ARRAY = 8, 9
_LEAST = {**_SIZES, _STRING: 8, _ARRAY: 12}
_DEEPEST = 4  # arrays in arrays, far above any file's
_DIMENSIONS = 4
_TENSOR = 8 + 4 + 8 + 4 + 8  # bytes that the shortest description of a tensor takes


def check_header(path: Path) -> None:
    """Raise `InputError` for a file that is no GGUF, or whose header claims more than it holds."""
    with path.open("rb") as file:
        header = _Header(file, path)
        if file.read(4) != b"GGUF" or header.number(4) not in (2, 3):
            raise header.refusal("it does not begin as one")
        tensors, fields = header.count(_TENSOR), header.count(13)
        for _ in range(fields):
            header.skip(header.count(1))
            header.value(header.number(4), 0)
        for _ in range(tensors):
            header.skip(header.count(1))
            if (axes := header.number(4)) > _DIMENSIONS:
                raise header.refusal(f"a tensor of {axes} dimensions")
            header.skip(8 * axes + 12)


class _Header:
    """A file that is read from its beginning; numbers are little-endian."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._size = path.stat().st_size

    def refusal(self, what: str) -> InputError:
        return InputError(
            f"{self._path} is no whole GGUF file: {what} (byte {self._file.tell():,} of "
            f"{self._size:,}); fetch it again"
        )

    def number(self, width: int) -> int:
        data = self._file.read(width)
        if len(data) < width:
            raise self.refusal("it ends in its header")
        return struct.unpack("<I" if width == 4 else "<Q", data)[0]

    def count(self, each: int) -> int:
        """A number of things that take `each` bytes or more."""
        found = self.number(8)
        if found * each > self._size - self._file.tell():
            raise self.refusal(f"its header claims {found:,} of what cannot be so many")
        return found

    def skip(self, size: int) -> None:
        if size > self._size - self._file.tell():
            raise self.refusal("it ends in its header")
        self._file.seek(size, 1)

    def value(self, kind: int, depth: int) -> None:
        """Go past one value."""
        if kind in _SIZES:
            self.skip(_SIZES[kind])
        elif kind == _STRING:
            self.skip(self.count(1))
        elif kind == _ARRAY and depth < _DEEPEST:
            self._entries(self.number(4), depth + 1)
        else:
            raise self.refusal(f"a value of type {kind}")

    def _entries(self, kind: int, depth: int) -> None:
        n = self.count(_LEAST.get(kind, 1))
        if kind in _SIZES:
            self.skip(n * _SIZES[kind])
            return
        for _ in range(n):
            self.value(kind, depth)

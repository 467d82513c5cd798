"""A packed corpus on disk: two arrays and a card, written whole, checked when opened.

Whatever does not hold is an `InputError` that names the file, the field, expected and found.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import xxhash
from jaxtyping import Int

from workbench.corpus.corpus import Corpus, checksum, corpus_digest
from workbench.errors import MISFITS, InputError
from workbench.fetching import appearing
from workbench.home import home

FORMAT = 1
ARRAYS = ("ids", "documents")
CARD = "card.json"
_CARD = {"request": dict, "contexts": int, "ids": str, "documents": str, "digest": str,
         "about": dict}  # fmt: skip


def packed_folder() -> Path:
    """Where packed corpora lie, one folder each, named by the digest of its request."""
    return home() / "corpora" / "packed"


class Writer:
    """Writes rows of contexts as they come, in memory for one row."""

    def __init__(self, folder: Path, n_ctx: int) -> None:
        self.n_ctx = n_ctx
        self.contexts = 0
        self._folder = folder
        self._files = {name: (folder / f"{name}.npy").open("wb") for name in ARRAYS}
        self._sums = {name: xxhash.xxh3_128() for name in ARRAYS}
        self._headers()

    def add(self, ids: Int[np.ndarray, " pos"], documents: Int[np.ndarray, " pos"]) -> None:
        """One more context."""
        for name, row in zip(ARRAYS, (ids, documents), strict=True):
            raw = np.ascontiguousarray(row, dtype="<i4").data
            self._files[name].write(raw)
            self._sums[name].update(raw)
        self.contexts += 1

    def finish(self, request: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Write the arrays' true length and the card; all is on disk on return."""
        self._headers()
        self.close()
        sums = {name: state.hexdigest() for name, state in self._sums.items()}
        shape = (self.contexts, self.n_ctx)
        card = {
            "format": FORMAT,
            "request": dict(request),
            "contexts": self.contexts,
            **sums,
            "digest": corpus_digest(sums["ids"], sums["documents"], shape, request["bos_id"]),
            "about": dict(about),
        }
        text = json.dumps(card | {"card": _card_sum(card)}, indent=2)
        (self._folder / CARD).write_text(text + "\n", encoding="utf-8")
        for path in self._folder.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files.values():
            file.close()

    def _headers(self) -> None:
        # NumPy leaves room in a header for the first axis to grow: it can be written over.
        about = {"descr": "<i4", "fortran_order": False, "shape": (self.contexts, self.n_ctx)}
        for file in self._files.values():
            file.seek(0)
            np.lib.format.write_array_header_1_0(file, about)


@contextmanager
def writing(folder: Path, n_ctx: int) -> Iterator[Writer]:
    """A writer beside `folder`, which comes to be whole, by one rename, when it has finished."""
    with appearing(folder) as made:
        made.mkdir()
        writer = Writer(made, n_ctx)
        try:
            yield writer
        finally:
            writer.close()


def read(folder: Path, name: str, request: Mapping[str, Any]) -> Corpus:
    """Open a packed corpus as memory maps, after all of it was checked against its card."""
    card = read_card(folder)
    _expect(folder / CARD, card["request"], request)
    shape = (card["contexts"], request["n_ctx"])
    arrays = {array: _array(folder / f"{array}.npy", shape, card[array]) for array in ARRAYS}
    about = card["about"] | {"source": name}
    return Corpus(name, **arrays, bos_id=request["bos_id"], digest=card["digest"], about=about)


def read_card(folder: Path) -> dict[str, Any]:
    """What a packed corpus says about itself, checked against the card's own checksum."""
    path = folder / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        found = card.pop("card")
    except (OSError, *MISFITS) as error:
        raise InputError(
            f"{path}: field file: expected a packed corpus' card, found none that can be read "
            f"({error}); delete the folder {folder} and pack again"
        ) from error
    _expect(path, {"format": card.get("format")}, {"format": FORMAT})
    _expect(path, {"card": found}, {"card": _card_sum(card)})
    for name, kind in _CARD.items():
        if not isinstance(card.get(name), kind):
            _expect(path, {name: card.get(name)}, {name: f"a value of type {kind.__name__}"})
    return card


def cards() -> dict[Path, dict[str, Any]]:
    """The cards of all packed corpora that have a whole one, by folder."""
    return {folder: card for folder, card in _cards() if isinstance(card, dict)}


def damaged_cards() -> list[str]:
    """What is wrong in the folders that have none."""
    return [str(fault) for _, fault in _cards() if isinstance(fault, InputError)]


def _cards() -> Iterator[tuple[Path, dict[str, Any] | InputError]]:
    for folder in sorted(packed_folder().glob("[!.]*")):
        try:
            yield folder, read_card(folder)
        except InputError as error:
            yield folder, error


def _array(path: Path, shape: tuple[int, int], expected: str) -> Int[np.ndarray, "context pos"]:
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # never unpickles
    except (OSError, EOFError, TokenError, SyntaxError, *MISFITS) as error:  # NumPy's, of headers
        raise InputError(
            f"{path}: field file: expected a whole array, found none ({error}); "
            f"delete the folder {path.parent} and pack again"
        ) from error
    found = {"shape": array.shape, "dtype": array.dtype.str}
    _expect(path, found, {"shape": shape, "dtype": "<i4"})
    _expect(path, {"checksum": checksum(array)}, {"checksum": expected})
    return array


def _expect(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise `InputError` that names the fields in which the two differ."""
    told = "; ".join(
        f"field {field}: expected {expected.get(field)}, found {found.get(field)}"
        for field in {**expected, **found}
        if expected.get(field) != found.get(field)
    )
    if told:
        raise InputError(f"{path}: {told}; delete the folder {path.parent} and pack again")


def _card_sum(card: Mapping[str, Any]) -> str:
    return xxhash.xxh3_128(json.dumps(card, sort_keys=True).encode()).hexdigest()

"""Documents of any length into contexts of one length."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int

from workbench.corpus.corpus import PUT_IN
from workbench.corpus.sources import Piece

Row = tuple[Int[np.ndarray, " pos"], Int[np.ndarray, " pos"]]


class Packer:
    """Fills contexts of `n_ctx` positions with documents, one after the other.

    With a `bos_id`, BOS stands at position 0 of every context and in front of each document
    that starts inside one; a document that starts with its context has that one BOS. A document
    that does not fit goes on in the next context. What fills no context stays in the packer:
    `filled` positions.
    """

    def __init__(self, n_ctx: int, bos_id: int | None) -> None:
        self.n_ctx = n_ctx
        self._bos = None if bos_id is None else np.array([bos_id], dtype=np.int32)
        self._document = PUT_IN
        self._fresh()

    def add(self, document: int, ids: Int[np.ndarray, " token"]) -> Iterator[Row]:
        """Pack a document, or the next part of it; yields the contexts that this fills."""
        if not len(ids):
            return
        starts, self._document = document != self._document, document
        if starts and self.filled and self._bos is not None:
            yield from self._put(self._bos, PUT_IN)
        while len(ids):
            if not self.filled and self._bos is not None:
                yield from self._put(self._bos, PUT_IN)
            room = self.n_ctx - self.filled
            yield from self._put(ids[:room], document)
            ids = ids[room:]

    def _put(self, ids: Int[np.ndarray, " token"], document: int) -> Iterator[Row]:
        where = slice(self.filled, self.filled + len(ids))
        self._ids[where], self._documents[where] = ids, document
        self.filled += len(ids)
        if self.filled == self.n_ctx:
            row = self._ids, self._documents
            self._fresh()
            yield row

    def _fresh(self) -> None:
        self.filled = 0
        self._ids = np.empty(self.n_ctx, dtype=np.int32)
        self._documents = np.empty(self.n_ctx, dtype=np.int32)


@dataclass
class Distinct:
    """Counts the different numbers of a sequence that never goes down."""

    count: int = 0
    last: int = -1

    def add(self, number: int) -> None:
        self.count, self.last = self.count + (number != self.last), number


@dataclass
class Tally:
    """What packing has seen so far. `taken` and `kept` count tokens of text, `taken` those read."""

    contexts: int = 0
    mixed: int = 0
    taken: int = 0
    kept: int = 0
    seen: Distinct = field(default_factory=Distinct)
    with_tokens: Distinct = field(default_factory=Distinct)
    in_parts: Distinct = field(default_factory=Distinct)
    special: Distinct = field(default_factory=Distinct)

    def read(self, piece: Piece, n_ids: int, special: Sequence[str]) -> None:
        """Count one piece and its tokens."""
        document = piece.document
        self.seen.add(document)
        if n_ids and document == self.with_tokens.last:
            self.in_parts.add(document)
        if n_ids:
            self.with_tokens.add(document)
        if any(string in piece.text for string in special):
            self.special.add(document)
        self.taken += n_ids

    def wrote(self, documents: Int[np.ndarray, " token"]) -> None:
        """Count one context, from the document of each of its tokens."""
        self.contexts += 1
        self.mixed += int(documents[0] != documents[-1])
        self.kept += len(documents)

    def about(self, n_ctx: int, whole: bool) -> dict[str, Any]:
        """For people: `dropped_tokens` are those of the end of the text that fill no context."""
        return {
            "documents": self.seen.count,
            "empty_documents": self.seen.count - self.with_tokens.count,
            "documents_in_parts": self.in_parts.count,
            "documents_with_special_text": self.special.count,
            "contexts_with_several_documents": self.mixed,
            "tokens": self.contexts * n_ctx,
            "text_tokens": self.kept,
            "dropped_tokens": self.taken - self.kept if whole else 0,
            "ended_by": "the end of the text" if whole else "max_tokens",
        }


def pack(
    encoded: Iterable[tuple[Piece, Sequence[int]]],
    packer: Packer,
    write: Callable[[Int[np.ndarray, " pos"], Int[np.ndarray, " pos"]], None],
    *,
    most: int | None = None,
    special: Sequence[str] = (),
    progress: Callable[[float], None] = lambda share: None,
) -> Tally:
    """Write the contexts that the documents fill, `most` at most; returns what was seen.

    Documents whose text holds one of the `special` strings are counted. `progress` hears the
    share that is done.
    """
    tally = Tally()
    for piece, ids in encoded:
        tally.read(piece, len(ids), special)
        for row, documents in packer.add(piece.document, np.asarray(ids, dtype=np.int32)):
            write(row, documents)
            tally.wrote(documents[documents != PUT_IN])
            if tally.contexts == most:
                return tally
        progress(max(piece.read, tally.contexts / most if most else 0.0))
    return tally

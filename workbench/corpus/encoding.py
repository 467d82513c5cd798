"""Documents to token ids, many at once, and the digest that says by which vocabulary."""

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from workbench.corpus.sources import PART, Piece
from workbench.errors import InputError
from workbench.models import digest
from workbench.models.tokens import HubVocabulary, Vocabulary

Encoded = Iterator[tuple[Piece, Sequence[int]]]


def encoder(vocabulary: Vocabulary) -> Callable[[Iterable[Piece]], Encoded]:
    """pieces -> each with its ids, without BOS: `vocabulary.encode`'s, several times faster.

    Text that spells a special token, such as `<|endoftext|>`, stays text: no document can put
    a special token in. A vocabulary of labels has no other way to read a special one, so
    there it is an `InputError`.
    """
    if not isinstance(vocabulary, HubVocabulary):
        return lambda pieces: _one_by_one(lambda text: _labels(vocabulary, text), pieces)
    tokenizer = vocabulary.tokenizer
    if not tokenizer.is_fast:
        plain = {"add_special_tokens": False, "split_special_tokens": True}
        return lambda pieces: _one_by_one(lambda text: tokenizer(text, **plain).input_ids, pieces)
    # A copy: prompts, where special tokens are read, are tokenised by the model's own meanwhile.
    backend = copy.deepcopy(tokenizer.backend_tokenizer)
    backend.encode_special_tokens = True
    backend.no_truncation()
    backend.no_padding()
    return lambda pieces: _together(backend, pieces)


_DIGESTS: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()


def vocabulary_digest(vocabulary: Vocabulary) -> str:
    """Digest over everything that decides which ids a text gets, 32 hex digits.

    A tokenizer's is taken again when its size or special tokens change.
    """
    if not isinstance(vocabulary, HubVocabulary):
        return _digest(vocabulary)
    state = digest({"size": vocabulary.size, **_special(vocabulary)})
    known = _DIGESTS.setdefault(vocabulary.tokenizer, {})
    if state not in known:
        known[state] = _digest(vocabulary)
    return known[state]


def _special(vocabulary: Vocabulary) -> dict[str, Any]:
    return {"bos": vocabulary.bos_id, "special": sorted(vocabulary.special_ids)}


def _digest(vocabulary: Vocabulary) -> str:
    special = _special(vocabulary)
    if isinstance(vocabulary, HubVocabulary) and vocabulary.tokenizer.is_fast:
        pipeline = json.loads(vocabulary.tokenizer.backend_tokenizer.to_str())
        state = ("truncation", "padding")  # left there by the last call
        kept = {part: value for part, value in pipeline.items() if part not in state}
        return digest({"tokenizer": kept, **special})
    strings = [vocabulary.string(token) for token in range(vocabulary.size)]
    return digest({"kind": type(vocabulary).__name__, "strings": strings, **special})


def special_text(vocabulary: Vocabulary) -> list[str]:
    """The special tokens that a document's text may spell, and which stay text there."""
    if not isinstance(vocabulary, HubVocabulary):
        return []
    return [vocabulary.string(token) for token in vocabulary.special_ids]


def _one_by_one(encode: Callable[[str], Sequence[int]], pieces: Iterable[Piece]) -> Encoded:
    for piece in pieces:
        try:
            ids = encode(piece.text)
        except InputError as error:
            raise InputError(f"document {piece.document} (from 0): {error}") from error
        yield piece, ids


def _together(backend: Any, pieces: Iterable[Piece]) -> Encoded:
    for batch in _batched(pieces):
        coded = backend.encode_batch_fast([piece.text for piece in batch], add_special_tokens=False)
        yield from ((piece, found.ids) for piece, found in zip(batch, coded, strict=True))


def _batched(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces in lists of about `PART` characters: what the tokenizer holds at once."""
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece.text) + 100  # an empty one is not free either
        if size >= PART:
            yield batch
            batch, size = [], 0
    yield batch


def _labels(vocabulary: Vocabulary, text: str) -> list[int]:
    ids, _ = vocabulary.encode(text)
    special = sorted(set(ids) & set(vocabulary.special_ids))
    if special:
        raise InputError(
            f"it holds the special token {vocabulary.string(special[0])!r}, which only packing "
            "may put in; take it out"
        )
    return ids

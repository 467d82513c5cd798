"""Text to token ids and back: BOS policy, character offsets, labels a person can read.

A vocabulary is a Hub tokenizer or, for models of squares, residues or letters, a plain list
of labels. Both answer the same few questions, so every view works on both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor
from transformers.convert_slow_tokenizer import bytes_to_unicode

from workbench.errors import InputError

Span = tuple[int, int]
_MARK = "\ue000"  # a character of private use: in no template
_VISIBLE = str.maketrans({" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"})


def visible(text: str) -> str:
    """Text with its white space made visible: `·` space, `↵` newline, `⇥` tab."""
    return text.translate(_VISIBLE)


@runtime_checkable
class Vocabulary(Protocol):
    """What the workbench asks of a tokenizer."""

    @property
    def bos_id(self) -> int | None: ...
    @property
    def special_ids(self) -> tuple[int, ...]: ...
    @property
    def stop_ids(self) -> tuple[int, ...]: ...
    @property
    def size(self) -> int: ...
    def encode(self, text: str) -> tuple[list[int], list[Span]]: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def string(self, token_id: int) -> str: ...
    def chat(self, text: str) -> str: ...


@dataclass(frozen=True)
class HubVocabulary:
    """A tokenizer in the Hub's format; `ends` are stop tokens that the model names beside it."""

    tokenizer: Any
    ends: tuple[int, ...] = ()

    @property
    def bos_id(self) -> int | None:
        return self.tokenizer.bos_token_id

    @property
    def special_ids(self) -> tuple[int, ...]:
        return tuple(self.tokenizer.all_special_ids)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The tokens that end a text: EOS, and what the model names beside it."""
        eos = self.tokenizer.eos_token_id
        return tuple(dict.fromkeys([*([] if eos is None else [eos]), *self.ends]))

    @property
    def pad_id(self) -> int | None:
        """Packed text is never filled up."""
        return None

    @property
    def size(self) -> int:
        return len(self.tokenizer)

    @cached_property
    def _bytes(self) -> dict[str, int]:
        return {character: byte for byte, character in bytes_to_unicode().items()}

    def encode(self, text: str) -> tuple[list[int], list[Span]]:
        _expect_whole(text)
        coded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return list(coded["input_ids"]), [tuple(span) for span in coded["offset_mapping"]]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a sequence, characters that span tokens whole."""
        return self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)

    def string(self, token_id: int) -> str:
        """The token's own text; bytes that are not UTF-8 by themselves read `\\xNN`."""
        token = self.tokenizer.convert_ids_to_tokens(token_id)
        if token is None:
            return f"[{token_id}]"
        if token_id in self.tokenizer.all_special_ids:
            return token
        if "▁" in token:
            return token.replace("▁", " ")
        if all(character in self._bytes for character in token):
            raw = bytes(self._bytes[character] for character in token)
            return raw.decode("utf-8", errors="backslashreplace")
        return token

    def chat(self, text: str) -> str:
        if not self.tokenizer.chat_template:
            raise InputError("this model's tokenizer has no chat template; leave the chat off")
        return self.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
        )


@dataclass(frozen=True)
class Labels:
    """A vocabulary without a tokenizer: token i reads `labels[i]`; text is labels and spaces."""

    labels: tuple[str, ...]
    bos: str | None = None
    pad: str | None = None

    @property
    def bos_id(self) -> int | None:
        return None if self.bos is None else self.labels.index(self.bos)

    @property
    def pad_id(self) -> int | None:
        """The token that fills sequences up after their end; never a target of training."""
        return None if self.pad is None else self.labels.index(self.pad)

    @property
    def special_ids(self) -> tuple[int, ...]:
        return tuple(one for one in (self.bos_id, self.pad_id) if one is not None)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return ()

    @property
    def size(self) -> int:
        return len(self.labels)

    def encode(self, text: str) -> tuple[list[int], list[Span]]:
        ids: list[int] = []
        spans: list[Span] = []
        start = 0
        for word in text.split():
            start = text.index(word, start)
            if word not in self.labels:
                shown = ", ".join(self.labels[:30])
                raise InputError(
                    f"{word!r} is not in this model's vocabulary; write its labels with spaces "
                    f"between: {shown}"
                )
            ids.append(self.labels.index(word))
            spans.append((start, start + len(word)))
            start += len(word)
        return ids, spans

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(self.labels[token] for token in ids)

    def string(self, token_id: int) -> str:
        return self.labels[token_id]

    def chat(self, text: str) -> str:
        raise InputError("a model of labels has no chat template; leave the chat off")


@dataclass(frozen=True)
class Tokens:
    """One tokenised prompt.

    `offsets[i]` is the token's span of characters in `text`, (0, 0) for a BOS put in front;
    `template` holds the positions that a chat template wrote, empty without one.
    """

    text: str
    ids: tuple[int, ...]
    strings: tuple[str, ...]
    offsets: tuple[Span, ...]
    bos: bool
    template: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> tuple[str, ...]:
        """The tokens with their white space made visible."""
        return tuple(visible(string) for string in self.strings)

    def tensor(self, device: torch.device | str = "cpu") -> Int[Tensor, "1 pos"]:
        return torch.tensor([self.ids], device=device)


def tokenize(
    vocabulary: Vocabulary,
    text: str,
    *,
    limit: int,
    bos: bool | None = None,
    chat: bool = False,
) -> Tokens:
    """Tokenise `text`; BOS stands in front iff `bos`, or by default where there is one.

    With `chat`, the text is set into the tokenizer's chat template as the user's turn; the
    template then decides about BOS unless `bos` says otherwise. Raises `InputError` for an
    empty prompt, one longer than `limit` tokens, a BOS that the vocabulary lacks, and a
    prompt that already begins with the BOS that would be put in front.
    """
    if not text.strip():
        raise InputError("the prompt is empty; write at least one token")
    whole = vocabulary.chat(text) if chat else text
    ids, spans = vocabulary.encode(whole)
    wanted = (vocabulary.bos_id is not None and not chat) if bos is None else bos
    if wanted:
        ids, spans = [_bos_id(vocabulary, ids), *ids], [(0, 0), *spans]
    if len(ids) > limit:
        raise InputError(
            f"the prompt has {len(ids):,} tokens, the model's context holds {limit:,}; shorten it"
        )
    return Tokens(
        text=whole,
        ids=tuple(ids),
        strings=tuple(vocabulary.string(token) for token in ids),
        offsets=tuple(spans),
        bos=wanted,
        template=_template_positions(vocabulary, whole, text, spans) if chat else frozenset(),
    )


def _expect_whole(text: str) -> None:
    """Raise `InputError` for half a surrogate pair, which no tokenizer takes for text."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text holds half a surrogate pair (character {error.start}), which is no text; "
            "take it out"
        ) from error


def from_ids(vocabulary: Vocabulary, ids: Sequence[int], *, bos: bool) -> Tokens:
    """Tokens given as ids (random tokens, a game), with the text they spell."""
    strings = tuple(vocabulary.string(token) for token in ids)
    ends = [0]
    for string in strings:
        ends.append(ends[-1] + len(string))
    offsets = tuple(pairwise(ends))
    return Tokens("".join(strings), tuple(ids), strings, offsets, bos)


def token_id(vocabulary: Vocabulary, text: str) -> int:
    """The id of a text that is a single token; `InputError` shows the tokens if it is not."""
    ids, _ = vocabulary.encode(text)
    if len(ids) != 1:
        parts = " ".join(repr(vocabulary.string(token)) for token in ids) or "none"
        raise InputError(
            f"{text!r} is not a single token but {len(ids)} ({parts}); words inside a sentence "
            "begin with a space"
        )
    return ids[0]


def _bos_id(vocabulary: Vocabulary, ids: Sequence[int]) -> int:
    bos = vocabulary.bos_id
    if bos is None:
        raise InputError("this vocabulary has no BOS token; leave bos off")
    if ids and ids[0] == bos:
        raise InputError(
            f"the prompt already begins with BOS ({vocabulary.string(bos)}) and would get a "
            "second one; take it out of the prompt or turn BOS off"
        )
    return bos


def _template_positions(
    vocabulary: Vocabulary, whole: str, text: str, spans: Sequence[Span]
) -> frozenset[int]:
    """Positions whose characters lie outside the user's own text.

    The template around a mark tells where the text begins; the text alone does not, since a
    short one (`user`, `a`) stands in the template as well.
    """
    before, _, after = vocabulary.chat(_MARK).partition(_MARK)
    start = whole.find(text.strip(), len(before))
    end = start + len(text.strip())
    if start < 0 or end > len(whole) - len(after):
        raise InputError("the chat template changes the prompt's text; leave the chat off")
    return frozenset(i for i, (first, last) in enumerate(spans) if last <= start or first >= end)

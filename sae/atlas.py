"""All latents of a dictionary in one small file, to be searched and shown without corpus or model.

What `sae.features` says of each latent, packed, with the strings of its tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae.activity import Activity
from sae.atlas_reading import unpacked
from sae.dictionary import SAE
from sae.features import BANDS, Example, Feature, check_latent, edges, features, starts
from sae.rules import Rule, rule_tensors, worded
from sae.saved import SHIPPED, folder_of
from workbench.cache import Progress
from workbench.carded import damaged, expect_fields, fewest_bytes, read_carded, write_carded
from workbench.corpus import Corpus
from workbench.errors import misfit
from workbench.home import home
from workbench.models import Model

ATLAS = "atlas.safetensors"
FORMAT = 1
_WHAT = "atlas of an SAE"
_CARD = {
    "corpus": str,
    "corpus_name": str,
    "n_rows": int,
    "n_ctx": int,
    "random_f1": float,
    "strings": list,
}
_ARROWLESS = str.maketrans("", "", "»«")
_LISTS = (
    ("tokens", "token_counts", "token_means"),
    ("promoted", "promoted_logits"),
    ("suppressed", "suppressed_logits"),
    ("neighbours", "cosines"),
)
_PLACE = ("context", "pos", "first")


@dataclass(frozen=True, eq=False)
class Atlas:
    """Features of all latents, each field a row for each latent; `feature` unpacks one.

    `counts` says in how many of `n_rows` rows a latent was active, `largest` how strongly at most.
    Of lists that are shorter than others the rest is -1. Examples lie one behind the other,
    `n_examples` for each latent, in the order of their `groups`: 0 the strongest, then the bands;
    their tokens and activations (`ids`, `values`) too, `lengths` for each example. `strings` are
    all tokens in it; `random_f1` is the median F1 of a random dictionary's rules, or NaN. `corpus`
    is the digest of the text.
    """

    counts: Int[Tensor, " latent"]
    largest: Float[Tensor, " latent"]
    histogram: Int[Tensor, "latent bin"]
    positions: Int[Tensor, "latent part"]
    tokens: Int[Tensor, "latent among"]
    token_counts: Int[Tensor, "latent among"]
    token_means: Float[Tensor, "latent among"]
    promoted: Int[Tensor, "latent first"]
    promoted_logits: Float[Tensor, "latent first"]
    suppressed: Int[Tensor, "latent first"]
    suppressed_logits: Float[Tensor, "latent first"]
    neighbours: Int[Tensor, "latent near"]
    cosines: Float[Tensor, "latent near"]
    n_examples: Int[Tensor, " latent"]
    groups: Int[Tensor, " example"]
    context: Int[Tensor, " example"]
    pos: Int[Tensor, " example"]
    first: Int[Tensor, " example"]
    lengths: Int[Tensor, " example"]
    ids: Int[Tensor, " token"]
    values: Float[Tensor, " token"]
    rules: tuple[Rule | None, ...]
    random_f1: float
    strings: dict[int, str]
    corpus: str
    corpus_name: str
    n_rows: int
    n_ctx: int

    @property
    def n_latents(self) -> int:
        return len(self.counts)

    @property
    def density(self) -> Float[Tensor, " latent"]:
        """The share of rows in which each latent is active."""
        return self.counts / self.n_rows

    @property
    def f1(self) -> Float[Tensor, " latent"]:
        """Of the rules on held-out text, NaN without one."""
        return torch.tensor([float("nan") if one is None else one.f1 for one in self.rules])

    def feature(self, latent: int) -> Feature:
        """One latent's page, as `sae.features` made it. Raises `InputError` for none such."""
        check_latent(latent, self.n_latents)
        largest = float(self.largest[latent])
        every = range(*self._offsets[0][latent : latent + 2])
        top, *bands = (
            tuple(self._example(i) for i in every if self.groups[i] == number)
            for number in range(1 + BANDS)
        )
        return Feature(
            latent=latent,
            density=int(self.counts[latent]) / self.n_rows,
            largest=largest,
            top=top,
            bands=tuple(bands) if largest else (),
            edges=edges(largest),
            histogram=self.histogram[latent],
            tokens=_rows(self.tokens[latent], self.token_counts[latent], self.token_means[latent]),
            positions=self.positions[latent],
            starts=starts(self.n_ctx),
            promoted=_rows(self.promoted[latent], self.promoted_logits[latent]),
            suppressed=_rows(self.suppressed[latent], self.suppressed_logits[latent]),
            neighbours=_rows(self.neighbours[latent], self.cosines[latent]),
            rule=self.rules[latent],
        )

    def text(self, example: Example) -> str:
        """An example as one line, the token in question in arrows."""
        parts = [self.strings[token] for token in example.ids.tolist()]
        parts[example.at] = f"»{parts[example.at]}«"
        return "".join(parts).replace("\n", "↵")

    def rule(self, latent: int, n: int = 6) -> str:
        """The latent's rule in words, its first `n`."""
        return worded(self.rules[latent], self.strings.__getitem__, n)

    @cached_property
    def strongest(self) -> tuple[str, ...]:
        """The text of each latent's strongest example, empty where it is never active."""
        begin = zip(self._offsets[0], self.n_examples.tolist(), strict=False)
        return tuple(self.text(self._example(i)) if n else "" for i, n in begin)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """What a latent is searched by: rule, tokens, what it promotes, its strongest example."""
        both = torch.cat([self.tokens, self.promoted], 1).tolist()
        listed = [[token for token in tokens if token >= 0] for tokens in both]
        parts = [
            [self.rule(latent, n=50), *map(self.strings.__getitem__, listed[latent]), text]
            for latent, text in enumerate(self.strongest)
        ]
        return tuple("\n".join(some).casefold().translate(_ARROWLESS) for some in parts)

    def search(self, words: str) -> list[int]:
        """The latents whose text has all of `words`, separated by spaces; case does not count."""
        wanted = words.casefold().split()
        return [
            latent for latent, text in enumerate(self.texts) if all(word in text for word in wanted)
        ]

    @cached_property
    def _offsets(self) -> tuple[list[int], list[int]]:
        """Where the examples of each latent begin, and the tokens of each example."""
        examples, tokens = self.n_examples.tolist(), self.lengths.tolist()
        return [0, *accumulate(examples)], [0, *accumulate(tokens)]

    def _example(self, i: int) -> Example:
        here = slice(*self._offsets[1][i : i + 2])
        context, pos, first = (int(getattr(self, name)[i]) for name in _PLACE)
        return Example(context, pos, first, self.ids[here], self.values[here])


def make_atlas(
    sae: SAE,
    found: Activity,
    corpus: Corpus,
    model: Model,
    rules: Sequence[Rule | None],
    progress: Progress | None = None,
    *,
    random_f1: float = math.nan,
) -> Atlas:
    """All latents in one pass. Raises `InputError` as `sae.features.features`."""
    pages: list[Feature] = []
    for page in features(sae, found, corpus, model, rules):
        pages.append(page)
        if progress is not None and (len(pages) % 64 == 0 or len(pages) == sae.n_latents):
            progress(len(pages), sae.n_latents)
    return Atlas(
        counts=found.counts.int(),
        rules=tuple(rules),
        random_f1=random_f1,
        corpus=corpus.digest,
        corpus_name=corpus.name,
        n_rows=found.n_rows,
        n_ctx=found.n_ctx,
        **_packed(pages, model),
    )


def _packed(pages: Sequence[Feature], model: Model) -> dict[str, Any]:
    """What is said of the pages, all in one."""
    made: dict[str, Any] = {}
    for names in _LISTS:
        lists = [getattr(page, names[0]) for page in pages]
        made |= zip(names, _columns(lists, len(names)), strict=True)
    groups = [[(0, page.top), *enumerate(page.bands, start=1)] for page in pages]
    examples = [(n, one) for mine in groups for n, some in mine for one in some]
    ids = torch.cat([_int([]), *(one.ids.int() for _, one in examples)])
    said = {token for page in pages if page.rule for word in page.rule.words for token in word}
    shown = torch.cat([ids, *(made[names[0]].flatten() for names in _LISTS[:3])])
    known = sorted({*said, *shown.unique().tolist()} - {-1})
    return made | {
        "ids": ids,
        "largest": torch.tensor([page.largest for page in pages]),
        "histogram": torch.stack([page.histogram for page in pages]).int(),
        "positions": torch.stack([page.positions for page in pages]).int(),
        "n_examples": _int([sum(len(some) for _, some in mine) for mine in groups]),
        "groups": _int([n for n, _ in examples]),
        **{name: _int([getattr(one, name) for _, one in examples]) for name in _PLACE},
        "lengths": _int([len(one.ids) for _, one in examples]),
        "values": torch.cat([torch.empty(0), *(one.values for _, one in examples)]),
        "strings": {token: model.vocabulary.string(token) for token in known},
    }


def _int(numbers: Sequence[int]) -> Int[Tensor, " n"]:
    return torch.tensor(numbers, dtype=torch.int32)


def _columns(lists: Sequence[Sequence[tuple[Any, ...]]], n: int) -> list[Tensor]:
    """Lists of `n`-tuples of whole numbers and, at last, one that need not be, filled with -1."""
    longest = max(map(len, lists))
    return [
        torch.tensor(
            [[row[i] for row in rows] + [-1] * (longest - len(rows)) for rows in lists],
            dtype=torch.float32 if i == n - 1 else torch.int32,
        )
        for i in range(n)
    ]


def _rows(numbers: Int[Tensor, " n"], *others: Tensor) -> tuple[tuple[Any, ...], ...]:
    """The tuples of one list again."""
    found = zip(numbers.tolist(), *(one.tolist() for one in others), strict=True)
    return tuple(row for row in found if row[0] >= 0)


def save_atlas(atlas: Atlas, path: Path) -> None:
    """Write one file, whole or not at all; numbers that need not be whole in 16 bits."""
    plain = {one.name: getattr(atlas, one.name) for one in fields(Atlas)}
    tensors = {name: value for name, value in plain.items() if isinstance(value, Tensor)}
    values = tensors.pop("values")
    small = {
        name: value.half() if value.is_floating_point() else fewest_bytes(value)
        for name, value in tensors.items()
    }
    small |= {
        "largest": atlas.largest,
        "active": torch.from_numpy(np.packbits((values != 0).numpy())),
        "values": values[values != 0].half(),
        "string_ids": fewest_bytes(_int(list(atlas.strings))),
        **rule_tensors(atlas.rules),
    }
    card = {name: plain[name] for name in _CARD} | {"strings": list(atlas.strings.values())}
    write_carded(path, small, {"format": FORMAT, **card}, what=_WHAT)


def load_atlas(path: Path) -> Atlas:
    """Raises `InputError` where there is none, `DamagedError` for one that was changed on disk."""
    card, tensors = read_carded(path, what=_WHAT, fmt=FORMAT)
    expect_fields(path, _WHAT, card, _CARD)
    with misfit(lambda fault: damaged(path, _WHAT, "file", "parts that fit", fault)):
        made = unpacked(card, tensors)
        return Atlas(**{one.name: made[one.name] for one in fields(Atlas)})


def atlas_of(name: Path | str) -> Atlas | None:
    """Of a dictionary by its folder or its name, where one was made. Raises as `folder_of`."""
    for folder in dict.fromkeys([place_of(name), folder_of(name)]):
        if (folder / ATLAS).is_file():
            return load_atlas(folder / ATLAS)
    return None


def place_of(name: Path | str) -> Path:
    """Where what is made of a dictionary is kept: its folder; of a shipped one, under the home."""
    return home() / "saes" / str(name) if str(name) in SHIPPED else folder_of(name)

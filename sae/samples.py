"""What a dictionary is trained on: which rows of a corpus, and how they are scaled."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae.joined import Joined, Source, check_site, moments
from sae.slopes import Rows
from workbench.cache import State, shuffled
from workbench.corpus import PUT_IN, Corpus
from workbench.errors import InputError
from workbench.sites import Site

SINK = 4.0  # times the median norm: rows as long as this are attention sinks
_CONTEXTS = 256  # read at a time
_PROBED = 64  # contexts that tell mean and scale of what is not stored
_BLOCK, _BUFFER = 64, 2**16  # rows


@dataclass(frozen=True, eq=False)
class End:
    """What a dictionary reads, or writes: its rows have this `mean`.

    About it, times `factors` (a number for each site, at all its dimensions), the rows of every
    site have a mean square of 1 a dimension.
    """

    rows: Joined
    mean: Float[Tensor, " d"]
    factors: Float[Tensor, " d"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows that train, rows held out, and their scale, where a dictionary reads and writes.

    BOS, padding and sinks are in neither part; `median` is of the norms where it writes. `wanted`
    is `read` but for transcoders.
    """

    read: End
    wanted: End
    train: Bool[np.ndarray, "context pos"]
    held_out: Bool[np.ndarray, "context pos"]
    medians: Mapping[Site, float]
    n_sinks: int

    @property
    def harvest(self) -> Joined:
        """What is read."""
        return self.read.rows

    @property
    def mean(self) -> Float[Tensor, " d"]:
        return self.read.mean

    @property
    def median(self) -> float:
        return self.medians[self.wanted.rows.sites[0]]

    @property
    def transcodes(self) -> bool:
        return self.wanted is not self.read

    def batches(
        self, size: int, *, seed: int, state: State | None = None
    ) -> Iterator[tuple[Rows, State]]:
        """Shuffled training rows, scaled, epoch after epoch; each with the state after it.

        Of activations that are not stored sinks are only known by then: a batch may be shorter.
        """
        ends = dict.fromkeys([self.read.rows, self.wanted.rows])
        sources = [source for rows in ends for source in rows.sources]
        stored = self.harvest.stored
        n_ctx = self.harvest.shape[1]
        block = _BLOCK if stored else n_ctx
        read = shuffled(
            sources,
            batch_size=size,
            seed=seed,
            block=block,
            buffer=max(_BUFFER, block),
            keep=self.train,
            epochs=None,
            state=state,
        )
        for rows in read:
            found = rows.activations if stored else self._without_sinks(rows.activations)
            yield self._scaled(found), rows.state

    def _scaled(self, found: Mapping[Site, Tensor]) -> Rows:
        x = self.read.rows.joined(found)
        if not self.transcodes:
            return Rows(x * self.read.factors)
        y = self.wanted.rows.joined(found)
        return Rows((x - self.read.mean) * self.read.factors, y * self.wanted.factors)

    def _without_sinks(self, found: Mapping[Site, Tensor]) -> dict[Site, Tensor]:
        plain = [
            rows.float().norm(dim=-1) <= SINK * self.medians[site] for site, rows in found.items()
        ]
        kept = torch.stack(plain).all(0)
        return {site: rows[kept] for site, rows in found.items()}


def samples(
    read: Source | Sequence[Source],
    wanted: Source | None = None,
    *,
    held_out: float = 0.05,
    seed: int = 0,
) -> Samples:
    """The rows of one site, or of several as one vector, divided by document.

    With `wanted`, what a transcoder should make of them. Mean, scale and sinks are of all rows
    where they are stored, else of a part of the contexts. Raises `InputError` for a site that has
    no vector at a position, for activations that are not finite, and for a corpus too short to
    train on and to hold a document out.
    """
    x = Joined((read,) if isinstance(read, Source) else tuple(read))
    y = x if wanted is None else Joined((wanted,))
    every = dict.fromkeys([*x.sources, *y.sources])
    if len({source.corpus.digest for source in every}) > 1:
        raise InputError("these are activations of different corpora; give those of one")
    for source in every:
        check_site(source.site)
    looked = _looked_at(x.corpus, x.stored)
    text, aside = parts(x.corpus, held_out, seed)
    medians, sinks = {}, np.zeros_like(text)
    for source in every:
        norms = _norms(source, text, looked)
        known = text[looked]
        medians[source.site] = median = float(np.median(norms[known])) if known.any() else 0.0
        sinks[looked] |= known & (norms > SINK * median)
    train = text & ~sinks & ~aside
    if not train[looked].any():
        raise InputError(
            f"{x.corpus.name} has no row to train on: {int(text.sum())} are text, "
            f"{int((text & aside).sum())} of them held out; give a longer text"
        )
    part = np.zeros_like(train)
    part[looked] = train[looked]
    end = _end(x, part)
    return Samples(
        read=end,
        wanted=end if y is x else _end(y, part),
        train=train,
        held_out=text & ~sinks & aside,
        medians=medians,
        n_sinks=int(sinks.sum()),
    )


def parts(
    corpus: Corpus, share: float = 0.05, seed: int = 0
) -> tuple[Bool[np.ndarray, "context pos"], Bool[np.ndarray, "context pos"]]:
    """Positions that are text, and those of documents that do not train: a `share`, by `seed`.

    A corpus of few documents is divided by context. Raises `InputError` for a single context.
    """
    return np.asarray(corpus.documents != PUT_IN), _aside(corpus, share, seed)


def _aside(corpus: Corpus, share: float, seed: int) -> Bool[np.ndarray, "context pos"]:
    numbers = np.unique(corpus.documents[corpus.documents != PUT_IN])
    draw = np.random.default_rng(seed)
    if len(numbers) * share >= 1:
        kept = draw.choice(numbers, size=round(len(numbers) * share), replace=False)
        return np.isin(corpus.documents, kept)
    if len(corpus) < 2:
        raise InputError(
            f"{corpus.name} is one context of {corpus.n_ctx} tokens; give a longer text, so that a "
            "part of it can be held out"
        )
    aside = np.zeros(corpus.documents.shape, dtype=bool)
    aside[draw.choice(len(corpus), size=max(1, round(len(corpus) * share)), replace=False)] = True
    return aside


def _end(rows: Joined, kept: Bool[np.ndarray, "context pos"]) -> End:
    mean, variance = moments(rows, kept)
    parts = []
    for site, part in zip(rows.sites, variance.split(list(rows.widths)), strict=True):
        if not float(part.mean()) > 0:
            raise InputError(f"all rows of {site} are the same; there is nothing to learn")
        parts.append(part.mean().rsqrt().expand(len(part)))
    return End(rows, mean, torch.cat(parts))


def _looked_at(corpus: Corpus, stored: bool) -> list[int]:
    """Contexts that tell mean, scale and sinks: all, or some of what is not stored."""
    if stored or len(corpus) <= _PROBED:
        return list(range(len(corpus)))
    return np.linspace(0, len(corpus) - 1, _PROBED).round().astype(int).tolist()


def _norms(
    source: Source, text: Bool[np.ndarray, "context pos"], looked: list[int]
) -> Float[np.ndarray, "looked pos"]:
    norms = np.empty((len(looked), source.shape[1]), dtype=np.float32)
    step = _CONTEXTS if len(looked) == len(text) else 1  # some of them do not lie together
    for at in range(0, len(looked), step):
        first, last = looked[at], looked[min(at + step, len(looked)) - 1] + 1
        norms[at : at + step] = source.contexts(first, last).float().norm(dim=-1).numpy()
    wrong = ~np.isfinite(norms) & text[looked]
    if wrong.any():
        context = looked[int(wrong.any(1).argmax())]
        raise InputError(
            f"the harvest of {source.site} holds values that are not finite, first in context "
            f"{context} of {source.corpus.name}; harvest it in float32 or bfloat16"
        )
    return norms

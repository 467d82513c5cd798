"""What a dictionary is trained on: which rows of a harvest, and how they are scaled."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from workbench.cache import Harvest, State, shuffled
from workbench.corpus import PUT_IN, Corpus
from workbench.errors import InputError
from workbench.sites import Site

SINK = 4.0  # times the median norm: rows as long as this are attention sinks
_CONTEXTS, _FEW = 256, 16  # read at a time; and where each row becomes a row of latents


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows of a harvest: those that train, those held out, their mean and their scale.

    BOS, padding and sinks are in neither part. Rows times `factor` have, around their `mean`, a
    mean square of 1 a dimension.
    """

    harvest: Harvest
    train: Bool[np.ndarray, "context pos"]
    held_out: Bool[np.ndarray, "context pos"]
    mean: Float[Tensor, " d"]
    factor: float
    median: float
    n_sinks: int

    def batches(
        self, size: int, *, seed: int, state: State | None = None
    ) -> Iterator[tuple[Float[Tensor, "row d"], State]]:
        """Shuffled training rows, scaled, epoch after epoch; each with the state after it."""
        read = shuffled(
            self.harvest, batch_size=size, seed=seed, keep=self.train, epochs=None, state=state
        )
        for rows in read:
            (found,) = rows.activations.values()
            yield found.flatten(1).float() * self.factor, rows.state


def samples(harvest: Harvest, *, held_out: float = 0.05, seed: int = 0) -> Samples:
    """The rows of `harvest`, divided by document.

    Raises `InputError` for a site that has no vector at a position, for activations that are not
    finite, and for a corpus too short to hold a document out.
    """
    check_site(harvest.site)
    text = np.asarray(harvest.corpus.documents != PUT_IN)
    norms = _norms(harvest, text)
    median = float(np.median(norms[text]))
    sinks = text & (norms > SINK * median)
    aside = held_out_positions(harvest.corpus, held_out, seed)
    train = text & ~sinks & ~aside
    mean, spread = _moments(harvest, train)
    if not spread > 0:
        raise InputError(f"all rows of {harvest.site} are the same; there is nothing to learn")
    factor = (harvest.shape[2] / spread) ** 0.5
    return Samples(harvest, train, text & ~sinks & aside, mean, factor, median, int(sinks.sum()))


def check_site(site: Site) -> None:
    """Raise `InputError` for a site that has no vector for each token."""
    if site.head is not None or not re.fullmatch(r"batch pos d_\w+", site.kind.axes):
        raise InputError(
            f"{site} has no one vector for each token (its axes are '{site.kind.axes}'); give a "
            "site such as 12.resid_post or 12.mlp_out"
        )


def held_out_positions(corpus: Corpus, share: float, seed: int) -> Bool[np.ndarray, "context pos"]:
    """Positions of the documents that do not train: a `share` of all, drawn by `seed`.

    A corpus of few documents is divided by context. Raises `InputError` for a single context.
    """
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


def read_rows(
    harvest: Harvest, kept: Bool[np.ndarray, "context pos"]
) -> Iterator[Float[Tensor, "row d"]]:
    """Only the `kept` rows, in order, in float32."""
    for first, found in _read(harvest, _FEW):
        mask = kept[first : first + len(found)]
        if mask.any():
            yield found[torch.from_numpy(mask)]


def _norms(
    harvest: Harvest, text: Bool[np.ndarray, "context pos"]
) -> Float[np.ndarray, "context pos"]:
    norms = np.empty(harvest.shape[:2], dtype=np.float32)
    for first, found in _read(harvest):
        norms[first : first + len(found)] = found.norm(dim=-1).numpy()
    if not np.isfinite(norms[text]).all():
        context = int((~np.isfinite(norms) & text).any(1).argmax())
        raise InputError(
            f"the harvest of {harvest.site} holds values that are not finite, first in context "
            f"{context} of {harvest.corpus.name}; harvest it in float32 or bfloat16"
        )
    return norms


def _moments(
    harvest: Harvest, train: Bool[np.ndarray, "context pos"]
) -> tuple[Float[Tensor, " d"], float]:
    """The mean of the training rows, and their mean squared distance from it."""
    total = torch.zeros(harvest.shape[2], dtype=torch.double)
    squares, n = 0.0, int(train.sum())
    for first, found in _read(harvest):
        rows = found[torch.from_numpy(train[first : first + len(found)])]
        total += rows.sum(0, dtype=torch.double)
        squares += float(rows.square().sum(dtype=torch.double))
    mean = total / n
    return mean.float(), squares / n - float(mean @ mean)


def _read(
    harvest: Harvest, contexts: int = _CONTEXTS
) -> Iterator[tuple[int, Float[Tensor, "context pos d"]]]:
    for first in range(0, harvest.shape[0], contexts):
        yield first, harvest.contexts(first, min(first + contexts, harvest.shape[0])).float()

"""`stream`: activations of a corpus at several sites, batch by batch, kept by nobody."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from workbench.cache.rounding import dtype_named, rounded
from workbench.corpus import Corpus, Cursor, check_fits
from workbench.errors import InputError
from workbench.hooks import run, sites
from workbench.models import DTYPES, Model
from workbench.sites import Request, Site, look_up, named

Progress = Callable[[int, int], object]
"""Told how many contexts are done, and of how many."""


@dataclass(frozen=True)
class Chunk:
    """Some contexts of a corpus: their token ids and activations `[batch, ...]` by site.

    `cursor` is where reading goes on after them.
    """

    contexts: range
    ids: Int[Tensor, "batch pos"]
    activations: Mapping[Site, Tensor]
    cursor: Cursor

    def __getitem__(self, site: Site | str) -> Tensor:
        return look_up(self.activations, site)


def stream(
    model: Model,
    corpus: Corpus,
    wanted: Request | Iterable[Request],
    *,
    batch: int = 8,
    dtype: str | None = None,
    cursor: Cursor | None = None,
    progress: Progress | None = None,
) -> Iterator[Chunk]:
    """The activations of `corpus` at the sites `wanted`, `batch` contexts at a time, in order.

    Each batch is one forward that ends at the last site; the tensors are on the model's device,
    as `dtype` (default: the model's). `cursor` goes on after an earlier chunk. Raises `InputError`
    for a site that the model lacks, a cursor of another corpus, and a value too large for `dtype`.
    """
    places = named(wanted, sites(model))
    name = dtype_named(dtype, model.dtype)
    check_batch(batch)
    check_fits(corpus, model)
    batches = corpus.batches(batch, cursor)
    return _chunks(model, places, DTYPES[name], batches, len(corpus), progress)


def _chunks(
    model: Model,
    places: Sequence[Site],
    dtype: torch.dtype,
    batches: Iterator[tuple[Cursor, Int[Tensor, "batch pos"]]],
    n_contexts: int,
    progress: Progress | None,
) -> Iterator[Chunk]:
    for cursor, ids in batches:
        found = run(model, ids, read=places).activations
        activations = {site: rounded(found[site], dtype, site)[0] for site in places}
        del found
        first = cursor.context - len(ids)
        yield Chunk(range(first, cursor.context), ids, activations, cursor)
        del activations  # not beside those of the next forward
        if progress is not None:
            progress(cursor.context, n_contexts)


def check_batch(batch: int) -> None:
    """Raises `InputError` unless `batch` is a number of contexts."""
    if type(batch) is not int or batch < 1:
        raise InputError(f"a batch of {batch} contexts holds nothing; give a whole number from 1")

"""`live`: activations of a corpus that the model makes when they are read, kept by nobody.

Read as harvests are, by `shuffled` too: each buffer is filled by forwards of whole contexts, so a
read that resumes gives bit for bit what it would have given.
"""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.cache.keys import Key, corpus_keys
from workbench.cache.rounding import dtype_named, rounded
from workbench.cache.stream import check_batch
from workbench.corpus import Corpus, check_fits
from workbench.errors import InputError
from workbench.hooks import run, sites
from workbench.models import DTYPES, Model
from workbench.sites import Request, Site, named


class Live:
    """One site's activations of a corpus, made by a forward of the model for each context read."""

    def __init__(self, forwards: "_Forwards", site: Site, key: Key) -> None:
        self._forwards, self.site, self.key = forwards, site, key
        self.corpus, self.dtype = forwards.corpus, forwards.dtype
        self.shape = (*self.corpus.ids.shape, *forwards.first[site].shape[2:])

    def contexts(self, first: int, last: int) -> Float[Tensor, "context ..."]:
        """The activations of contexts `first` to `last` (not included)."""
        if not 0 <= first < last <= self.shape[0]:
            raise InputError(f"contexts {first} to {last} are not among the {self.shape[0]:,}")
        return self._forwards.take(np.arange(first, last), self.site)

    def fill(self, blocks: Int[np.ndarray, " block"], size: int, into: Tensor) -> None:
        """Put these blocks of `size` rows one after the other: a block is a whole context."""
        if size != self.shape[1]:
            raise InputError(f"a block of a live read is a context; give block={self.shape[1]}")
        found = self._forwards.take(blocks, self.site).flatten(0, 1)
        into[: len(found)] = found


def live(
    model: Model,
    corpus: Corpus,
    wanted: Request | Iterable[Request],
    *,
    batch: int = 8,
    dtype: str | None = None,
) -> dict[Site, Live]:
    """One `Live` for each site; what they read at a time comes from the same forwards.

    Raises `InputError` for a site that the model lacks, and a corpus that does not fit it.
    """
    places = named(wanted, sites(model))
    name = dtype_named(dtype, model.dtype)
    check_batch(batch)
    check_fits(corpus, model)
    forwards = _Forwards(model, corpus, tuple(places), DTYPES[name], batch)
    keys = corpus_keys(model, corpus, places, name)
    return {site: Live(forwards, site, keys[site]) for site in places}


class _Forwards:
    """What the last contexts asked for gave at every site, until each has been taken."""

    def __init__(
        self, model: Model, corpus: Corpus, places: tuple[Site, ...], dtype: torch.dtype, batch: int
    ) -> None:
        self.model, self.corpus, self.dtype = model, corpus, dtype
        self._places, self._batch = places, batch
        self.first = self._run(np.arange(1))
        self._asked = np.empty(0, dtype=np.int64)
        self._left: dict[Site, Tensor] = {}

    def take(self, contexts: Int[np.ndarray, " context"], site: Site) -> Tensor:
        if site not in self._left or not np.array_equal(self._asked, contexts):
            self._asked = contexts.copy()
            parts = [
                self._run(contexts[first : first + self._batch])
                for first in range(0, len(contexts), self._batch)
            ]
            self._left = {one: torch.cat([part[one] for part in parts]) for one in self._places}
        return self._left.pop(site)

    def _run(self, contexts: Int[np.ndarray, " context"]) -> dict[Site, Tensor]:
        ids = torch.from_numpy(self.corpus.ids[contexts].astype(np.int64))
        found = run(self.model, ids, read=self._places).activations
        return {site: rounded(found[site], self.dtype, site)[0].cpu() for site in self._places}

"""A harvest opened for reading: one site's activations of a whole corpus."""

import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from workbench.cache.keys import Key, corpus_keys
from workbench.cache.locks import Lock, lock_folder
from workbench.cache.manifest import NAME, read_manifest
from workbench.cache.rounding import Rounding, dtype_named
from workbench.cache.store import Store
from workbench.corpus import Corpus
from workbench.errors import InputError
from workbench.hooks import sites
from workbench.models import DTYPES, Model
from workbench.sites import Site, named


class Harvest:
    """One site's activations of a corpus, memory-mapped; no process evicts it while it is open.

    Each context is held against its checksum when it is first read, so damage is a
    `DamagedError` before it is a number. `close`, or leaving a `with`, lets it be evicted.
    """

    def __init__(self, folder: Path, key: Key, corpus: Corpus, held: Lock) -> None:
        manifest = read_manifest(folder, key)
        if manifest is None or not manifest.whole:
            told = "nothing of it is there"
            if manifest is not None:
                missing = len(manifest.missing(folder))
                told = f"{missing} of {manifest.n_shards} shards are missing"
            raise InputError(
                f"the harvest of {key.site} of {corpus.name} as {key.dtype} in {folder} is not "
                f"finished ({told}); run the same harvest again, it goes on"
            )
        self.folder, self.corpus, self.manifest = folder, corpus, manifest
        self._held = held
        self._shards = [manifest.open_shard(folder, n) for n in range(manifest.n_shards)]
        self._checked = np.zeros(len(corpus), dtype=bool)
        with suppress(OSError):  # on a read-only disk, or another user's file
            os.utime(folder / NAME)  # the age that eviction goes by

    @property
    def key(self) -> Key:
        return self.manifest.key

    @property
    def site(self) -> Site:
        return Site.parse(self.manifest.key.site)

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.manifest.key.dtype]

    @property
    def shape(self) -> tuple[int, ...]:
        """`(contexts, pos, ...)`."""
        return self.manifest.shape

    @cached_property
    def rounding(self) -> Rounding:
        """What storing as `dtype` lost."""
        return Rounding.over(shard.rounding for shard in self._shards)

    def contexts(self, first: int, last: int) -> Float[Tensor, "context ..."]:
        """The activations of contexts `first` to `last` (not included), a copy."""
        if not 0 <= first < last <= self.shape[0]:
            raise InputError(f"contexts {first} to {last} are not among the {self.shape[0]:,}")
        taken = torch.empty((last - first, *self.shape[1:]), dtype=self.dtype)
        self.copy_rows(first * self.shape[1], last * self.shape[1], as_bytes(taken.flatten(0, 1)))
        return taken

    def fill(self, blocks: Int[np.ndarray, " block"], size: int, into: Tensor) -> None:
        """Put these blocks of `size` rows one after the other; the corpus' last may be short."""
        n_rows, place = self.shape[0] * self.shape[1], as_bytes(into)
        for at, number in enumerate(blocks.tolist()):
            first, last = number * size, min((number + 1) * size, n_rows)
            self.copy_rows(first, last, place[at * size : at * size + last - first])

    def copy_rows(self, first: int, last: int, into: UInt8[np.ndarray, "row byte"]) -> None:
        """Copy the bytes of rows `first` to `last`: row `context * n_ctx + pos` is a position's."""
        n_ctx, cut = self.shape[1], self.manifest.shard_contexts
        contexts = slice(first // n_ctx, -(-last // n_ctx))
        if not self._checked[contexts].all():
            self._check(range(contexts.start, contexts.stop))
        start, per_shard = first, cut * n_ctx
        while start < last:
            number, row = divmod(start, per_shard)
            end = min(last, (number + 1) * per_shard)
            into[start - first : end - first] = self._rows[number][row : row + end - start]
            start = end

    def _check(self, contexts: range) -> None:
        for context in contexts:
            if not self._checked[context]:
                number, place = divmod(context, self.manifest.shard_contexts)
                self._shards[number].check(place)
                self._checked[context] = True

    @cached_property
    def _rows(self) -> list[UInt8[np.ndarray, "row byte"]]:
        return [as_bytes(shard.activations.flatten(0, 1)) for shard in self._shards]

    def verify(self) -> None:
        """Hold every context against its checksum. Raises `DamagedError` at the first wrong one."""
        self._checked[:] = False
        self._check(range(self.shape[0]))

    def close(self) -> None:
        self._held.release()

    def __enter__(self) -> "Harvest":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_harvest(
    store: Store, model: Model, corpus: Corpus, site: Site | str, dtype: str | None = None
) -> Harvest:
    """The harvest of `site` (its whole, with all heads) of `corpus`, stored as `dtype`.

    Raises `InputError` where there is none, or it is not finished, and `DamagedError` where a
    file of it is not what it should be.
    """
    place, *more = named(site, sites(model))
    if more:
        raise InputError(f"{site!r} names {1 + len(more)} sites; open one harvest at a time")
    name = dtype_named(dtype, model.dtype)
    keys = {
        other: corpus_keys(model, corpus, [place.whole], other)[place.whole] for other in DTYPES
    }
    folder = store.harvest_folder(keys[name])
    try:
        held = lock_folder(folder, shared=True)
    except FileNotFoundError as error:
        also = [other for other, key in keys.items() if store.harvest_folder(key).is_dir()]
        raise InputError(
            f"{store.folder} holds no harvest of {place.whole} of {corpus.name} as {name} by this "
            f"model{f' (but as {also[0]})' if also else ''}; make one with `workbench harvest`"
        ) from error
    assert held is not None
    return Harvest(folder, keys[name], corpus, held)


def as_bytes(rows: Tensor) -> UInt8[np.ndarray, "row byte"]:
    """The same memory as bytes, for copies at the speed of memory."""
    return rows.flatten(1).view(torch.uint8).numpy()

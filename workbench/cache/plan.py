"""What a harvest is going to do: whose activations, under which keys, cut how, what is missing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch

from workbench.cache.keys import Key, corpus_keys
from workbench.cache.manifest import contexts_of, read_manifest
from workbench.cache.rounding import dtype_named
from workbench.cache.store import Store
from workbench.cache.stream import check_batch
from workbench.corpus import Corpus, check_fits
from workbench.errors import InputError
from workbench.hooks import sites
from workbench.models import Model
from workbench.sites import Request, Site, named

SHARD_TOKENS = 2**15  # what a kill can lose; some 40 MB of a 135 M model's residual in 16 bits


@dataclass(frozen=True, eq=False)
class Plan:
    """A harvest before it starts: everything asked for is checked, nothing is written yet.

    `keys` are of the whole sites; `missing` says which shards each of those that are not declared
    whole yet lacks: none, where a process died before it could declare that.
    """

    model: Model
    corpus: Corpus
    store: Store
    keys: Mapping[Site, Key]
    batch: int
    shard_contexts: int
    missing: Mapping[Site, list[int]]

    def now(self) -> "Plan":
        """The same with what other processes made, or evicted, since."""
        missing = {}
        for site, key in self.keys.items():
            folder = self.store.harvest_folder(key)
            manifest = read_manifest(folder, key)
            if manifest is None:
                missing[site] = list(range(-(-len(self.corpus) // self.shard_contexts)))
            elif (lacking := manifest.missing(folder)) or not manifest.whole:
                missing[site] = lacking
        return replace(self, missing=missing)

    @property
    def about(self) -> dict[str, str | int]:
        """What a manifest says for people.

        Harvests with the same batch, threads and device are the same bytes, however many
        processes made them; with others they differ by rounding.
        """
        return {
            "model": self.model.name,
            "corpus": self.corpus.name,
            "n_ctx": self.corpus.n_ctx,
            "batch": self.batch,
            "threads": torch.get_num_threads(),
            "device": self.model.device.type,
        }

    def contexts(self, number: int) -> range:
        """The contexts in shard `number`."""
        return contexts_of(number, self.shard_contexts, len(self.corpus))

    @property
    def shards(self) -> dict[int, list[Site]]:
        """The sites that lack it, for each shard that any lacks."""
        numbers = sorted({number for lacking in self.missing.values() for number in lacking})
        return {
            n: [site for site, lacking in self.missing.items() if n in lacking] for n in numbers
        }


def planned(
    model: Model,
    corpus: Corpus,
    wanted: Request | Iterable[Request],
    store: Store,
    *,
    dtype: str | None = None,
    batch: int = 8,
    shard_contexts: int | None = None,
) -> Plan:
    """What harvesting the sites `wanted` of `corpus` into `store` has to do.

    What lies there already is kept, and decides `shard_contexts` where that is not given. Raises
    `InputError` for what cannot be done, `DamagedError` for a manifest that is not to be trusted.
    """
    whole = list(dict.fromkeys(site.whole for site in named(wanted, sites(model))))
    check_batch(batch)
    check_fits(corpus, model)
    keys = corpus_keys(model, corpus, whole, dtype_named(dtype, model.dtype))
    folders = {site: store.harvest_folder(key) for site, key in keys.items()}
    there = {site: read_manifest(folder, keys[site]) for site, folder in folders.items()}
    begun = {
        site: manifest.shard_contexts
        for site, manifest in there.items()
        if manifest is not None
        and (shard_contexts or not manifest.whole or manifest.missing(folders[site]))
    }
    cut = _cut(corpus, begun, shard_contexts)
    return Plan(model, corpus, store, keys, batch, cut, {}).now()


def _cut(corpus: Corpus, begun: Mapping[Site, int], asked: int | None) -> int:
    """Contexts in a shard: what was begun goes on as it is."""
    if asked is not None and asked < 1:
        raise InputError(f"shards of {asked} contexts hold nothing; give a whole number from 1")
    cuts = set(begun.values()) | ({asked} if asked else set())
    if len(cuts) > 1:
        told = ", ".join(f"{site} in shards of {cut} contexts" for site, cut in begun.items())
        raise InputError(
            f"these harvests are there already: {told}; "
            + ("leave shard_contexts out" if asked else "finish them one after the other")
        )
    return cuts.pop() if cuts else max(1, SHARD_TOKENS // corpus.n_ctx)

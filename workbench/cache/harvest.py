"""`harvest`: activations of a corpus kept as shards, by one process or by many at once."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workbench.cache.budget import Budget, predict
from workbench.cache.files import writable
from workbench.cache.manifest import Manifest
from workbench.cache.plan import Plan, planned
from workbench.cache.resources import Spent, give_back, spending
from workbench.cache.sharing import Source, begin, end, make, used
from workbench.cache.store import Store
from workbench.cache.stored import Harvest
from workbench.cache.stream import Progress
from workbench.corpus import Corpus
from workbench.errors import InputError
from workbench.hooks import run
from workbench.models import Model
from workbench.sites import Request, Site, look_up


@dataclass(frozen=True)
class Harvested:
    """What `harvest` leaves: an open `Harvest` for each site, what it should cost and did cost.

    `spent` and `n_bytes` are this process' own; others may have done the rest.
    """

    harvests: Mapping[Site, Harvest]
    budget: Budget
    spent: Spent
    n_bytes: int

    def __getitem__(self, site: Site | str) -> Harvest:
        return look_up(self.harvests, site)


def harvest(
    model: Model,
    corpus: Corpus,
    wanted: Request | Iterable[Request],
    store: Store,
    *,
    dtype: str | None = None,
    batch: int = 8,
    shard_contexts: int | None = None,
    progress: Progress | None = None,
) -> Harvested:
    """Keep the activations of `corpus` at the sites `wanted` in `store`, as `dtype`.

    All sites (with all their heads) come from one pass over the corpus, of which only what is
    missing is run; each batch is one forward of `batch` contexts. A harvest that was stopped, or
    killed, goes on with its next shard, and several processes may harvest the same at once: each
    shard is made by one of them, and all return when it is whole. Raises `InputError` for sites
    that the model lacks, what does not fit (before it starts), a disk that refuses, and values
    too large for `dtype`; `DamagedError` for a shard or manifest that is not to be trusted.
    """
    plan = planned(
        model, corpus, wanted, store, dtype=dtype, batch=batch, shard_contexts=shard_contexts
    )
    return carried_out(plan, predict(plan), progress)


def carried_out(plan: Plan, budget: Budget, progress: Progress | None = None) -> Harvested:
    """Do what `plan` says, if the `budget` of it fits."""
    budget.check()
    folders = {site: plan.store.harvest_folder(key) for site, key in plan.keys.items()}
    with ExitStack() as stack, writable(plan.store.folder):
        held = {site: stack.enter_context(used(folder)) for site, folder in folders.items()}
        plan = plan.now()  # nothing of it can be evicted from here on
        lacking = [site for site, shards in plan.missing.items() if shards]
        if not set(lacking) <= set(budget.shapes):  # evicted since it was planned
            budget = predict(plan)
        _make_room(plan.store, budget)
        to_make = {
            folders[site]: Manifest(
                plan.keys[site], plan.about, budget.shapes[site], plan.shard_contexts
            )
            for site in lacking
        }
        for folder, manifest in to_make.items():
            begin(folder, manifest)
        give_back()  # the budget's own trials, so that the peak is the harvest's
        with spending(plan.model.device) as spent:
            n_bytes = make(to_make, plan.batch, _source(plan, folders), progress)
        for site in plan.missing:
            end(folders[site])
        plan.store.prune(plan.store.limit)
        opened = {
            site: Harvest(folder, plan.keys[site], plan.corpus, held[site])
            for site, folder in folders.items()
        }
        stack.pop_all()  # the locks are the opened harvests' now
    return Harvested(opened, budget, spent, n_bytes)


def _source(plan: Plan, folders: Mapping[Site, Path]) -> Source:
    """One forward for the contexts asked for, at those sites whose folders want them."""
    sites = {folder: site for site, folder in folders.items()}

    def activations(contexts: range, wanted: Sequence[Path]) -> list[Tensor]:
        ids = torch.from_numpy(plan.corpus.ids[contexts.start : contexts.stop].astype(np.int64))
        found = run(plan.model, ids, read=[sites[folder] for folder in wanted]).activations
        return [found[sites[folder]] for folder in wanted]

    return activations


def _make_room(store: Store, budget: Budget) -> None:
    """Evict what was used longest ago, so that the harvest stays within the store's limit."""
    if not budget.disk:
        return
    room = store.limit - budget.disk
    freed = store.prune(room)
    if freed.left > room:
        raise InputError(
            f"the store's limit of {store.limit / 1e9:,.1f} GB leaves no room for "
            f"{budget.disk / 1e9:,.1f} GB: {freed.left / 1e9:,.1f} GB are of harvests in use; "
            "close them or raise --store-limit"
        )

"""Harvests of activations that no model made, for the tests of what reads them."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workbench.cache import Harvest, Key
from workbench.cache.manifest import Manifest
from workbench.cache.sharing import begin, end, make, used
from workbench.corpus import Corpus, from_ids

KEY = Key("config", "weights", "raw", "float32", "eager", "tokens", "1.resid_post", "float32")


def text(n_contexts: int, n_ctx: int = 6) -> Corpus:
    """Documents of two contexts, with BOS in front of each."""
    ids = np.random.default_rng(0).integers(1, 99, (n_contexts, n_ctx))
    ids[:, 0] = 0
    documents = np.repeat(np.arange(n_contexts)[:, None] // 2, n_ctx, axis=1)
    documents[:, 0] = -1
    return from_ids("text", ids, documents=documents, bos_id=0)


def made_of(
    folder: Path, rows: Tensor, corpus: Corpus, cut: int = 4, site: str = "1.resid_post"
) -> Harvest:
    """A harvest of `rows` `[context, pos, d]`, in shards of `cut` contexts."""
    key = Key(**(vars(KEY) | {"tokens": corpus.digest, "site": site}))
    place = folder / "harvests" / key.digest
    held = used(place)
    manifest = Manifest(key, {}, tuple(rows.shape), cut)
    begin(place, manifest)
    make({place: manifest}, 2, lambda these, _: [rows[these.start : these.stop].float()])
    end(place)
    return Harvest(place, key, corpus, held)


def planted(
    n: int, *, features: int = 64, d: int = 32, p: float = 0.03, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Rows that are sums of few unit features: the rows, and the features `[feature, d]`."""
    draw = torch.Generator().manual_seed(seed)
    unit = torch.nn.functional.normalize(torch.randn(features, d, generator=draw), dim=1)
    active = torch.rand(n, features, generator=draw) < p
    return (active * torch.rand(n, features, generator=draw)) @ unit, unit

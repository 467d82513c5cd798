"""What a lens is trained and judged on: the residual stream at some positions of a corpus."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.cache import stream
from workbench.corpus import Corpus, Cursor, from_ids
from workbench.errors import InputError
from workbench.lens.logit import stream_sites
from workbench.models import Model

SHARE = 1 / 8  # of a context's positions: neighbours say much the same
_VALIDATION, _HELD_OUT = 32, 64  # contexts, or an eighth each of a small corpus


@dataclass(frozen=True)
class Parts:
    """A corpus divided by context: what trains, what decides between rows, what is reported."""

    training: Corpus
    validation: Corpus
    held_out: Corpus


def divided(corpus: Corpus, *, seed: int = 0) -> Parts:
    """Contexts drawn at random into the three parts; `training` is shuffled.

    Raises `InputError` for a corpus of fewer than 8 contexts.
    """
    eighth = len(corpus) // 8
    if eighth < 1:
        raise InputError(
            f"corpus {corpus.name} has {len(corpus)} contexts of {corpus.n_ctx} tokens; a tuned "
            "lens needs 8 or more: give a longer text or a smaller n_ctx"
        )
    order = np.random.default_rng(seed).permutation(len(corpus))
    first = min(_VALIDATION, eighth)
    second = first + min(_HELD_OUT, eighth)
    return Parts(
        _part(corpus, "training", order[second:]),
        _part(corpus, "validation", order[:first]),
        _part(corpus, "held-out", order[first:second]),
    )


def _part(corpus: Corpus, name: str, contexts: Int[np.ndarray, " context"]) -> Corpus:
    return from_ids(
        f"{corpus.name}, {name}",
        corpus.ids[contexts],
        documents=corpus.documents[contexts],
        bos_id=corpus.bos_id,
    )


def rows(
    model: Model,
    corpus: Corpus,
    *,
    batch: int,
    share: float = SHARE,
    seed: int = 0,
    first: int = 0,
) -> Iterator[Float[Tensor, "row context kept d_model"]]:
    """The residual stream of `batch` contexts at a time, from context `first` on.

    Of each context a `share` of the positions, drawn without replacement; at least one.
    """
    draw = torch.Generator().manual_seed(seed)
    sites = stream_sites(model)
    kept = max(1, round(corpus.n_ctx * share))
    for chunk in stream(model, corpus, sites, batch=batch, cursor=Cursor(corpus.digest, first)):
        order = torch.rand(chunk.ids.shape, generator=draw).argsort(1)[:, :kept]
        columns = order.sort(1).values[..., None].to(model.device)
        yield torch.stack([chunk[site].take_along_dim(columns, 1) for site in sites])


def whole(
    rows: Float[Tensor, "row position d_model"],
) -> Float[Tensor, "row kept d_model"]:
    """In float32, without the rows that hold NaN or infinity in some layer, such as padding."""
    return rows[:, rows.isfinite().all(-1).all(0)].float()

"""One latent as a page shows it: where it is active, how much, and what it writes."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae.activity import Activity
from sae.dictionary import SAE
from workbench.corpus import PUT_IN, Corpus
from workbench.errors import InputError
from workbench.metrics import top_tokens
from workbench.models import Model

_BINS, _BANDS = 40, 5
_BEFORE, _AFTER = 20, 10  # tokens shown around an example


@dataclass(frozen=True, eq=False)
class Example:
    """A stretch of text around `pos` of `context`, and what the latent said at each token."""

    context: int
    pos: int
    first: int
    ids: Int[Tensor, " token"]
    values: Float[Tensor, " token"]

    @property
    def value(self) -> float:
        """At the token in question."""
        return float(self.values[self.pos - self.first])


@dataclass(frozen=True, eq=False)
class Feature:
    """What there is to see of a latent.

    `bands` are examples from equal parts of the range of its activations, the strongest first.
    `edges` and `histogram` are of its activations above 0. `tokens` are those at which it is most
    active, by mean activation over all their occurrences among the first 20 by sum. `promoted` and
    `suppressed` are logits of its decoder row through the final norm and the unembedding.
    """

    latent: int
    density: float
    largest: float
    top: tuple[Example, ...]
    bands: tuple[tuple[Example, ...], ...]
    edges: Float[Tensor, " bins_and_one"]
    histogram: Int[Tensor, " bins"]
    tokens: tuple[tuple[int, int, float], ...]
    positions: Int[Tensor, " pos"]
    promoted: tuple[tuple[int, float], ...]
    suppressed: tuple[tuple[int, float], ...]
    neighbours: tuple[tuple[int, float], ...]


def feature(
    sae: SAE,
    found: Activity,
    corpus: Corpus,
    model: Model,
    latent: int,
    *,
    n: int = 10,
    seed: int = 0,
) -> Feature:
    """Everything about `latent`; `n` examples, each from another context.

    Raises `InputError` for a latent or a corpus that `found` is not of.
    """
    direction = sae.direction(latent).unit
    if found.corpus != corpus.digest or len(found.counts) != sae.n_latents:
        raise InputError("this activity is of another corpus or SAE; make it again")
    places, values = found.of(latent)
    order = values.argsort(descending=True, stable=True)
    largest = float(values.max()) if len(values) else 0.0
    logits = model.unembed(direction[None, None].to(model.device, model.dtype))[0, 0].float()
    similar = sae.W_dec @ direction
    similar[latent] = -torch.inf
    near = similar.topk(min(n, sae.n_latents - 1))
    return Feature(
        latent=latent,
        density=len(values) / found.n_rows,
        largest=largest,
        top=_apart(found, corpus, latent, places[order], n),
        bands=_bands(found, corpus, latent, largest, n, seed),
        edges=torch.linspace(0, largest, _BINS + 1),
        histogram=torch.histc(values, _BINS, 0, largest).long()
        if largest
        else torch.zeros(_BINS).long(),
        tokens=_tokens(corpus, places, values),
        positions=torch.bincount(places % found.n_ctx, minlength=found.n_ctx),
        promoted=_pairs(logits, n),
        suppressed=tuple((token, -value) for token, value in _pairs(-logits, n)),
        neighbours=tuple(zip(near.indices.tolist(), near.values.tolist(), strict=True)),
    )


def _pairs(logits: Float[Tensor, " vocab"], n: int) -> tuple[tuple[int, float], ...]:
    best = top_tokens(logits, n)
    return tuple(zip(best.ids.tolist(), best.logits.tolist(), strict=True))


def _apart(
    found: Activity, corpus: Corpus, latent: int, places: Int[Tensor, " place"], n: int
) -> tuple[Example, ...]:
    """The first `n` places, but of each context only the first."""
    contexts: dict[int, int] = {}
    for place in places.tolist():
        contexts.setdefault(place // found.n_ctx, place)
        if len(contexts) == n:
            break
    return tuple(_example(found, corpus, latent, place) for place in contexts.values())


def _bands(
    found: Activity, corpus: Corpus, latent: int, largest: float, n: int, seed: int
) -> tuple[tuple[Example, ...], ...]:
    places, values = found.of(latent)
    if not largest:
        return ()
    band = (values / largest * _BANDS).ceil().long() - 1
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(places), generator=draw)
    each = max(1, n // _BANDS)
    return tuple(
        _apart(found, corpus, latent, places[order][band[order] == number], each)
        for number in reversed(range(_BANDS))
    )


def _example(found: Activity, corpus: Corpus, latent: int, place: int) -> Example:
    context, pos = divmod(place, found.n_ctx)
    first, last = max(0, pos - _BEFORE), min(found.n_ctx, pos + _AFTER + 1)
    same = corpus.documents[context, first:last] == corpus.documents[context, pos]
    first += int(same.argmax())  # not across documents: what was in another is no context
    last = first + int(same.sum())
    places, values = found.of(latent)
    here = (places >= context * found.n_ctx + first) & (places < context * found.n_ctx + last)
    said = torch.zeros(last - first).scatter(
        0, places[here] - context * found.n_ctx - first, values[here]
    )
    ids = torch.from_numpy(corpus.ids[context, first:last].astype(np.int64))
    return Example(context, pos, first, ids, said)


def _tokens(
    corpus: Corpus, places: Int[Tensor, " active"], values: Float[Tensor, " active"], n: int = 20
) -> tuple[tuple[int, int, float], ...]:
    """(token, how often active there, mean activation over all its occurrences)."""
    ids = np.asarray(corpus.ids).reshape(-1)
    text = ids[np.asarray(corpus.documents).reshape(-1) != PUT_IN]
    at = torch.from_numpy(ids[places.numpy()].astype(np.int64))
    known, numbers, counts = at.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(known)).index_add(0, numbers, values)
    best = sums.argsort(descending=True)[:n]
    occurs = np.bincount(text, minlength=int(ids.max()) + 1)
    rows = [(int(known[i]), int(counts[i]), float(sums[i]) / int(occurs[known[i]])) for i in best]
    return tuple(sorted(rows, key=lambda row: -row[2]))

"""One latent as a page shows it: where it is active, how much, and what it writes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from sae.activity import Activity
from sae.dictionary import SAE
from sae.rules import Rule
from workbench.corpus import PUT_IN, Corpus
from workbench.errors import InputError
from workbench.models import Model

BINS, BANDS = 20, 5
_POSITIONS = 32  # bins at most
_TOP, _A_BAND = 6, 2  # examples
_BEFORE, _AFTER = 16, 10  # tokens shown around an example
_TOKENS, _LOGITS, _NEIGHBOURS = 12, 10, 10
_TOGETHER = 64  # latents whose logits are computed at a time


@dataclass(frozen=True, eq=False)
class Example:
    """A stretch of text around `pos` of `context`, and what the latent said at each token."""

    context: int
    pos: int
    first: int
    ids: Int[Tensor, " token"]
    values: Float[Tensor, " token"]

    @property
    def at(self) -> int:
        """The token in question, counted from the stretch's first."""
        return self.pos - self.first

    @property
    def value(self) -> float:
        """At the token in question."""
        return float(self.values[self.at])


@dataclass(frozen=True, eq=False)
class Feature:
    """What there is to see of a latent.

    `bands` are examples from equal parts of the range of its activations, the strongest first.
    `edges` and `histogram` are of its activations above 0; `positions` says how many of them lie
    in equal parts of a context, which begin at `starts`. `tokens` are those at which it is most
    active, by mean activation over all their occurrences among the first by sum: token, how often
    active there, mean. `promoted` and `suppressed` are logits of its decoder row through the final
    norm and the unembedding (of a crosscoder's last site); `neighbours` have the most similar
    decoder rows (cosine).
    """

    latent: int
    density: float
    largest: float
    top: tuple[Example, ...]
    bands: tuple[tuple[Example, ...], ...]
    edges: Float[Tensor, " bins_and_one"]
    histogram: Int[Tensor, " bins"]
    tokens: tuple[tuple[int, int, float], ...]
    positions: Int[Tensor, " parts"]
    starts: Int[Tensor, " parts"]
    promoted: tuple[tuple[int, float], ...]
    suppressed: tuple[tuple[int, float], ...]
    neighbours: tuple[tuple[int, float], ...]
    rule: Rule | None


def feature(
    sae: SAE,
    found: Activity,
    corpus: Corpus,
    model: Model,
    latent: int,
    rules: Sequence[Rule | None] | None = None,
) -> Feature:
    """Everything about `latent`. Raises `InputError` as `features`."""
    return next(features(sae, found, corpus, model, rules, latents=[latent]))


def features(
    sae: SAE,
    found: Activity,
    corpus: Corpus,
    model: Model,
    rules: Sequence[Rule | None] | None = None,
    *,
    latents: Sequence[int] | None = None,
) -> Iterator[Feature]:
    """Everything about each of `latents`, all where none are given.

    Raises `InputError` for a latent or a corpus that `found` is not of.
    """
    if found.corpus != corpus.digest or len(found.counts) != sae.n_latents:
        raise InputError("this activity is of another corpus or SAE; make it again")
    wanted = list(range(sae.n_latents) if latents is None else latents)
    for latent in wanted:
        check_latent(latent, sae.n_latents)
    occurs, rows = _occurrences(corpus), normalize(sae.W_dec, dim=1)
    for first in range(0, len(wanted), _TOGETHER):
        block = wanted[first : first + _TOGETHER]
        logits = _logits(sae, model, block)
        similar = rows[block] @ rows.T
        similar[torch.arange(len(block)), block] = -torch.inf
        best, worst = _pairs(logits, _LOGITS), _pairs(-logits, _LOGITS)
        near = _pairs(similar, min(_NEIGHBOURS, sae.n_latents - 1))
        for row, latent in enumerate(block):
            places, values = found.of(latent)
            largest = float(values.max()) if len(values) else 0.0
            counts, starts = _positions(places, found.n_ctx)
            yield Feature(
                latent=latent,
                density=len(values) / found.n_rows,
                largest=largest,
                top=_strongest(found, corpus, places, values),
                bands=_bands(found, corpus, places, values, largest),
                edges=edges(largest),
                histogram=_histogram(values, largest),
                tokens=_tokens(corpus, occurs, places, values),
                positions=counts,
                starts=starts,
                promoted=best[row],
                suppressed=tuple((token, -value) for token, value in worst[row]),
                neighbours=near[row],
                rule=None if rules is None else rules[latent],
            )


def check_latent(latent: int, n_latents: int) -> None:
    """Raise `InputError` for a number that no latent has."""
    if not 0 <= latent < n_latents:
        raise InputError(f"there is no latent {latent}; this dictionary has 0 to {n_latents - 1}")


def edges(largest: float) -> Float[Tensor, " bins_and_one"]:
    """Of the histogram of a latent."""
    return torch.linspace(0, largest, BINS + 1)


def starts(n_ctx: int) -> Int[Tensor, " parts"]:
    """The first position of each of the parts in which positions are counted."""
    parts = min(_POSITIONS, n_ctx)
    return (torch.arange(parts) * n_ctx + parts - 1) // parts


def _logits(sae: SAE, model: Model, block: list[int]) -> Float[Tensor, "latent d_vocab"]:
    """Through the final norm and the unembedding; of none, where it writes no residual stream."""
    last = sae.writes[-1]
    if not last.kind.axes.endswith("d_model"):
        return torch.empty(len(block), 0)
    rows = sae.W_dec[block].unflatten(1, (len(sae.writes), -1))[:, -1]
    unit = normalize(rows, dim=1).to(model.device, model.dtype)
    return model.unembed(unit[None])[0].float().cpu()


def _pairs(
    scores: Float[Tensor, "latent among"], n: int
) -> tuple[tuple[tuple[int, float], ...], ...]:
    best = scores.topk(min(n, scores.shape[1]))
    return tuple(
        tuple(zip(*pair, strict=True))
        for pair in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )


def _histogram(values: Float[Tensor, " active"], largest: float) -> Int[Tensor, " bins"]:
    if not largest:
        return torch.zeros(BINS, dtype=torch.long)
    return torch.histc(values, BINS, 0, largest).long()


def _positions(
    places: Int[Tensor, " active"], n_ctx: int
) -> tuple[Int[Tensor, " parts"], Int[Tensor, " parts"]]:
    begin = starts(n_ctx)
    part = torch.searchsorted(begin, places % n_ctx, right=True) - 1
    return torch.bincount(part, minlength=len(begin)), begin


def _strongest(
    found: Activity,
    corpus: Corpus,
    places: Int[Tensor, " active"],
    values: Float[Tensor, " active"],
) -> tuple[Example, ...]:
    order = values.argsort(descending=True, stable=True)
    return _apart(found, corpus, places, values, order, _TOP)


def _bands(
    found: Activity,
    corpus: Corpus,
    places: Int[Tensor, " active"],
    values: Float[Tensor, " active"],
    largest: float,
) -> tuple[tuple[Example, ...], ...]:
    if not largest:
        return ()
    band = (values / largest * BANDS).ceil().long() - 1
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(0))
    return tuple(
        _apart(found, corpus, places, values, order[band[order] == number], _A_BAND)
        for number in reversed(range(BANDS))
    )


def _apart(
    found: Activity,
    corpus: Corpus,
    places: Int[Tensor, " active"],
    values: Float[Tensor, " active"],
    order: Int[Tensor, " chosen"],
    n: int,
) -> tuple[Example, ...]:
    """The first `n` in this order, but of each context only the first."""
    contexts: dict[int, int] = {}
    for place in places[order].numpy():  # not a list: mostly the first few are enough
        contexts.setdefault(int(place) // found.n_ctx, int(place))
        if len(contexts) == n:
            break
    return tuple(example(corpus, places, values, place) for place in contexts.values())


def example(
    corpus: Corpus,
    places: Int[Tensor, " active"],
    values: Float[Tensor, " active"],
    place: int,
) -> Example:
    """The text around `place` in its document; `places` of a latent's `values` are in order."""
    n_ctx = corpus.n_ctx
    context, pos = divmod(place, n_ctx)
    first, last = max(0, pos - _BEFORE), min(n_ctx, pos + _AFTER + 1)
    same = corpus.documents[context, first:last] == corpus.documents[context, pos]
    first += int(same.argmax())  # not across documents: what was in another is no context
    last = first + int(same.sum())
    begin = context * n_ctx + first
    ends = torch.tensor([begin, begin + last - first])
    here = slice(*torch.searchsorted(places, ends).tolist())
    said = torch.zeros(last - first).scatter(0, places[here] - begin, values[here])
    ids = torch.from_numpy(corpus.ids[context, first:last].astype(np.int64))
    return Example(context, pos, first, ids, said)


def _occurrences(corpus: Corpus) -> Int[np.ndarray, " token"]:
    """How often each token stands in the text."""
    ids = np.asarray(corpus.ids)
    text = ids[np.asarray(corpus.documents) != PUT_IN]
    return np.bincount(text, minlength=int(ids.max()) + 1)


def _tokens(
    corpus: Corpus,
    occurs: Int[np.ndarray, " token"],
    places: Int[Tensor, " active"],
    values: Float[Tensor, " active"],
) -> tuple[tuple[int, int, float], ...]:
    """(token, how often active there, mean activation over all its occurrences)."""
    ids = np.asarray(corpus.ids).reshape(-1)
    at = torch.from_numpy(ids[places.numpy()].astype(np.int64))
    known, numbers, counts = at.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(known)).index_add(0, numbers, values)
    best = sums.argsort(descending=True)[:_TOKENS]
    rows = [(int(known[i]), int(counts[i]), float(sums[i]) / int(occurs[known[i]])) for i in best]
    return tuple(sorted(rows, key=lambda row: -row[2]))

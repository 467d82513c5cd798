"""Attention patterns and what heads do: scores by head, as pure functions of tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from workbench.cache import Capture, Progress, Store, capture, stream
from workbench.corpus import Corpus
from workbench.errors import InputError
from workbench.models import Model
from workbench.sites import Head

Pattern = Float[Tensor, "batch head query key"]
Ids = Int[Tensor, "batch pos"]
Real = Bool[Tensor, "batch pos"]
Score = Callable[[Pattern, Ids, Real], Float[Tensor, "batch head query"]]


def induction(pattern: Pattern, ids: Ids, real: Real) -> Float[Tensor, "batch head query"]:
    """Attention to tokens that followed an earlier occurrence of the present token.

    At queries that have such a token, NaN at others; on random tokens repeated its mean is
    Olsson et al.'s (2022) prefix-matching score.
    """
    same = _earlier_same(ids, real)
    after = torch.zeros_like(same)
    after[..., 1:] = same[..., :-1]
    causal = torch.ones_like(same[0]).tril()
    return _mass(pattern, after & causal)


def previous_token(pattern: Pattern, ids: Ids, real: Real) -> Float[Tensor, "batch head query"]:
    """Attention from each token to the one before it; NaN at a prompt's first token."""
    before = torch.nn.functional.pad(pattern.diagonal(offset=-1, dim1=-2, dim2=-1), (1, 0))
    return _later(before, real)


def duplicate_token(pattern: Pattern, ids: Ids, real: Real) -> Float[Tensor, "batch head query"]:
    """Attention to earlier occurrences of the present token, NaN where there are none.

    Wang et al. 2022's duplicate-token heads.
    """
    return _mass(pattern, _earlier_same(ids, real))


def first_token(pattern: Pattern, ids: Ids, real: Real) -> Float[Tensor, "batch head query"]:
    """Attention to the prompt's first token from all later ones; NaN at the first."""
    first = repeat(real.int().argmax(dim=1), "b -> b h q 1", h=pattern.shape[1], q=ids.shape[1])
    return _later(pattern.gather(-1, first)[..., 0], real)


def itself(pattern: Pattern, ids: Ids, real: Real) -> Float[Tensor, "batch head query"]:
    """Attention of a token to itself; NaN at the first, which can do nothing else."""
    return _later(pattern.diagonal(dim1=-2, dim2=-1), real)


def entropy(pattern: Pattern, ids: Ids, real: Real) -> Float[Tensor, "batch head query"]:
    """Entropy of the attention in nats; 0 is one key, log(n) is all evenly."""
    return torch.special.entr(pattern).sum(-1).masked_fill(~real[:, None], torch.nan)


SCORES: Mapping[str, Score] = {
    "induction": induction,
    "previous token": previous_token,
    "duplicate token": duplicate_token,
    "first token": first_token,
    "self": itself,
    "entropy": entropy,
}
"""All head scores, query by query, by the name under which commands and pages show them."""


def head_score(
    name: str, pattern: Pattern, ids: Ids, mask: Real | None = None
) -> Float[Tensor, " head"]:
    """The mean of one score over all queries of all prompts that have one; NaN where none has.

    `mask` is True on real tokens.
    """
    if name not in SCORES:
        raise InputError(f"score {name!r} is not one of {', '.join(SCORES)}")
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
    return SCORES[name](pattern.float(), ids, real).nanmean(dim=(0, 2))


@dataclass(frozen=True)
class Patterns:
    """Attention of every head on a batch of prompts, with what it was read from."""

    weights: Float[Tensor, "layer batch head query key"]
    ids: Int[Tensor, "batch pos"]
    mask: Bool[Tensor, "batch pos"] | None
    capture: Capture

    def scores(self, name: str) -> Float[Tensor, "layer head"]:
        """One score of all heads."""
        return torch.stack([head_score(name, layer, self.ids, self.mask) for layer in self.weights])

    def of(self, head: Head) -> Float[Tensor, "batch query key"]:
        """The pattern of one head."""
        layers, _, heads = self.weights.shape[:3]
        if head.layer >= layers or head.head >= heads:
            raise InputError(
                f"head {head} is out of range: layers run from 0 to {layers - 1}, "
                f"heads from 0 to {heads - 1}"
            )
        return self.weights[head.layer, :, head.head]


def patterns(
    model: Model, ids: Ids, store: Store | None = None, *, mask: Real | None = None
) -> Patterns:
    """The attention of every head of `model` on a batch of prompts; NaN at padded queries."""
    taken = capture(model, ids, "*.pattern", store, mask=mask)
    return Patterns(
        torch.stack(list(taken.activations.values())),
        ids.to(model.device),
        None if mask is None else mask.to(model.device),
        taken,
    )


@dataclass(frozen=True)
class CorpusScores:
    """Head scores over a corpus: `mean` of all queries, `error` its standard error.

    By score name. The error is over contexts; NaN with fewer than two that have such queries.
    """

    mean: Mapping[str, Float[Tensor, "layer head"]]
    error: Mapping[str, Float[Tensor, "layer head"]]
    contexts: int


def corpus_scores(
    model: Model,
    corpus: Corpus,
    *,
    contexts: int | None = None,
    batch: int = 4,
    progress: Progress | None = None,
) -> CorpusScores:
    """Every score of every head, averaged over the first `contexts` of a corpus (all by default).

    Patterns pass through memory and are not kept. Each query counts once; BOS that packing put
    between documents counts as the token it is.
    """
    chosen = corpus if contexts is None else corpus.part(0, min(contexts, len(corpus)))
    sums: dict[str, list[Tensor]] = {name: [] for name in SCORES}
    counts: dict[str, list[Tensor]] = {name: [] for name in SCORES}
    for chunk in stream(model, chosen, "*.pattern", batch=batch, progress=progress):
        ids = chunk.ids.to(model.device)
        real = torch.ones_like(ids, dtype=torch.bool)
        for name, score in SCORES.items():
            layers = [score(w.float(), ids, real) for w in chunk.activations.values()]
            values = torch.stack(layers, dim=1)
            sums[name].append(values.nansum(-1).double().cpu())
            counts[name].append(values.isfinite().sum(-1).cpu())
    means, errors = {}, {}
    for name in SCORES:
        total, count = torch.cat(sums[name]), torch.cat(counts[name])
        means[name] = (total.sum(0) / count.sum(0)).float()
        errors[name] = _standard_error(total, count)
    return CorpusScores(means, errors, len(chosen))


def _standard_error(
    total: Float[Tensor, "context layer head"], count: Int[Tensor, "context layer head"]
) -> Float[Tensor, "layer head"]:
    """Of the ratio total / count over contexts drawn at random (the delta method)."""
    n = (count > 0).sum(0)
    residual = total - count * (total.sum(0) / count.sum(0))
    spread = (residual.square().sum(0) * n / (n - 1)).sqrt()
    return (spread / count.sum(0)).where(n > 1, torch.nan).float()


def value_weighted(
    pattern: Pattern, v: Float[Tensor, "batch pos kv_head d_head"]
) -> Float[Tensor, "batch head query key"]:
    """Attention times the norm of the value it moves (Kobayashi et al. 2020).

    In units of each head's largest value norm, so that it stays within 0..1: attention that
    rests on a token with a small value (often the first one) fades; 0 where all values are.
    """
    heads_per_value = pattern.shape[1] // v.shape[2]
    norms = repeat(v.float().norm(dim=-1), "b p kv -> b (kv group) p", group=heads_per_value)
    norms = norms.nan_to_num(nan=0)  # padding: no query looks at it
    largest = norms.amax(dim=-1, keepdim=True).clamp_min(torch.finfo(norms.dtype).tiny)
    return pattern * rearrange(norms / largest, "b h k -> b h 1 k")


def thumbnails(
    weights: Float[Tensor, "layer head query key"], *, side: int = 48, limit: float = 1.0
) -> UInt8[Tensor, "layer head side side"]:
    """Small pictures of patterns as bytes, 255 for `limit`; signed ones have 128 for 0.

    Pooled by the largest magnitude, not the mean: an induction stripe is one cell wide.
    """
    side = min(side, weights.shape[-1])
    most = torch.nn.functional.adaptive_max_pool2d(weights.float(), side)
    least = -torch.nn.functional.adaptive_max_pool2d(-weights.float(), side)
    signed = bool((weights < 0).any())
    pooled = torch.where(most >= -least, most, least) if signed else most
    scaled = (pooled / limit).clamp(-1, 1)
    return (scaled * 127 + 128 if signed else scaled * 255).round().to(torch.uint8).cpu()


def repeated_random(
    model: Model, *, length: int = 50, batch: int = 4, seed: int = 0
) -> Int[Tensor, "batch pos"]:
    """Random tokens, repeated once, behind BOS where there is one: the induction test.

    No token occurs twice within a block, so that each has one earlier occurrence. Blocks
    shrink to what vocabulary and context hold. Special tokens are not drawn.
    """
    bos = model.vocabulary.bos_id
    allowed = _drawable(model)
    room = (model.architecture.n_ctx - (bos is not None)) // 2
    length = min(length, len(allowed), room)
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.stack(
        [allowed[torch.randperm(len(allowed), generator=generator)[:length]] for _ in range(batch)]
    )
    tokens = torch.cat([blocks, blocks], dim=1)
    if bos is not None:
        tokens = torch.cat([torch.full((batch, 1), bos), tokens], dim=1)
    return tokens.to(model.device)


def _drawable(model: Model) -> Int[Tensor, " token"]:
    size = min(model.architecture.d_vocab, model.vocabulary.size)
    special = set(model.vocabulary.special_ids)
    return torch.tensor([token for token in range(size) if token not in special])


def _earlier_same(ids: Ids, real: Real) -> Bool[Tensor, "batch query key"]:
    """Whether the key is the same token at an earlier position."""
    same = rearrange(ids, "b q -> b q 1") == rearrange(ids, "b k -> b 1 k")
    return same.tril(diagonal=-1) & rearrange(real, "b k -> b 1 k")


def _mass(
    pattern: Pattern, where: Bool[Tensor, "batch query key"]
) -> Float[Tensor, "batch head query"]:
    """Attention on the marked keys; NaN at queries that have none."""
    marked = rearrange(where, "b q k -> b 1 q k")
    return (pattern * marked).sum(-1).masked_fill(~marked.any(-1), torch.nan)


def _later(
    values: Float[Tensor, "batch head query"], real: Real
) -> Float[Tensor, "batch head query"]:
    """NaN at padding and at each prompt's first token."""
    later = real & (real.int().cumsum(dim=1) > 1)
    return values.masked_fill(~later[:, None], torch.nan)

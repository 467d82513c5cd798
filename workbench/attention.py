"""Attention patterns and what heads do: scores by head, as pure functions of tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from workbench.cache import Capture, Store, capture
from workbench.errors import InputError
from workbench.models import Model
from workbench.sites import Head

Pattern = Float[Tensor, "batch head query key"]
Ids = Int[Tensor, "batch pos"]
Score = Callable[[Pattern, Ids], Float[Tensor, " head"]]


def induction_score(pattern: Pattern, ids: Ids) -> Float[Tensor, " head"]:
    """Mean attention to tokens that followed an earlier occurrence of the present token.

    Over queries that have such a token; on random tokens repeated this is Olsson et al.'s
    (2022) prefix-matching score. NaN where no token occurs twice.
    """
    same = _earlier_same(ids)
    after = torch.zeros_like(same)
    after[..., 1:] = same[..., :-1]
    causal = torch.ones_like(same[0]).tril()
    return _mass(pattern, after & causal)


def previous_token_score(pattern: Pattern, ids: Ids) -> Float[Tensor, " head"]:
    """Mean attention from each token to the one before it; NaN for a single token."""
    return pattern.diagonal(offset=-1, dim1=-2, dim2=-1).mean(dim=(0, -1))


def duplicate_token_score(pattern: Pattern, ids: Ids) -> Float[Tensor, " head"]:
    """Mean attention to earlier occurrences of the present token, over queries that have one.

    NaN where no token occurs twice (Wang et al. 2022's duplicate-token heads).
    """
    return _mass(pattern, _earlier_same(ids))


def first_token_score(pattern: Pattern, ids: Ids) -> Float[Tensor, " head"]:
    """Mean attention to position 0 from all later positions; NaN for a single token."""
    return pattern[:, :, 1:, 0].mean(dim=(0, -1))


def self_score(pattern: Pattern, ids: Ids) -> Float[Tensor, " head"]:
    """Mean attention of a token to itself, position 0 left out (it can do nothing else)."""
    return pattern.diagonal(dim1=-2, dim2=-1)[..., 1:].mean(dim=(0, -1))


def entropy(pattern: Pattern, ids: Ids) -> Float[Tensor, " head"]:
    """Mean entropy of the attention over queries, in nats; 0 is one key, log(n) is all evenly."""
    return torch.special.entr(pattern).sum(-1).mean(dim=(0, -1))


SCORES: Mapping[str, Score] = {
    "induction": induction_score,
    "previous token": previous_token_score,
    "duplicate token": duplicate_token_score,
    "first token": first_token_score,
    "self": self_score,
    "entropy": entropy,
}
"""All head scores by the name under which commands and pages show them."""


@dataclass(frozen=True)
class Patterns:
    """Attention of every head on a batch of prompts, with what it was read from."""

    weights: Float[Tensor, "layer batch head query key"]
    ids: Int[Tensor, "batch pos"]
    capture: Capture

    def scores(self, name: str) -> Float[Tensor, "layer head"]:
        """One score of all heads."""
        if name not in SCORES:
            raise InputError(f"score {name!r} is not one of {', '.join(SCORES)}")
        return torch.stack([SCORES[name](layer.float(), self.ids) for layer in self.weights])

    def of(self, head: Head) -> Float[Tensor, "batch query key"]:
        """The pattern of one head."""
        layers, _, heads = self.weights.shape[:3]
        if head.layer >= layers or head.head >= heads:
            raise InputError(
                f"head {head} is out of range: layers run from 0 to {layers - 1}, "
                f"heads from 0 to {heads - 1}"
            )
        return self.weights[head.layer, :, head.head]


def patterns(model: Model, ids: Ids, store: Store | None = None) -> Patterns:
    """The attention of every head of `model` on prompts of one length."""
    taken = capture(model, ids, "*.pattern", store)
    return Patterns(torch.stack(list(taken.activations.values())), ids.to(model.device), taken)


def value_weighted(
    pattern: Pattern, v: Float[Tensor, "batch pos kv_head d_head"]
) -> Float[Tensor, "batch head query key"]:
    """Attention times the norm of the value it moves (Kobayashi et al. 2020).

    In units of each head's largest value norm, so that it stays within 0..1: attention that
    rests on a token with a small value (often the first one) fades; 0 where all values are.
    """
    heads_per_value = pattern.shape[1] // v.shape[2]
    norms = repeat(v.float().norm(dim=-1), "b p kv -> b (kv group) p", group=heads_per_value)
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


def _earlier_same(ids: Ids) -> Bool[Tensor, "batch query key"]:
    """Whether the key is the same token at an earlier position."""
    same = rearrange(ids, "b q -> b q 1") == rearrange(ids, "b k -> b 1 k")
    return same.tril(diagonal=-1)


def _mass(pattern: Pattern, where: Bool[Tensor, "batch query key"]) -> Float[Tensor, " head"]:
    """Mean attention on the marked keys, over queries that have any; NaN where none has."""
    mass = (pattern * rearrange(where, "b q k -> b 1 q k")).sum(-1)
    queries = where.any(-1)
    return (mass * rearrange(queries, "b q -> b 1 q")).sum(dim=(0, 2)) / queries.sum()

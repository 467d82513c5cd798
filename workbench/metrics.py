"""Numbers from logits: loss by token, perplexity, logit difference, top tokens. Pure functions."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.errors import InputError


def token_loss(
    logits: Float[Tensor, "batch pos d_vocab"],
    ids: Int[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch pos"] | None = None,
) -> Float[Tensor, "batch pos-1"]:
    """How surprised each position was by the token after it, in nats.

    Column i is the loss at position i on token i + 1; NaN where either of them is padding.
    """
    told, after = logits[:, :-1].float(), ids[:, 1:, None].long()
    losses = told.logsumexp(-1) - told.gather(-1, after)[..., 0]
    return losses if mask is None else losses.masked_fill(~_pairs(mask), torch.nan)


def mean_loss(
    logits: Float[Tensor, "batch pos d_vocab"],
    ids: Int[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch pos"] | None = None,
) -> Float[Tensor, ""]:
    """Mean loss over all predicted tokens of all prompts, in nats; each token counts the same.

    Raises `InputError` where no prompt has a second token.
    """
    losses = token_loss(logits, ids, mask)
    counted = losses if mask is None else losses[_pairs(mask)]
    if counted.numel() == 0:
        raise InputError("no token follows another in these prompts; a loss needs two tokens")
    return counted.mean()


def perplexity(
    logits: Float[Tensor, "batch pos d_vocab"],
    ids: Int[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch pos"] | None = None,
) -> Float[Tensor, ""]:
    """e to the mean loss: among how many equally likely tokens the model hesitates."""
    return mean_loss(logits, ids, mask).exp()


def logit_difference(
    logits: Float[Tensor, "*batch d_vocab"],
    answer: Int[Tensor, "*batch"],
    wrong: Int[Tensor, "*batch"],
) -> Float[Tensor, "*batch"]:
    """How far the logit of `answer` stands above that of `wrong` (Wang et al. 2022)."""
    chosen = logits.gather(-1, torch.stack([answer, wrong], dim=-1).long())
    return chosen[..., 0] - chosen[..., 1]


def kl_divergence(
    log_p: Float[Tensor, "*batch d_vocab"], log_q: Float[Tensor, "*batch d_vocab"]
) -> Float[Tensor, "*batch"]:
    """KL(p || q) in nats, from log-probabilities; NaN of NaN.

    A token that p cannot say (-inf) counts 0, one that only q cannot say makes it infinite.
    """
    terms = log_p.exp() * (log_p - log_q)
    return torch.where(log_p == -torch.inf, 0, terms).sum(-1).clamp_min(0)


def auroc(scores: Float[Tensor, " n"], true: Bool[Tensor, " n"]) -> float:
    """How often a true one scores above a false one; ties count half (Mann and Whitney 1947).

    Raises `InputError` where all are true, or all are false.
    """
    n_true, n_false = int(true.sum()), int((~true).sum())
    if not n_true or not n_false:
        raise InputError(f"{n_true} true and {n_false} false: an AUROC needs both")
    _, inverse, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = counts.cumsum(0) - (counts - 1) / 2  # the mean rank of those that are equal
    risen = ranks.double()[inverse][true].sum() - n_true * (n_true + 1) / 2
    return float(risen / (n_true * n_false))


@dataclass(frozen=True, eq=False)
class TopTokens:
    """The likeliest tokens in order, with their probabilities in the whole vocabulary."""

    ids: Int[Tensor, " rank"]
    logits: Float[Tensor, " rank"]
    probabilities: Float[Tensor, " rank"]


def top_tokens(logits: Float[Tensor, " d_vocab"], n: int) -> TopTokens:
    """The `n` likeliest next tokens; all there are where the vocabulary is smaller."""
    values, ids = logits.float().topk(min(n, len(logits)))
    return TopTokens(ids, values, (values - logits.float().logsumexp(-1)).exp())


def _pairs(mask: Bool[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos-1"]:
    """Whether a position and the one after it are both real."""
    return mask[:, :-1] & mask[:, 1:]

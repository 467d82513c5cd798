"""Numbers from logits: loss by token, perplexity, logit difference. Pure functions."""

import torch
from einops import rearrange
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
    losses = torch.nn.functional.cross_entropy(
        rearrange(logits[:, :-1].float(), "batch pos vocab -> batch vocab pos"),
        ids[:, 1:].long(),
        reduction="none",
    )
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


def _pairs(mask: Bool[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos-1"]:
    """Whether a position and the one after it are both real."""
    return mask[:, :-1] & mask[:, 1:]

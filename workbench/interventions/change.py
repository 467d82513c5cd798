"""What edits change: the next-token distributions with and without them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.hooks import Edit, run, sites
from workbench.models import Model
from workbench.sites import Site, expand


@dataclass(frozen=True, eq=False)
class Change:
    """Logits before and after, and how far each edit moved its site (as the receipt says).

    `kl` is KL(before || after) in nats; it and the logits are NaN at padding.
    """

    before: Float[Tensor, "batch pos d_vocab"]
    after: Float[Tensor, "batch pos d_vocab"]
    kl: Float[Tensor, "batch pos"]
    moved: tuple[tuple[Site, float], ...]

    @property
    def mean_kl(self) -> float:
        """Over all real positions, each counting the same."""
        return float(self.kl.nanmean())

    @property
    def unmoved(self) -> tuple[Site, ...]:
        """Where an edit changed nothing: the activation was already what was put in."""
        return tuple(site for site, far in self.moved if far == 0)


def changed(
    model: Model,
    tokens: Int[Tensor, "batch pos"],
    edit: Edit | Sequence[Edit],
    *,
    mask: Bool[Tensor, "batch pos"] | None = None,
) -> Change:
    """Run prompts without and with edits. `mask` is True on real tokens."""
    edits = (edit,) if isinstance(edit, Edit) else tuple(edit)
    places = [place for one in edits for place in expand(one.site, sites(model))]
    after, before = (run(model, tokens, edit=some, mask=mask) for some in (edits, ()))
    assert before.logits is not None and after.logits is not None, "nothing was read"
    return Change(
        before.logits,
        after.logits,
        kl(before.logits, after.logits),
        tuple(zip(places, after.receipt.moved, strict=True)),
    )


def kl(
    logits: Float[Tensor, "*batch d_vocab"], other: Float[Tensor, "*batch d_vocab"]
) -> Float[Tensor, "*batch"]:
    """KL(p || q) in nats, of the distribution of `logits` from that of `other`; NaN of NaN.

    A token that p cannot say (logit -inf) counts 0, one that only q cannot say makes it infinite.
    """
    log_p, log_q = (x.float().log_softmax(-1) for x in (logits, other))
    terms = log_p.exp() * (log_p - log_q)
    return torch.where(log_p == -torch.inf, 0, terms).sum(-1)

"""How far the logit lens and a tuned lens are from the output, on text apart from training."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from workbench.corpus import Corpus
from workbench.lens.logit import row_labels
from workbench.lens.rows import SHARE, Parts, rows
from workbench.lens.tuned import TunedLens
from workbench.metrics import kl_divergence
from workbench.models import Model

_POSITIONS = 512


@dataclass(frozen=True)
class Comparison:
    """KL(final || lens) in nats: each context's mean over the positions that were drawn from it.

    `positions` is their number over all contexts. Positions of one context are alike, so errors
    are those of the mean over contexts.
    """

    logit: Float[Tensor, "layer context"]
    tuned: Float[Tensor, "layer context"]
    positions: int

    @property
    def layers(self) -> list[str]:
        """Row labels: `embed`, `L0`, `L1`, ..."""
        return row_labels(len(self.logit))

    @property
    def gap(self) -> Float[Tensor, "layer context"]:
        """How much further away the tuned lens is; below 0 where it is nearer."""
        return self.tuned - self.logit

    @property
    def nearer(self) -> Bool[Tensor, " layer"]:
        """Rows in which the tuned lens is the nearer one, by two standard errors or more."""
        return self.gap.mean(1) + 2 * standard_error(self.gap) < 0


def standard_error(values: Float[Tensor, "layer context"]) -> Float[Tensor, " layer"]:
    """Of the mean over contexts; NaN for a single one."""
    n_contexts = values.shape[1]
    if n_contexts == 1:
        return torch.full_like(values[:, 0], torch.nan)
    return values.std(1) / n_contexts**0.5


@torch.no_grad()
def compare(model: Model, tuned: TunedLens, corpus: Corpus, *, seed: int = 0) -> Comparison:
    """Both lenses on positions of every context, drawn with `seed`: an eighth of them.

    Of a small corpus more, so that there are 512 where it has them.
    """
    logit_kl, tuned_kl, positions = [], [], 0
    share = max(SHARE, min(1.0, _POSITIONS / corpus.n_tokens))
    for batch in rows(model, corpus, batch=8, share=share, seed=seed):
        shape = batch.shape[1:3]
        positions += shape.numel()
        final = model.unembed(batch[-1]).float().log_softmax(-1)
        found = torch.empty(2, len(batch), len(batch[0]))
        for row, resid in enumerate(batch):
            for lens, unembed in enumerate((model.unembed, tuned[row])):
                log_probs = unembed(resid).float().log_softmax(-1)
                found[lens, row] = kl_divergence(final, log_probs).mean(1)
        logit_kl.append(found[0])
        tuned_kl.append(found[1])
    return Comparison(torch.cat(logit_kl, 1), torch.cat(tuned_kl, 1), positions)


def settled(
    model: Model, tuned: TunedLens, parts: Parts, *, seed: int = 0
) -> tuple[TunedLens, Comparison]:
    """The lens to keep, and what it is worth on held-out text.

    A row that the validation part does not show to be `nearer` to the output than the logit
    lens goes back to it (`TunedLens.identities`); the held-out part has no say in that.
    """
    nearer = compare(model, tuned, parts.validation, seed=seed).nearer[:-1]
    kept = tuned.with_identity((~nearer).nonzero()[:, 0].tolist())
    return kept, compare(model, kept, parts.held_out, seed=seed)

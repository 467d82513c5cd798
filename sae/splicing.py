"""What a model still predicts when a reconstruction stands in for its activations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae.evaluation import Reconstruct
from workbench.cache import Progress
from workbench.corpus import PUT_IN, Corpus
from workbench.errors import InputError
from workbench.hooks import Edit, Start, run
from workbench.models import Model
from workbench.patching.statistics import Interval, normalised
from workbench.sites import Site


@dataclass(frozen=True, eq=False)
class Spliced:
    """Summed losses, and KL from the clean run, of each context, in nats; and tokens counted.

    `losses` and `kl` have a row for each reconstruction, by name; "clean" is the model's own.
    """

    n_tokens: Float[Tensor, " context"]
    losses: Mapping[str, Float[Tensor, " context"]]
    kl: Mapping[str, Float[Tensor, " context"]]

    def mean(self, name: str) -> float:
        """The loss, in nats a token."""
        return float(self.losses[name].sum() / self.n_tokens.sum())

    def mean_kl(self, name: str) -> float:
        return float(self.kl[name].sum() / self.n_tokens.sum())

    def recovered(self, name: str, against: str) -> Interval:
        """Where the loss stands from the ablated (0) to the clean (1), with an interval.

        By bootstrap over contexts.
        """
        losses = self.losses
        return normalised(losses[name], losses["clean"], losses[against])


def spliced(
    model: Model,
    corpus: Corpus,
    site: Site,
    stand_ins: Mapping[str, Reconstruct],
    counted: Bool[np.ndarray, "context pos"],
    *,
    reads: tuple[Site, ...] = (),
    limit: float = float("inf"),
    batch: int = 8,
    progress: Progress | None = None,
) -> Spliced:
    """Run the contexts with a `counted` position; a token counts where it is one.

    What stands in is made of what the clean run has at `reads` (by default at `site` itself). It
    replaces all rows of text but those longer than `limit`: never BOS or padding, and no attention
    sink. Raises `InputError` where nothing is counted.
    """
    where = np.flatnonzero(counted[:, 1:].any(1))
    if not len(where):
        raise InputError(f"no token of {corpus.name} is held out, so no loss can be told")
    sums: dict[str, list[Tensor]] = {name: [] for name in ("clean", *stand_ins)}
    apart: dict[str, list[Tensor]] = {name: [] for name in stand_ins}
    numbers = []
    for first in range(0, len(where), batch):
        some = where[first : first + batch]
        ids = torch.from_numpy(corpus.ids[some].astype(np.int64)).to(model.device)
        text = torch.from_numpy(corpus.documents[some] != PUT_IN).to(model.device)
        asked = _asked(ids, torch.from_numpy(counted[some][:, 1:]).to(model.device))
        numbers.append(asked.taken.sum(1).float().cpu())
        every = list(dict.fromkeys([site, *reads]))
        clean = run(model, ids, read=every, logits_at=asked.columns, stop="never")
        read = torch.cat([clean.activations[one].float() for one in reads or (site,)], -1)
        known = _known(asked.kept(clean.logits))
        sums["clean"].append(asked.summed(_losses(known.logits, known.total, asked.tokens)))
        for name, made in stand_ins.items():
            replace = _standing_in(made, read, text, limit)
            found = _replaced(model, ids, site, clean.activations[site], replace, asked.columns)
            logits = asked.kept(found)
            total = logits.logsumexp(-1)
            sums[name].append(asked.summed(_losses(logits, total, asked.tokens)))
            apart[name].append(asked.summed(_divergence(known, logits, total)))
        if progress is not None:
            progress(min(first + batch, len(where)), len(where))
    return Spliced(
        torch.cat(numbers),
        {name: torch.cat(parts) for name, parts in sums.items()},
        {name: torch.cat(parts) for name, parts in apart.items()},
    )


@dataclass(frozen=True, eq=False)
class _Asked:
    """Which logits of a batch count: only these are computed.

    `columns` has as many for each row, those beyond a row's own being its first position; `taken`
    says which are its own, and `tokens` what comes after each of these.
    """

    columns: Int[Tensor, "batch most"]
    taken: Bool[Tensor, "batch most"]
    tokens: Int[Tensor, " counted"]

    def kept(self, logits: Float[Tensor, "batch most vocab"] | None) -> Float[Tensor, "_ vocab"]:
        """One row for each counted token."""
        assert logits is not None, "this run goes on to the logits"
        return logits[self.taken].float()

    def summed(self, values: Float[Tensor, " counted"]) -> Float[Tensor, " batch"]:
        """By context. Raises `InputError` for a run that ended in something else than numbers."""
        if not bool(values.isfinite().all()):
            raise InputError("a run gives logits that are not finite; load the model in float32")
        spread = torch.zeros_like(self.taken, dtype=values.dtype)
        return spread.masked_scatter(self.taken, values).sum(1).cpu()


def _asked(ids: Int[Tensor, "batch pos"], after: Bool[Tensor, "batch pos-1"]) -> _Asked:
    most = int(after.sum(1).max())
    columns = after.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    taken = after.gather(1, columns)
    return _Asked(columns.where(taken, 0), taken, ids[:, 1:].gather(1, columns)[taken])


@dataclass(frozen=True, eq=False)
class _Known:
    """The clean run's logits, their logsumexp, and the probabilities that they give."""

    logits: Float[Tensor, "counted vocab"]
    total: Float[Tensor, " counted"]
    shares: Float[Tensor, "counted vocab"]


def _known(logits: Float[Tensor, "counted vocab"]) -> _Known:
    total = logits.logsumexp(-1)
    return _Known(logits, total, (logits - total[:, None]).exp_())


def _losses(
    logits: Float[Tensor, "counted vocab"],
    total: Float[Tensor, " counted"],
    tokens: Int[Tensor, " counted"],
) -> Float[Tensor, " counted"]:
    return total - logits.gather(1, tokens[:, None])[:, 0]


def _divergence(
    known: _Known, logits: Float[Tensor, "counted vocab"], total: Float[Tensor, " counted"]
) -> Float[Tensor, " counted"]:
    """KL from the clean run; what `logits` held is gone."""
    moved = torch.linalg.vecdot(known.shares, logits.sub_(known.logits))
    return (total - known.total - moved).clamp_min(0)


def _standing_in(
    made: Reconstruct,
    read: Float[Tensor, "batch pos d_in"],
    text: Bool[Tensor, "batch pos"],
    limit: float,
):
    def edit(found: Float[Tensor, "batch pos d"]) -> Float[Tensor, "batch pos d"]:
        replaced = text & (found.float().norm(dim=-1) <= limit)
        found[replaced] = made(read[replaced]).to(found.dtype)
        return found

    return edit


def _replaced(
    model: Model,
    ids: Int[Tensor, "batch pos"],
    site: Site,
    found: Float[Tensor, "batch pos d"],
    replace: Callable[[Tensor], Tensor],
    columns: Int[Tensor, "batch most"],
) -> Float[Tensor, "batch most vocab"] | None:
    """The logits with the activations at `site` replaced; blocks below it are not run again."""
    layer = {"resid_pre": site.layer, "resid_post": (site.layer or 0) + 1}.get(site.name)
    if layer is not None and layer < model.architecture.n_layers:
        start = Start(layer, replace(found.clone()))
        return run(model, ids, start=start, logits_at=columns).logits
    return run(model, ids, edit=Edit(site, replace), logits_at=columns).logits

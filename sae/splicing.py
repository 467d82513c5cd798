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
from workbench.metrics import kl_divergence, token_loss
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
    limit: float = float("inf"),
    batch: int = 8,
    progress: Progress | None = None,
) -> Spliced:
    """Run the contexts with a `counted` position; a token counts where it is one.

    What stands in replaces all rows of text but those longer than `limit`: never BOS or padding,
    and no attention sink. Raises `InputError` where nothing is counted.
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
        taken = torch.from_numpy(counted[some][:, 1:]).to(model.device)
        numbers.append(taken.sum(1).float().cpu())
        clean = run(model, ids, read=site, stop="never")
        known = _finite(clean.logits).float().log_softmax(-1)
        sums["clean"].append(_summed(token_loss(_finite(clean.logits), ids), taken))
        for name, made in stand_ins.items():
            replace = _standing_in(made, text, limit)
            logits = _replaced(model, ids, site, clean.activations[site], replace)
            sums[name].append(_summed(token_loss(logits, ids), taken))
            kl = kl_divergence(known, logits.float().log_softmax(-1))
            apart[name].append(_summed(kl[:, :-1], taken))
        if progress is not None:
            progress(min(first + batch, len(where)), len(where))
    return Spliced(
        torch.cat(numbers),
        {name: torch.cat(parts) for name, parts in sums.items()},
        {name: torch.cat(parts) for name, parts in apart.items()},
    )


def _standing_in(made: Reconstruct, text: Bool[Tensor, "batch pos"], limit: float):
    def edit(found: Float[Tensor, "batch pos d"]) -> Float[Tensor, "batch pos d"]:
        rows = found.float()
        replaced = text & (rows.norm(dim=-1) <= limit)
        found[replaced] = made(rows[replaced]).to(found.dtype)
        return found

    return edit


def _replaced(
    model: Model,
    ids: Int[Tensor, "batch pos"],
    site: Site,
    found: Float[Tensor, "batch pos d"],
    replace: Callable[[Tensor], Tensor],
) -> Float[Tensor, "batch pos vocab"]:
    """The logits with the activations at `site` replaced; blocks below it are not run again."""
    layer = {"resid_pre": site.layer, "resid_post": (site.layer or 0) + 1}.get(site.name)
    if layer is not None and layer < model.architecture.n_layers:
        return _finite(run(model, ids, start=Start(layer, replace(found.clone()))).logits)
    return _finite(run(model, ids, edit=Edit(site, replace)).logits)


def _finite(logits: Tensor | None) -> Tensor:
    """Raises `InputError` for a run that ended in something else than numbers."""
    if logits is None or not bool(logits.isfinite().all()):
        raise InputError("a run gives logits that are not finite; load the model in float32")
    return logits


def _summed(values: Float[Tensor, "b pos"], taken: Bool[Tensor, "b pos"]) -> Float[Tensor, " b"]:
    return (values.float() * taken).sum(1).cpu()

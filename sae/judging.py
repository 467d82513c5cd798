"""Everything a dictionary is judged by, beside what it has to beat."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae.baselines import components, random_dictionary, untrained
from sae.dictionary import SAE
from sae.evaluation import Fit, Reconstruct, Use, fit, use
from sae.recipe import Recipe
from sae.samples import SINK, Samples, read_rows
from sae.splicing import Spliced, spliced
from workbench.cache import Harvest, Progress
from workbench.errors import InputError
from workbench.models import Model

_USE_ROWS = 200_000


@dataclass(frozen=True, eq=False)
class Judgement:
    """Fits on held-out rows and losses on held-out text, by name: "SAE" and its rivals.

    `use` is over the first rows of the corpus, up to 200,000. In `spliced` "mean" and "zero" are
    ablations.
    """

    fits: Mapping[str, Fit]
    use: Use
    spliced: Spliced


def judge(
    sae: SAE,
    samples: Samples,
    model: Model,
    *,
    rivals: bool = True,
    contexts: int | None = 200,
    progress: Progress | None = None,
) -> Judgement:
    """Judge a dictionary on the held-out documents of `samples`; rivals have its L0.

    Losses are told on `contexts` of them (None: all). Raises `InputError` where the dictionary is
    of another site.
    """
    harvest = samples.harvest
    if sae.site != harvest.site:
        raise InputError(
            f"this SAE is of {sae.site}, the activations are of {harvest.site}; give its own"
        )
    if not samples.held_out.any():
        raise InputError(f"no document of {harvest.corpus.name} is held out to judge by")
    mean = _mean(harvest, samples.held_out)
    used = use(sae, _first(harvest, samples, _USE_ROWS))
    made: dict[str, Reconstruct] = {"SAE": sae}
    if rivals:
        made |= _rivals(samples, max(1, round(used.l0)), sae.n_latents)
    fits = {
        name: fit(read_rows(harvest, samples.held_out), mean, one) for name, one in made.items()
    }
    ablated: dict[str, Reconstruct] = {
        "mean": lambda x: samples.mean.expand_as(x),
        "zero": torch.zeros_like,
    }
    told = spliced(
        model,
        harvest.corpus,
        harvest.site,
        made | ablated,
        _some(samples.held_out, contexts),
        limit=SINK * samples.median,
        progress=progress,
    )
    return Judgement(fits, used, told)


def _rivals(samples: Samples, k: int, width: int) -> dict[str, Reconstruct]:
    found = components(read_rows(samples.harvest, samples.train))
    recipe = replace(Recipe(), kind="topk", width=width, k=min(k, width))
    return {
        f"PCA, first {k}": found.first(k),
        f"PCA, largest {k}": found.largest(k),
        "random dictionary": random_dictionary(recipe, samples.mean),
        "untrained SAE": untrained(recipe, samples.mean),
    }


def _some(
    held_out: Bool[np.ndarray, "context pos"], contexts: int | None
) -> Bool[np.ndarray, "context pos"]:
    """Only what lies in that many contexts, spread evenly."""
    where = np.flatnonzero(held_out[:, 1:].any(1))
    if contexts is None or len(where) <= contexts:
        return held_out
    kept = np.zeros_like(held_out)
    chosen = where[np.linspace(0, len(where) - 1, contexts).round().astype(int)]
    kept[chosen] = held_out[chosen]
    return kept


def _first(harvest: Harvest, samples: Samples, n: int) -> Iterator[Float[Tensor, "row d"]]:
    for rows in read_rows(harvest, samples.train | samples.held_out):
        yield rows[:n]
        n -= len(rows)
        if n <= 0:
            return


def _mean(harvest: Harvest, kept: Bool[np.ndarray, "context pos"]) -> Float[Tensor, " d"]:
    total, n = torch.zeros(harvest.shape[2], dtype=torch.double), 0
    for rows in read_rows(harvest, kept):
        total, n = total + rows.double().sum(0), n + len(rows)
    return (total / n).float()

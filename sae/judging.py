"""Everything a dictionary is judged by, beside what it has to beat."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae.baselines import components, linear, random_dictionary, untrained
from sae.dictionary import SAE
from sae.evaluation import Fit, Reconstruct, Use, fit, use
from sae.joined import Joined, moments, read_rows
from sae.recipe import Recipe
from sae.samples import SINK, Samples
from sae.slopes import Rows
from sae.splicing import Spliced, spliced
from workbench.cache import Progress
from workbench.errors import InputError
from workbench.models import Model
from workbench.sites import Site

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
    at: Site | None = None,
    progress: Progress | None = None,
) -> Judgement:
    """Judge a dictionary on the held-out documents of `samples`, where it writes.

    Of the sites at which a crosscoder writes, `at` chooses one. Rivals have its L0; that of a
    transcoder is a linear map. Losses are told on `contexts` (None: all held out). Raises
    `InputError` where the dictionary reads or writes elsewhere than `samples`.
    """
    _check(sae, samples)
    site = sae.writes[0] if at is None else at
    if site not in sae.writes:
        raise InputError(f"{sae.name} does not write at {site}")
    here = _part(samples, site)
    mean = _pick(moments(samples.wanted.rows, samples.held_out)[0], here)
    used = use(sae, _first(samples.harvest, samples, _USE_ROWS))
    made: dict[str, Reconstruct] = {"SAE": lambda x: _pick(sae(x), here)}
    if rivals and samples.transcodes:
        made["linear map"] = linear(_rows(samples, samples.train, here))
    elif rivals:
        made |= _rivals(samples, max(1, round(used.l0)), sae.n_latents, here)
    fits = {
        name: fit(_rows(samples, samples.held_out, here), mean, one) for name, one in made.items()
    }
    trained = _pick(samples.wanted.mean, here)
    ablated: dict[str, Reconstruct] = {
        "mean": lambda x: trained.expand(len(x), -1),
        "zero": lambda x: torch.zeros_like(trained).expand(len(x), -1),
    }
    told = spliced(
        model,
        samples.harvest.corpus,
        site,
        made | ablated,
        _some(samples.held_out, contexts),
        reads=sae.reads,
        limit=SINK * samples.medians[site],
        progress=progress,
    )
    return Judgement(fits, used, told)


def _check(sae: SAE, samples: Samples) -> None:
    found = tuple(dict.fromkeys([*samples.harvest.sites, *samples.wanted.rows.sites]))
    if found != tuple(dict.fromkeys([*sae.reads, *sae.writes])):
        raise InputError(
            f"this is {sae.name}, the activations are of {', '.join(map(str, found))}; give its own"
        )
    if not samples.held_out.any():
        raise InputError(f"no document of {samples.harvest.corpus.name} is held out to judge by")


def _part(samples: Samples, site: Site) -> slice:
    """Where a site's numbers lie in what is written."""
    rows = samples.wanted.rows
    number = rows.sites.index(site)
    first = sum(rows.widths[:number])
    return slice(first, first + rows.widths[number])


def _pick(rows: Float[Tensor, "*row d"], here: slice) -> Float[Tensor, "*row part"]:
    return rows[..., here]


def _rows(samples: Samples, kept: Bool[np.ndarray, "context pos"], here: slice) -> Iterator[Rows]:
    """What is read, and what should come out at one site."""
    read = read_rows(samples.harvest, kept)
    wanted = read_rows(samples.wanted.rows, kept) if samples.transcodes else None
    for x in read:
        yield Rows(x, _pick(x if wanted is None else next(wanted), here))


def _rivals(samples: Samples, k: int, width: int, here: slice) -> dict[str, Reconstruct]:
    """Of rows scaled as in training, so that of several sites none is louder."""
    factors = samples.read.factors
    mean = samples.mean * factors
    found = components(rows * factors for rows in read_rows(samples.harvest, samples.train))
    recipe = Recipe("topk", width, min(k, width))
    plain: dict[str, Reconstruct] = {
        f"PCA, first {k}": found.first(k),
        f"PCA, largest {k}": found.largest(k),
        "random dictionary": random_dictionary(recipe, mean),
        "untrained SAE": untrained(recipe, samples.harvest.sites[0], mean),
    }
    return {name: _unscaled(made, factors, here) for name, made in plain.items()}


def _unscaled(made: Reconstruct, factors: Float[Tensor, " d"], here: slice) -> Reconstruct:
    return lambda x: _pick(made(x * factors) / factors, here)


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


def _first(harvest: Joined, samples: Samples, n: int) -> Iterator[Float[Tensor, "row d"]]:
    for rows in read_rows(harvest, samples.train | samples.held_out):
        yield rows[:n]
        n -= len(rows)
        if n <= 0:
            return

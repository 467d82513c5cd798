"""A concept taken out of a running model: what is left to read, and what it costs the output.

The erasure is LEACE (`probes.erasure`). Beside it stand random directions, as many as it takes
out: removing any few of hundreds changes little, and only the difference tells of the concept.
"""

from dataclasses import dataclass, replace
from math import nan

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from probes.controls import evaluated, majority
from probes.erasure import Erasure, erase, fit_erasure
from probes.evaluation import Evaluation, accuracy
from probes.fits import Probe, check_probe, fit
from probes.rows import Rows, Split, gather, split
from workbench.cache import Progress
from workbench.errors import InputError
from workbench.interventions import changed
from workbench.labels import Labelled
from workbench.models import Model
from workbench.patching.statistics import bounds, drawn_weights
from workbench.sites import Site

_TOKENS = 512  # of one forward: logits over a whole vocabulary are large


@dataclass(frozen=True)
class Cost:
    """KL(before || after) of the next token in nats, a mean over tokens but BOS and padding.

    `low` and `high` bound a 95 % bootstrap interval over contexts, NaN for one.
    """

    kl: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Removal:
    """What one way of taking directions out leaves, on the test rows and contexts.

    `kept` is the accuracy of the probe as it was, `refitted` that of a probe fitted anew on what
    is left; `removed` the share of the activations' variance that went.
    """

    kept: Evaluation
    refitted: Evaluation
    removed: float
    cost: Cost


@dataclass(frozen=True, eq=False)
class ErasureTest:
    """A probe before and after: LEACE, and random directions of the same number (`rank`)."""

    site: Site
    rank: int
    before: Evaluation
    majority: float
    leace: Removal
    random: Removal
    n_contexts: int


def erasure_test(
    model: Model,
    labelled: Labelled,
    probe: Probe,
    *,
    seed: int,
    batch: int = 32,
    progress: Progress | None = None,
) -> ErasureTest:
    """Erase what `probe` reads at its own site, fitted to the training rows of `labelled`.

    `labelled` and `seed` are those of the probe's own sweep (`Sweep.seed`): only so are its test
    rows test rows here. The edit acts at every token but BOS and padding. Raises `InputError` for
    a probe of another model or of other labels, and as `gather`, `split` and `fit_erasure`.
    """
    check_probe(probe, model)
    if (probe.tasks, probe.classes) != (labelled.tasks, labelled.classes):
        raise InputError(
            f"the probe reads {', '.join(probe.classes)} of {', '.join(probe.tasks[:3])}, the "
            f"labels say {', '.join(labelled.classes)} of {', '.join(labelled.tasks[:3])}; give "
            "the labels that it was fitted on"
        )
    rows = gather(model, labelled, probe.site, batch=batch)
    parts = split(rows.groups, seed=seed)
    leace = fit_erasure(rows, probe.site, parts.train)
    random = random_erasure(rows, probe.site, parts.train, leace.rank, seed=seed)
    contexts = _test_contexts(labelled, rows, parts)
    told = _Told(progress, 2 * len(contexts))
    found = [
        _removal(model, labelled, probe, one, rows, parts, contexts, seed, told)
        for one in (leace, random)
    ]
    constant = majority(rows.labels, parts, len(rows.classes))
    return ErasureTest(
        site=probe.site,
        rank=leace.rank,
        before=evaluated(probe, rows, parts, seed=seed),
        majority=accuracy(constant, rows.labels[parts.test], classes=rows.classes),
        leace=found[0],
        random=found[1],
        n_contexts=len(contexts),
    )


def random_erasure(
    rows: Rows, site: Site, train: Bool[Tensor, " row"], rank: int, *, seed: int = 0
) -> Erasure:
    """The orthogonal projection that takes `rank` random directions out, about the mean."""
    x = rows[site][train].double()
    drawn = torch.randn(
        x.shape[1], rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    basis, mean = torch.linalg.qr(drawn).Q.to(x.device), x.mean(0)
    removed = float(((x - mean) @ basis).square().sum() / (x - mean).square().sum())
    return Erasure(site, basis.float(), basis.T.float(), mean.float(), removed)


def _removal(
    model: Model,
    labelled: Labelled,
    probe: Probe,
    erasure: Erasure,
    rows: Rows,
    parts: Split,
    contexts: list[int],
    seed: int,
    told: "_Told",
) -> Removal:
    left = replace(rows, activations={probe.site: erasure(rows[probe.site])})
    anew = fit(probe.kind, left, parts, seed=seed)[probe.site]
    return Removal(
        kept=evaluated(probe, left, parts, seed=seed),
        refitted=evaluated(anew, left, parts, seed=seed),
        removed=erasure.removed,
        cost=_cost(model, labelled, erasure, contexts, seed, told),
    )


def _test_contexts(labelled: Labelled, rows: Rows, parts: Split) -> list[int]:
    """The contexts that hold a document of the test part."""
    test = set(rows.groups[parts.test].tolist())
    documents = labelled.corpus.documents
    return [n for n in range(len(documents)) if test & set(documents[n].tolist())]


def _cost(
    model: Model,
    labelled: Labelled,
    erasure: Erasure,
    contexts: list[int],
    seed: int,
    told: "_Told",
) -> Cost:
    corpus = labelled.corpus
    size = max(1, _TOKENS // corpus.ids.shape[1])
    sums: list[Float[Tensor, " context"]] = []
    counts: list[Float[Tensor, " context"]] = []
    for first in range(0, len(contexts), size):
        some = contexts[first : first + size]
        ids = torch.from_numpy(corpus.ids[some]).long().to(model.device)
        real = torch.from_numpy(corpus.documents[some] >= 0).to(model.device)
        # Right padding needs no mask: a causal model does not look at it.
        kl = changed(model, ids, erase(erasure, real)).kl
        sums.append((kl * real).sum(1).double().cpu())
        counts.append(real.sum(1).double().cpu())
        told.step(len(some))
    nats, tokens = torch.cat(sums), torch.cat(counts)
    mean = float(nats.sum() / tokens.sum())
    if len(nats) < 2:
        return Cost(mean, nan, nan)
    weights = drawn_weights(len(nats), seed)
    low, high = bounds((weights @ nats) / (weights @ tokens)).tolist()
    return Cost(mean, low, high)


class _Told:
    """Progress over the contexts of both ways."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def step(self, n: int) -> None:
        self.done += n
        if self.progress is not None:
            self.progress(self.done, self.total)

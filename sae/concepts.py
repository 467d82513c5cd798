"""What latents say of labels, beside what random directions and shuffled labels give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int8
from torch import Tensor

from sae.baselines import untrained
from sae.coverage import Coverage, coverage
from sae.dictionary import SAE
from sae.joined import read_rows
from sae.kernels import Codes
from sae.recipe import Recipe
from sae.samples import Samples
from sae.sparse_probing import Questions, dense_probes, sparse_probes
from workbench.errors import InputError
from workbench.labels import Labelled

_ROWS = 50_000  # read of each part, at most
_BATCH = 4096
_FEWEST = 20  # rows that have a property, and that lack it, on either side


@dataclass(frozen=True, eq=False)
class Concepts:
    """Coverage and accuracies by name: "SAE", "untrained SAE", and "SAE, shuffled labels".

    `accuracies` are sparse probes', by the number of latents; `dense` are probes of all numbers
    of a row; `always` is the mean F1 of saying yes to every row. `left_out` properties are too
    rare to be asked for. `n` rows chose, `n_tested` tested.
    """

    properties: tuple[str, ...]
    always: float
    left_out: int
    n: int
    n_tested: int
    coverages: Mapping[str, Coverage]
    accuracies: Mapping[str, Mapping[int, Float[Tensor, " property"]]]
    dense: Mapping[str, Float[Tensor, " property"]]


def concepts(
    sae: SAE,
    samples: Samples,
    labelled: Labelled,
    *,
    among: Sequence[str] = (),
    probes: bool = True,
    seed: int = 0,
) -> Concepts:
    """Each class of each task is a property; with `among`, only of these classes.

    Choices are made on training rows and scored on held-out documents, up to 50,000 rows each,
    drawn by `seed`. Raises `InputError` for labels of another corpus, a class there is not, and
    where no property has 20 rows and lacks 20 on either side.
    """
    if labelled.corpus.digest != samples.harvest.corpus.digest:
        raise InputError(
            f"labels {labelled.name} are of {labelled.corpus.name}, the activations of "
            f"{samples.harvest.corpus.name}; give labels of the same corpus"
        )
    here, x = _part(samples, labelled, samples.train, seed)
    there, y = _part(samples, labelled, samples.held_out, seed)
    names, asked, left_out = _asked(labelled, among, here, there)
    k = max(1, round(len(sae.codes(x[:_BATCH]).latents) / len(x[:_BATCH])))
    fresh = untrained(Recipe("topk", sae.n_latents, k), sae.site, samples.mean)
    coded = {name: (_codes(one, x), _codes(one, y)) for name, one in
             (("SAE", sae), ("untrained SAE", fresh))}  # fmt: skip
    cases = [(name, name, asked) for name in coded]
    cases.append(("SAE, shuffled labels", "SAE", asked.shuffled(seed)))
    coverages, accuracies, dense = {}, {}, {}
    for name, which, questions in cases:
        train, tested = coded[which]
        coverages[name] = coverage(train, questions.train, tested, questions.tested)
        if probes:
            accuracies[name] = sparse_probes(train, tested, questions, seed)
    if probes:
        dense["all of the activation"] = dense_probes(x, y, asked, seed)
        dense["all, shuffled labels"] = dense_probes(x, y, asked.shuffled(seed), seed)
    share = asked.tested.float().mean(0)
    always = float((2 * share / (1 + share)).mean())
    return Concepts(names, always, left_out, len(x), len(y), coverages, accuracies, dense)


def _part(
    samples: Samples, labelled: Labelled, kept: Bool[np.ndarray, "context pos"], seed: int
) -> tuple[Int8[np.ndarray, "row task"], Float[Tensor, "row d"]]:
    where = np.flatnonzero(kept & (labelled.labels[..., 0] >= 0))
    if len(where) > _ROWS:
        where = np.random.default_rng(seed).choice(where, _ROWS, replace=False)
    mask = np.zeros(kept.size, dtype=bool)
    mask[where] = True
    mask = mask.reshape(kept.shape)
    if not len(where):
        raise InputError(f"labels {labelled.name} have no sample among the rows to read")
    return labelled.labels[mask], torch.cat(list(read_rows(samples.harvest, mask)))


def _asked(
    labelled: Labelled, among: Sequence[str], here: np.ndarray, there: np.ndarray
) -> tuple[tuple[str, ...], Questions, int]:
    if unknown := [name for name in among if name not in labelled.classes]:
        raise InputError(
            f"{', '.join(unknown)} is no class of {labelled.name}: {', '.join(labelled.classes)}"
        )
    numbers = [labelled.classes.index(name) for name in among or labelled.classes]
    names = [
        f"{task} {labelled.classes[number]}".strip()
        for task in labelled.tasks
        for number in numbers
    ]
    parts = [
        torch.from_numpy(labels[:, :, None] == np.array(numbers)).flatten(1)
        for labels in (here, there)
    ]
    enough = [torch.minimum(part.sum(0), (~part).sum(0)) >= _FEWEST for part in parts]
    kept = enough[0] & enough[1]
    if not bool(kept.any()):
        raise InputError(
            f"no class of {labelled.name} has {_FEWEST} rows and lacks as many, in training and in "
            "held-out text; give more text"
        )
    left = [name for name, one in zip(names, kept.tolist(), strict=True) if one]
    return tuple(left), Questions(*(part[:, kept] for part in parts)), int((~kept).sum())


def _codes(sae: SAE, x: Float[Tensor, "row d"]) -> Codes:
    parts = [sae.codes(some) for some in x.split(_BATCH)]
    counts = torch.cat([part.offsets.diff() for part in parts])
    return Codes(
        torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        torch.cat([part.latents for part in parts]),
        torch.cat([part.values for part in parts]),
        sae.n_latents,
    )

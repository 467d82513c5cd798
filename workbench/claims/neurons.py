"""SoLU beside GELU (Elhage et al. 2022, "Softmax Linear Units"), on the shipped pairs."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from workbench.corpus import Corpus
from workbench.labs.neurons import Standing, standing
from workbench.labs.text import bpe, sample, shipped, trained
from workbench.labs.text.recipes import GELU_1L, N_CTX, SOLU_1L
from workbench.models import Model, load
from workbench.models.native import solu
from workbench.registry import Outcome

_SOURCE = "Elhage et al. 2022"
_PAIR = {"SoLU": SOLU_1L, "GELU": GELU_1L}
_SEEDS = (0, 1)
_CONTEXTS = 400  # of held-out text
_LOSS = 0.05  # a few percent
_GIVEN = {
    (4.0, 1.0, 4.0, 1.0): (1.905, 0.0237, 1.905, 0.0237),
    (1.0, 2.0, 3.0): (0.0900, 0.4895, 1.9957),
}


def solu_by_hand() -> Outcome:
    """x softmax(x) of the paper's own numbers."""
    found = [tuple(solu(torch.tensor(given)).tolist()) for given in _GIVEN]
    off = max(
        abs(one - other)
        for mine, theirs in zip(found, _GIVEN.values(), strict=True)
        for one, other in zip(mine, theirs, strict=True)
    )
    return Outcome(_SOURCE, _rows(_GIVEN.values()), _rows(found), off < 5e-4)


def solu_beside_gelu(full: bool = False) -> Outcome:
    """Models of equal size and data: what SoLU costs, and whether its neurons read better."""
    told = {(name, seed): _standing(name, seed, full=full) for seed in _SEEDS for name in _PAIR}
    pairs = [(told["SoLU", seed], told["GELU", seed]) for seed in _SEEDS]
    words = "; ".join(
        f"seed {seed}: SoLU {_words(mine)}, GELU {_words(theirs)}"
        for seed, (mine, theirs) in zip(_SEEDS, pairs, strict=True)
    )
    return Outcome(
        _SOURCE,
        "loss within a few percent; kurtosis and consistency of the top examples higher for SoLU",
        f"{words}; random rows {pairs[0][0].chance:.0%} (loss, median excess kurtosis, commonest "
        "token among 20 top examples)",
        all(
            abs(mine.loss / theirs.loss - 1) < _LOSS
            and mine.kurtosis > theirs.kurtosis
            and mine.share > theirs.share
            for mine, theirs in pairs
        ),
    )


def neurons_at_random() -> Outcome:
    """The same architectures before their first step, on the same text."""
    told = {}
    for name, recipe in _PAIR.items():
        with TemporaryDirectory() as folder:
            recipe.begin("cpu").save(Path(folder), {})
            before = _judged(load(folder, device="cpu"))
        told[name] = before, _shipped(name, 0)
    rows = next(iter(told.values()))[0].chance
    words = "; ".join(
        f"{name} untrained {before.share:.1%} (kurtosis {before.kurtosis:.1f}), trained "
        f"{after.share:.1%} ({after.kurtosis:.1f})"
        for name, (before, after) in told.items()
    )
    return Outcome(
        "control",
        "top examples less consistent than after training, in both",
        f"{words}; random rows {rows:.1%}. Kurtosis alone proves nothing: SoLU's softmax makes "
        "it without training",
        all(before.share < after.share - 0.05 for before, after in told.values()),
    )


def _standing(name: str, seed: int, *, full: bool = False) -> Standing:
    if not full:
        return _shipped(name, seed)
    with TemporaryDirectory() as folder:
        return _judged(trained(replace(_PAIR[name], seed=seed), Path(folder)))


@cache
def _shipped(name: str, seed: int) -> Standing:
    return _judged(load(str(shipped(_PAIR[name].name, seed)), device="cpu"))


def _judged(model: Model) -> Standing:
    return standing(model, _text())


@cache
def _text() -> Corpus:
    return sample(bpe(), N_CTX, most=_CONTEXTS)


def _words(one: Standing) -> str:
    return f"{one.loss:.3f}, {one.kurtosis:.1f}, {one.share:.1%}"


def _rows(rows: Iterable[Sequence[float]]) -> str:
    return "; ".join(", ".join(f"{value:.3g}" for value in row) for row in rows)

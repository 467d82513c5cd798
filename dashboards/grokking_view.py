"""The numbers behind the Grokking page: one epoch of a training, shipped, in a folder or live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from workbench.errors import InputError
from workbench.home import home, typed

if TYPE_CHECKING:  # torch must not load before it is needed
    from torch import Tensor

    from workbench.labs.grokking import Algorithm, Grokking, Weights
    from workbench.training import Training

SHIPPED = "grokked-113"
MAPS = ("attention to a", "attention to b", "neuron", "logit")
MEASURES = {
    "train loss": "train_loss",
    "test loss": "test_loss",
    "restricted loss": "restricted",
    "excluded loss": "excluded",
    "test accuracy": "test_accuracy",
    "Gini of the embedding": "gini",
    "variance in key frequencies": "fve",
}
Curves = dict[str, tuple[Sequence[int], Sequence[float]]]


@dataclass(frozen=True)
class Course:
    """A training that lies in files: its rungs and what was measured at each, by the key
    frequencies of the last one."""

    name: str
    recipe: Mapping[str, Any]
    rungs: Mapping[int, Path]
    keys: tuple[int, ...]
    curves: Curves


@dataclass(frozen=True)
class Moment:
    """The weights after an epoch, the curves around it, and the circuit's key frequencies."""

    name: str
    about: str
    epoch: int
    weights: Weights
    keys: tuple[int, ...]
    curves: Curves
    code: Sequence[str]  # makes `weights`, with what `names` imports
    names: Sequence[str]

    @property
    def p(self) -> int:
        return self.weights.p

    @cached_property
    def norms(self) -> np.ndarray:
        from workbench.labs.grokking import embedding_norms

        return embedding_norms(self.weights).numpy()

    @cached_property
    def algorithm(self) -> Algorithm:
        from workbench.labs.grokking import algorithm

        return algorithm(self.weights)

    @property
    def waves(self) -> list[str]:
        """The names of a spectrum's rows and columns."""
        from workbench.labs.grokking import basis_names

        return basis_names(self.p)

    def now(self, quantity: str) -> float:
        """A curve's value at this epoch."""
        epochs, values = self.curves[quantity]
        return values[list(epochs).index(self.epoch)]

    def circle(self, frequency: int) -> np.ndarray:
        """Residues in the plane of a frequency [p, 2]."""
        from workbench.labs.grokking import circle

        return circle(self.weights.W_E[: self.p], frequency).numpy()

    def over_pairs(self, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
        """What was asked for, for each pair [p, p], and its spectrum."""
        from workbench.labs.grokking import spectrum

        values = _values(self.weights, asked)
        return values.numpy(), spectrum(values).numpy()


@dataclass(frozen=True)
class Asked:
    """A quantity over all pairs: which of `MAPS`, and the number of its head, neuron or answer."""

    kind: str
    number: int

    def __str__(self) -> str:
        named = {"neuron": "neuron", "logit": "logit of"}
        return f"{named.get(self.kind, self.kind + ', head')} {self.number}"

    @property
    def signed(self) -> bool:
        return self.kind == "logit"

    @property
    def unit(self) -> str:
        return {"neuron": "activation", "logit": "logit"}.get(self.kind, "attention")


def most(weights: Weights, kind: str) -> int:
    """The largest number of a sort."""
    return {"neuron": weights.d_mlp, "logit": weights.p}.get(kind, weights.n_heads) - 1


def _values(weights: Weights, asked: Asked) -> Tensor:
    from workbench.labs.grokking import logits, neurons, patterns

    if asked.kind == "neuron":
        return neurons(weights)[..., asked.number].contiguous()
    if asked.kind == "logit":  # the mean over answers changes no probability
        found = logits(weights)
        return found[..., asked.number] - found.mean(-1)
    return patterns(weights)[..., asked.number, MAPS.index(asked.kind)].contiguous()


def courses() -> list[str]:
    """The shipped training, and those of this lab under the home, the latest first."""
    found = sorted(home().glob("training/*/model/card.json"), key=_changed, reverse=True)
    return [SHIPPED, *(one.parents[1].name for one in found if _ours(one.parents[1]))]


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def _ours(folder: Path) -> bool:
    """Whether a folder's result has the shape of this lab, told by its config."""
    import json

    try:
        config = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    fits = {"n_layers": 1, "n_ctx": 3, "act_fn": "relu", "normalization": None}
    return isinstance(config, dict) and all(
        config.get(name, 0) == value for name, value in fits.items()
    )


@st.cache_resource(max_entries=4, show_spinner=False)
def course(name: str) -> Course:
    """A training by name, or of any folder. Raises `InputError` for one that is not there."""
    from workbench.labs.grokking import Grokking, in_hindsight, ladder, logs, read_weights

    if name == SHIPPED:
        log = logs()["p113-50-0"]
        curves: Curves = {told: (log.rungs, log.measures[own]) for told, own in MEASURES.items()}
        for told in ("train loss", "test loss", "test accuracy"):  # logged more often
            rungs, measured = curves[told]
            logged = zip(log.epochs, log.curves[told], strict=True)
            both = sorted({**dict(logged), **dict(zip(rungs, measured, strict=True))}.items())
            curves[told] = [epoch for epoch, _ in both], [value for _, value in both]
        return Course(name, log.recipe, ladder(), tuple(log.keys), curves)
    own = typed(name)
    inside = home() / "training" / name
    folder = inside if inside.is_dir() else own
    rungs = ladder(folder)
    told = _recipe(rungs[max(rungs)])
    weights = {epoch: read_weights(where) for epoch, where in rungs.items()}
    known = Grokking.__dataclass_fields__
    recipe = Grokking(**{field: value for field, value in told.items() if field in known})
    keys, measures = in_hindsight(weights, recipe)
    curves = {name: (list(rungs), measures[own]) for name, own in MEASURES.items()}
    return Course(name, recipe.numbers(), rungs, keys, curves)


def _recipe(folder: Path) -> Mapping[str, Any]:
    import json

    try:
        told = json.loads((folder / "card.json").read_text(encoding="utf-8"))["recipe"]
        if isinstance(told, dict) and "fraction" in told:
            return told
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        pass
    raise InputError(
        f"{folder} has no card of this lab's recipe; give a folder that `workbench train grokking` "
        "wrote"
    )


@st.cache_resource(max_entries=40, show_spinner=False)
def moment(name: str, epoch: int) -> Moment:
    """A training's weights at one of its rungs."""
    from workbench.labs.grokking import read_weights

    whole = course(name)
    folder = whole.rungs[epoch]
    weights = read_weights(folder)
    told = whole.recipe
    about = (
        f"{whole.name}: p {told['p']}, {100 * told['fraction']:g} % of the pairs, weight decay "
        f"{told['weight_decay']:g}, attention {told['attention']:g}, seed {told['seed']}"
    )
    path, asked = f"ladder()[{epoch}]", "workbench.labs.grokking:ladder"
    if name != SHIPPED:
        path, asked = repr(str(folder.resolve())), ""
    names = ["workbench.labs.grokking:read_weights", *([asked] if asked else [])]
    code = [f"weights = read_weights({path})"]
    return Moment(whole.name, about, epoch, weights, whole.keys, whole.curves, code, names)


class Watch:
    """Looks at a live training: its weights now, its curves so far, the frequencies it holds."""

    def __init__(self, recipe: Grokking) -> None:
        self.recipe = recipe
        self.seen: dict[int, dict[str, float]] = {}

    def __call__(self, training: Training) -> Moment:
        from workbench.labs.grokking import (
            GrokkingTraining,
            frequency_shares,
            key_frequencies,
            logits,
            measure,
        )

        assert isinstance(training, GrokkingTraining)
        weights = training.weights().to("cpu")
        keys = key_frequencies(frequency_shares(logits(weights)))
        found = measure(weights, training.train, keys)
        self.seen[training.done] = {told: getattr(found, own) for told, own in MEASURES.items()}
        curves: Curves = {
            told: (list(self.seen), [row[told] for row in self.seen.values()]) for told in MEASURES
        }
        code = [
            f"training = {_code(self.recipe)}.begin()",
            *("for step in training.steps():", f"    if step.done >= {training.done}:"),
            *("        break", 'weights = training.weights().to("cpu")'),
        ]
        names = ["workbench.labs.grokking:Grokking"]
        told = _told(self.recipe)
        return Moment("here", told, training.done, weights, keys, curves, code, names)


def _told(recipe: Grokking) -> str:
    return (
        f"trained here: p {recipe.p}, {100 * recipe.fraction:g} % of the pairs, weight decay "
        f"{recipe.weight_decay:g}, attention {recipe.attention:g}, seed {recipe.seed}"
    )


def _code(recipe: Grokking) -> str:
    """The recipe as Python makes it: what is not by default."""
    from workbench.labs.grokking import Grokking

    usual = Grokking().numbers()
    other = {name: value for name, value in recipe.numbers().items() if value != usual[name]}
    return f"Grokking({', '.join(f'{name}={value!r}' for name, value in other.items())})"

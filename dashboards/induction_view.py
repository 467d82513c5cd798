"""The numbers behind the Induction page: a training's ladder, shipped or under way."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.figures.induction import Curve
    from workbench.labs.induction import Log, Measured, PhaseChange
    from workbench.training import NextToken, Training

DEPTHS = {"2": "induction-2l", "1": "induction-1l"}
NAMES = {2: "two layers", 1: "one layer"}
SEEDS, STEPS = (0, 10**6), (50, 5000)
LOOK = 1.5  # seconds between measurements of a training on the spot
CHANCE = math.log(48)  # labels, drawn evenly
DROP = 1.0  # nats; the largest fall within a window is no phase change if it is less
REPEATED, FIRST = "loss on repeated", "loss on first"


@dataclass(frozen=True)
class InductionView:
    """A training seen at some of its steps; `shipped` are the logs beside it, by depth.

    `trained`: recipe, seed and steps of a training on the spot; None for what is shipped.
    """

    about: str
    depth: int
    trained: tuple[str, int, int] | None
    ladder: Mapping[int, Measured]
    log: Log
    change: PhaseChange | None
    shipped: Mapping[int, Sequence[Log]]

    @property
    def told(self) -> str:
        """The phase change in words."""
        if self.change is None:
            return ""
        from workbench.labs.induction import WINDOW

        return (
            f"The loss on repeated tokens falls by {self.change.drop:.2f} nats between steps "
            f"{self.change.begin:,} and {self.change.end:,} (shaded; it falls nowhere more "
            f"within {WINDOW} steps)."
        )

    @property
    def steps(self) -> list[int]:
        return list(self.ladder)

    @property
    def heads(self) -> list[str]:
        """The names of all heads."""
        layers, heads = self.ladder[self.steps[-1]].induction.shape
        return [f"L{layer}H{head}" for layer in range(layers) for head in range(heads)]

    @property
    def best(self) -> str:
        """The head with the largest induction score at the last step."""
        return str(self.ladder[self.steps[-1]].best)

    def panels(self) -> dict[str, dict[str, list[Curve]]]:
        """Losses of the shipped trainings, this one first, and its scores along the ladder."""
        best = {step: float(one.induction.max()) for step, one in self.ladder.items()}
        before = {step: float(one.previous[0].max()) for step, one in self.ladder.items()}
        return {
            "loss on repeated tokens, nats": self._losses(REPEATED),
            "loss on first tokens, nats": self._losses(FIRST),
            "largest score of a head": {
                "induction": [(list(best), list(best.values()))],
                "previous token, layer 0": [(list(before), list(before.values()))],
            },
        }

    def _losses(self, quantity: str) -> dict[str, list[Curve]]:
        found: dict[str, list[Curve]] = {}
        for depth, logs in self.shipped.items():
            first = [self.log] if depth == self.depth else []
            found[NAMES[depth]] = [(log.steps, log.values[quantity]) for log in (*first, *logs)]
        return found


@dataclass(frozen=True)
class Place:
    """Where one looks: after a step, at a head."""

    step: int
    layer: int
    head: int

    @property
    def name(self) -> str:
        return f"L{self.layer}H{self.head}"


@dataclass(frozen=True)
class Shot:
    """A training on the spot, as it was seen so far."""

    recipe: NextToken
    ladder: Mapping[int, Measured]


@dataclass
class Watch:
    """Measures a training between its steps, now and then; one for each training."""

    recipe: NextToken
    seen: dict[int, Measured] = field(default_factory=dict)
    looked: float = -math.inf

    def __call__(self, training: Training) -> Shot:
        from workbench.labs.induction import measured
        from workbench.models import load

        ended = training.done == self.recipe.steps
        if ended or time.monotonic() - self.looked >= LOOK:
            with TemporaryDirectory() as folder:
                training.save(Path(folder), {})
                self.seen[training.done] = measured(load(folder, device="cpu"))
            self.looked = time.monotonic()
        return Shot(self.recipe, dict(self.seen))


def live_recipe(layers: str, seed: int, steps: int) -> NextToken:
    """What is trained on the spot."""
    from workbench.labs.induction.recipe import INDUCTION_1L, INDUCTION_2L

    return replace(INDUCTION_2L if layers == "2" else INDUCTION_1L, seed=seed, steps=steps)


@st.cache_resource(show_spinner=False)
def shipped_view() -> InductionView:
    """Two layers, seed 0, at every rung that is shipped."""
    from workbench.labs.induction import TWO_LAYERS, measured_ladder, read_log, run_folder

    folder = run_folder(TWO_LAYERS, 0)
    return _view("shipped, seed 0", 2, None, measured_ladder(folder), read_log(folder))


def live_view(shot: Shot) -> InductionView:
    """What was seen of a training on the spot."""
    from workbench.labs.induction import Log

    recipe, losses = shot.recipe, [one.losses for one in shot.ladder.values()]
    values = {REPEATED: [one.repeated for one in losses], FIRST: [one.first for one in losses]}
    return _view(
        f"trained here, seed {recipe.seed}",
        recipe.shape.n_layers,
        (recipe.name, recipe.seed, recipe.steps),
        shot.ladder,
        Log(list(shot.ladder), values),
    )


def place_of(view: InductionView, step: str, head: str) -> Place:
    """Where one looks. Raises `InputError` for a step or a head that is not the view's."""
    for what, given, known in (("step", step, map(str, view.steps)), ("head", head, view.heads)):
        if given not in (allowed := list(known)):
            raise InputError(f"there is no {what} {given!r} {view.about}: {', '.join(allowed)}")
    layer, _, number = head[1:].partition("H")
    return Place(int(step), int(layer), int(number))


def sequence(found: Measured) -> list[str]:
    """The labels of the sequence on which patterns are shown."""
    from workbench.labs.induction.sequences import VOCABULARY

    return [VOCABULARY.labels[token] for token in found.ids.tolist()]


def pairs(found: Measured) -> tuple[np.ndarray, list[str], list[str]]:
    """Composition of every pair: first-layer heads down, Q, K and V of second-layer ones across.

    Raises `InputError` for one layer, which has no pairs.
    """
    scores = found.composition
    if scores.shape[1] < 2:
        raise InputError("one layer has no pairs of heads; choose two layers")
    _, _, heads, _, later = scores.shape
    columns = [f"{kind} L1H{head}" for kind in "QKV" for head in range(later)]
    rows = [f"L0H{head}" for head in range(heads)]
    return scores[:, 0, :, 1].permute(1, 0, 2).flatten(1).numpy(), rows, columns


def _view(
    about: str,
    depth: int,
    trained: tuple[str, int, int] | None,
    ladder: Mapping[int, Measured],
    log: Log,
) -> InductionView:
    from workbench.labs.induction import WINDOW, phase_change

    near = len(log.steps) > 1 and min(np.diff(log.steps)) <= WINDOW
    change = phase_change(log.steps, log.values[REPEATED]) if near else None
    if change is not None and change.drop < DROP:
        change = None
    return InductionView(about, depth, trained, ladder, log, change, _shipped_logs())


@st.cache_resource(show_spinner=False)
def _shipped_logs() -> dict[int, list[Log]]:
    from workbench.labs.induction import SEEDS as SHIPPED
    from workbench.labs.induction import read_log, run_folder

    return {
        int(depth): [read_log(run_folder(name, seed)) for seed in SHIPPED]
        for depth, name in DEPTHS.items()
    }

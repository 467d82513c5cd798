"""What stands on either side of the page Compare: a model, or a checkpoint of a ladder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards.exports import Made
from dashboards.patching_pairs import PairsAsked
from dashboards.prompts import Asked
from dashboards.state import Choice
from dashboards.training_view import trainings
from workbench.errors import InputError
from workbench.registry import listed

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.cache import Store
    from workbench.models import Model

SAME = "the same model"
VIEWS = ("Attention", "Lens", "Patching", "SAE")


@dataclass(frozen=True)
class Place:
    """A side: its letter, its model as it is named on the page, and what that model is asked.

    `shown` is which of the two stands above its picture.
    """

    letter: str
    name: str
    shown: str
    choice: Choice
    model: Model
    store: Store
    asked: Asked | PairsAsked

    @property
    def title(self) -> str:
        """What stands above its picture."""
        return f"{self.letter}: {self.shown if len(self.shown) <= 32 else self.shown[:31] + '…'}"

    @property
    def made(self) -> Made:
        """What its numbers are made from, for exports."""
        if isinstance(self.asked, PairsAsked):
            made = self.asked.made(self.choice, "compare")
        else:
            made = self.asked.made("compare", self.choice)
        return replace(made, note=made.note.replace(self.choice.model, self.name))


def checkpoints() -> dict[str, Path]:
    """The rungs of every ladder that is at hand, shipped or trained here, as `NAME@STEP`."""
    from workbench.labs.grokking.shipped import GROKKED
    from workbench.labs.induction.ladder import rungs
    from workbench.labs.induction.shipped import TWO_LAYERS, run_folder

    ladders = {TWO_LAYERS: run_folder(TWO_LAYERS, 0), "grokked-113": GROKKED, **trainings()}
    return {
        f"{name}@{step}": folder
        for name, ladder in ladders.items()
        for step, folder in rungs(ladder).items()
    }


def names() -> list[str]:
    """Every model that can be chosen, checkpoints last."""
    return [*listed("models"), *checkpoints()]


def chosen(choice: Choice, name: str) -> Choice:
    """The same settings for another model; a checkpoint is loaded from its folder."""
    ladder, at, _ = name.partition("@")
    if not at:
        return replace(choice, model=name)
    known = checkpoints()
    steps = [one.removeprefix(ladder + at) for one in known if one.startswith(ladder + at)]
    if steps and name not in known:
        raise InputError(
            f"no checkpoint is called {name}; {ladder} has those of steps {', '.join(steps)}"
        )
    return replace(choice, model=str(known.get(name, name)))

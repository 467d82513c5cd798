"""The numbers behind the Training page: trainings on this machine, read from their states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.home import home, typed

if TYPE_CHECKING:  # Plotly loads with the page, not before
    from workbench.figures.training import Curve

STATE = "state.safetensors"
WHAT = "checkpoint"


@dataclass(frozen=True)
class TrainingView:
    """A training's folder, the card of its state, and whether a process is at it."""

    name: str
    folder: Path
    card: Mapping[str, Any]
    running: bool

    @property
    def sort(self) -> str:
        """What is trained, in words."""
        recipes = self.card.get("recipes")
        if recipes is None:
            return f"a model, {self.card['recipe']['name']}"
        kinds = ", ".join(dict.fromkeys(one["kind"] for one in recipes))
        return f"{len(recipes)} {'dictionary' if len(recipes) == 1 else 'dictionaries'} ({kinds})"

    @property
    def total(self) -> int:
        recipes = self.card.get("recipes")
        return int((recipes[0] if recipes else self.card["recipe"])["steps"])

    @property
    def done(self) -> int:
        return int(self.card["done"])

    @property
    def left(self) -> float:
        """Seconds to go, at the pace so far."""
        return (self.total - self.done) * float(self.card["seconds"]) / max(1, self.done)

    @property
    def panels(self) -> dict[str, dict[str, Curve]]:
        from workbench.figures.training import panels

        return panels(self.card)

    @property
    def standing(self) -> str:
        """How far it is, in one line."""
        seconds = float(self.card["seconds"])
        pace = f"{1000 * seconds / max(1, self.done):.1f} ms a step"
        told = f"{self.done:,} of {self.total:,} steps in {_span(seconds)}, {pace}"
        if self.done >= self.total:
            return f"finished: {told}"
        if self.running:
            return f"running: {told}, about {_span(self.left)} to go"
        return f"stopped: {told}; --resume goes on"


def trainings() -> dict[str, Path]:
    """The folders under the home that hold a training's state, the latest first."""
    found = [*home().glob(f"training/*/{STATE}"), *home().glob(f"saes/*/{STATE}")]
    latest = sorted(found, key=_changed, reverse=True)
    return {path.parent.relative_to(home()).as_posix(): path.parent for path in latest}


def training_view(name: str) -> TrainingView:
    """One of `trainings` by its name, or any folder that holds a training's state.

    Raises `InputError` where there is none, and for a state of neither sort.
    """
    from workbench.cache.locks import lock_folder
    from workbench.carded import read_card

    folder = trainings().get(name) or typed(name)
    if not (folder / STATE).is_file():
        raise InputError(
            f"there is no training in {folder}: no {STATE}; a first one is written after a few "
            "hundredths of the steps"
        )
    card = read_card(folder / STATE, what=WHAT)
    whose = card.get("recipes") or card.get("recipe")
    if not whose or not isinstance(card.get("rows"), list):
        raise InputError(f"{folder / STATE} is no training's state; give another folder")
    free = lock_folder(folder, shared=True, wait=False)
    if free is not None:
        free.release()
    return TrainingView(name, folder, card, running=free is None)


def written(view: TrainingView) -> str:
    """When its state was last written, in UTC."""
    when = datetime.fromtimestamp(_changed(view.folder / STATE), UTC)
    return when.isoformat(sep=" ", timespec="seconds").removesuffix("+00:00") + " UTC"


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

"""A training's folder: its log, its weights along the way, a smaller copy of it."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from workbench.errors import MISFITS, InputError
from workbench.labs.induction.measures import Measured, measured
from workbench.models import load
from workbench.models.native import CARD, CONFIG, read_config, read_weights, save_native
from workbench.training.run import LADDER, MODEL


@dataclass(frozen=True)
class Log:
    """A training's evaluations: `steps`, and a value at each of every quantity by name."""

    steps: Sequence[int]
    values: Mapping[str, Sequence[float]]


def rungs(folder: Path) -> dict[int, Path]:
    """The folders of a training's ladder by step, the first first."""
    there = (folder / LADDER).glob("[0-9]*")
    found = {int(path.name): path for path in there if re.fullmatch(r"\d{1,18}", path.name)}
    return dict(sorted(found.items()))


def read_log(folder: Path) -> Log:
    """What was evaluated during a training, from the card of its last weights."""
    path = folder / MODEL / CARD
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["log"]
        names = dict(rows[0]["metrics"])
        return Log(
            [int(row["step"]) for row in rows],
            {name: [float(row["metrics"][name]) for row in rows] for name in names},
        )
    except (OSError, *MISFITS) as error:
        raise InputError(
            f"{path} holds no log of a training ({error}); give a folder that `workbench train` "
            "wrote"
        ) from error


def measured_ladder(folder: Path) -> dict[int, Measured]:
    """Everything, at every rung, by step."""
    return {step: measured(load(str(path), device="cpu")) for step, path in rungs(folder).items()}


def ship(folder: Path, target: Path, steps: Collection[int]) -> None:
    """Copy a training's result and the rungs at `steps`, weights rounded to float16.

    The cards of rungs lose their logs, which the result's card holds whole.
    """
    wanted = {step: path for step, path in rungs(folder).items() if step in steps}
    if missing := sorted({*steps} - {*wanted}):
        raise InputError(f"{folder} has no rung at {missing[0]}; it has {[*rungs(folder)]}")
    _half(folder / MODEL, target / MODEL)
    for step, path in wanted.items():
        _half(path, target / LADDER / str(step), without="log")


def _half(source: Path, target: Path, without: str = "") -> None:
    config, card = (
        json.loads((source / name).read_text(encoding="utf-8")) for name in (CONFIG, CARD)
    )
    shape, vocabulary = read_config(source, config)
    card.pop(without, None)
    save_native(target, shape, vocabulary, read_weights(source, shape), card, dtype=torch.float16)

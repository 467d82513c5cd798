"""What lies in the package: the ladder of the grokked model, other seeds, their logs."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from workbench.errors import InputError, misfit
from workbench.labs.grokking.checkpoints import read_weights
from workbench.labs.grokking.record import Log
from workbench.labs.grokking.weights import Weights
from workbench.models.native import CARD
from workbench.training.run import LADDER, MODEL

SHIPPED = Path(__file__).parents[1] / "shipped" / "grokking"
GROKKED = SHIPPED / "grokked-113"
LOGS = SHIPPED / "logs.json"


def ladder(folder: Path = GROKKED) -> dict[int, Path]:
    """Epoch -> folder of the weights then, in rising order, the result last.

    `folder` is what `train_into` wrote, or the shipped model's. Raises `InputError` for one that
    holds neither rungs nor a model.
    """
    there = (folder / LADDER).glob("*")
    found = {int(one.name): one for one in there if re.fullmatch(r"\d{1,18}", one.name)}
    for last in (folder / MODEL, folder):
        if (last / CARD).is_file():
            with misfit(lambda fault, path=last / CARD: _no_card(path, fault)):
                found[int(json.loads((last / CARD).read_text("utf-8"))["steps"])] = last
    if not found:
        raise InputError(
            f"there is no ladder in {folder}; give a folder that `workbench train grokking` wrote"
        )
    return dict(sorted(found.items()))


def _no_card(path: Path, fault: Exception) -> InputError:
    return InputError(
        f"{path} does not say after how many steps ({fault!r}); give a folder that `workbench "
        "train grokking` wrote"
    )


@cache
def logs() -> Mapping[str, Log]:
    """The logs of all shipped trainings, by name: p, fraction in percent (or what was other),
    seed."""
    return {name: Log(**told) for name, told in json.loads(LOGS.read_text("utf-8")).items()}


@cache
def shipped(name: str) -> Weights:
    """The final weights of a shipped training. Raises `InputError` for a name that is not one."""
    path = SHIPPED / f"{name}.safetensors"
    if name == "p113-50-0":
        return read_weights(GROKKED)
    if not path.is_file():
        known = sorted(one.stem for one in SHIPPED.glob("*.safetensors"))
        raise InputError(f"{name!r} is not shipped; known: p113-50-0, {', '.join(known)}")
    return read_weights(path, attention=logs()[name].recipe["attention"])

"""A training into a folder: checkpoints, log, evaluations, and at the end a model with its card."""

import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from workbench.cache.locks import Lock, lock_folder
from workbench.errors import InputError
from workbench.fetching import discard_unfinished
from workbench.training.checkpoint import Row, Unfinished, read_state, write_state
from workbench.training.recipe import Recipe
from workbench.training.steps import Step, Training

STATE, MODEL, LADDER = "state.safetensors", "model", "ladder"
LOSSES = "log.losses"  # since the last row
_SAVES = 400  # in a whole training
_EVALUATIONS = 40


def train_into(
    folder: Path,
    recipe: Recipe,
    *,
    device: str = "auto",
    compiled: bool = False,
    resume: bool = False,
) -> Iterator[tuple[Step, Row | None]]:
    """Train, keeping what is needed to continue; yields each step, and a log row where one ends.

    Weights at the recipe's rungs lie in `ladder/`, the result in `model/`. Raises
    `InputError` for a folder that holds a training unless `resume`, for nothing to resume, for a
    folder in which another process trains, and for a loss that is no number any more.
    """
    state = folder / STATE
    if resume != state.exists():
        raise InputError(
            f"there is no training to resume in {folder}; start it without --resume"
            if resume
            else f"{folder} holds a training already; give --resume to go on, or another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(folder, shared=False, wait=False)
    if lock is None:
        raise InputError(f"another process trains in {folder}; wait for it, or give another folder")
    discard_unfinished(folder)
    training = recipe.begin(device, compiled)
    left = Unfinished({}, 0, 0.0, ())
    if resume:
        left = read_state(state, recipe)
        training.restore(left.tensors, left.done)
    else:
        _keep(folder / LADDER / "0", recipe, training, [], 0.0)
    return _steps(folder, recipe, training, left, lock)


def _steps(
    folder: Path, recipe: Recipe, training: Training, left: Unfinished, lock: Lock
) -> Iterator[tuple[Step, Row | None]]:
    """The lock is held as long as anybody may ask for another step."""
    started = time.perf_counter()
    save_each, log_each = (max(1, recipe.steps // many) for many in (_SAVES, _EVALUATIONS))
    rows, losses = list(left.rows), list(left.tensors.get(LOSSES, torch.empty(0)))
    for step in training.steps():
        losses.append(step.loss)
        last = step.done == step.total
        row, saving = None, step.done % save_each == 0 or last
        if saving:
            _expect_numbers(recipe, step)
        if step.done % log_each == 0 or last:
            row = _row(recipe, training, losses)
            rows.append(row)
        seconds = left.seconds + time.perf_counter() - started
        if recipe.rung(step.done):
            _keep(folder / LADDER / str(step.done), recipe, training, rows, seconds)
        if last:
            _keep(folder / MODEL, recipe, training, rows, seconds)
        if saving:  # after what is kept: who resumes makes it again
            tensors = training.state() | ({LOSSES: torch.stack(losses)} if losses else {})
            kept = Unfinished(tensors, step.done, seconds, tuple(rows))
            write_state(folder / STATE, recipe, kept)
        yield step, row
    lock.release()


def _expect_numbers(recipe: Recipe, step: Step) -> None:
    """Before anything of it is kept."""
    if not step.loss.isfinite().all():
        raise InputError(
            f"the loss of {recipe.name} is {float(step.loss.mean())} at step {step.done:,}: its "
            "learning rate is too high; train anew with a smaller one"
        )


def _row(recipe: Recipe, training: Training, losses: list[torch.Tensor]) -> Row:
    mean = float(torch.stack(losses).mean())
    losses.clear()
    done = training.done
    return Row(done, recipe.examples(done), mean, dict(training.metrics()))


def _keep(
    folder: Path, recipe: Recipe, training: Training, rows: list[Row], seconds: float
) -> None:
    card = {
        "about": recipe.about,
        "recipe": recipe.numbers(),
        "steps": training.done,
        "examples": recipe.examples(training.done),
        "seconds": round(seconds, 1),
        "machine": machine(training),
        "metrics": rows[-1].metrics if rows else {},
        "metrics after step": rows[-1].step if rows else None,
        "log": [asdict(row) for row in rows],
        **{package: version(package) for package in ("lensbench", "torch", "transformer-lens")},
    }
    training.save(folder, card)


def machine(training: Training) -> str:
    """The machine's class, for a card."""
    if training.device.type == "cuda":
        return f"{torch.cuda.get_device_name(training.device)}, {training.precision}"
    threads = torch.get_num_threads()
    return f"{platform.machine()}, {threads} of {os.cpu_count()} cores, {training.precision}"

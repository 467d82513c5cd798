"""A training into a folder: several dictionaries of one harvest, each row read once for all."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool

from sae.checkpoint import STATE, Row, Run
from sae.folding import folded
from sae.recipe import Recipe
from sae.samples import End, Samples
from sae.saved import save_sae
from sae.slopes import Rows
from sae.training import Step, Training
from workbench import ranks
from workbench.cache import State
from workbench.cache.locks import Lock, lock_folder
from workbench.cache.prefetch import ahead
from workbench.corpus import Corpus
from workbench.errors import InputError
from workbench.fetching import discard_unfinished
from workbench.models import Model, resolve_device

_LOGS = 100  # in a whole training
_LOGS_A_SAVE = 5


def named(recipes: Sequence[Recipe]) -> dict[str, Recipe]:
    """A folder's name for each: what differs between them.

    Raises `InputError` for none, for two that are the same, and for different batches or steps.
    """
    told = [asdict(recipe) for recipe in recipes]
    for field in ("steps", "batch"):
        if len({one[field] for one in told}) != 1:
            raise InputError(f"dictionaries that are trained together have the same {field}")
    different = [field for field in told[0] if len({one[field] for one in told}) > 1]
    names = [
        "-".join(f"{field}{one[field]}" if field != "kind" else one[field] for field in different)
        for one in told
    ]
    if len(set(names)) < len(names):
        raise InputError("two of these dictionaries are the same; give each once")
    return dict(zip(names, recipes, strict=True)) if different else {told[0]["kind"]: recipes[0]}


def train_into(
    folder: Path,
    samples: Samples,
    model: Model,
    recipes: Sequence[Recipe],
    *,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Iterator[tuple[int, int, list[Row]]]:
    """Train, keeping what is needed to continue; yields (done, total, log rows where they end).

    `seed` is of the rows' order, for all dictionaries; each ends as a folder under its name.
    Raises `InputError` for a folder that holds a training unless `resume`, for nothing to resume,
    for a folder in which another process trains, and for a loss that is not finite: the state
    before that batch is kept. `about` goes into the cards.

    Under torchrun the ranks share each batch and take the same steps; the first one writes.
    """
    state = folder / STATE
    if resume != state.exists():
        raise InputError(
            f"there is no training to resume in {folder}; start it without --resume"
            if resume
            else f"{folder} holds a training already; give --resume to go on, or another folder"
        )
    every = named(recipes)
    check_rows(samples.harvest.corpus, recipes[0], samples.train)
    if not resume and (there := [name for name in every if (folder / name).exists()]):
        raise InputError(
            f"{folder} holds {', '.join(there)} already; give another folder, or move it away"
        )
    folder.mkdir(parents=True, exist_ok=True)
    ranks.wait_for_all()  # nobody writes before everybody has looked
    first = ranks.rank() == 0
    lock = lock_folder(folder, shared=False, wait=False) if first else None
    if first and lock is None:
        raise InputError(f"another process trains in {folder}; wait for it, or give another folder")
    if first:
        discard_unfinished(folder)
    where = resolve_device(device)
    mean = samples.wanted.mean * samples.wanted.factors
    d_in = samples.harvest.shape[2] if samples.transcodes else None
    trainings = {name: Training(recipe, mean, where, d_in) for name, recipe in every.items()}
    return _steps(Run(folder, samples, model, trainings, seed, dict(about or {})), lock, resume)


def check_rows(corpus: Corpus, recipe: Recipe, train: Bool[np.ndarray, "context pos"]) -> None:
    """Raise `InputError` where a corpus is shorter than a batch."""
    n = int(train.sum())
    if n < recipe.batch:
        raise InputError(
            f"{corpus.name} has {n:,} rows to train on, a batch is {recipe.batch:,}; give a longer "
            "text or a smaller batch"
        )


def _steps(run: Run, lock: Lock | None, resume: bool) -> Iterator[tuple[int, int, list[Row]]]:
    """The lock is held as long as anybody may ask for another step."""
    recipe, since = run.recipe, time.perf_counter()
    if resume:
        run.read()
        if run.done == recipe.steps:  # stopped after its last step: what it was to leave may lack
            _keep(run, since)
    log_each = max(1, recipe.steps // _LOGS)
    seen: list[dict[str, Step]] = []
    batches = _batches(run)
    while run.done < recipe.steps:
        rows, reader = next(batches)
        seen.append(_together(run, rows, since))
        run.done, run.reader = run.done + 1, reader
        last = run.done == recipe.steps
        ended = []
        if run.done % log_each == 0 or last:
            ended = [_row(name, [steps[name] for steps in seen]) for name in run.trainings]
            run.rows += tuple(ended)
            seen = []
        if run.done % (_LOGS_A_SAVE * log_each) == 0 or last:
            run.write(since)
        if last:
            _keep(run, since)
        yield run.done, recipe.steps, ended
    if lock is not None:
        lock.release()


def _batches(run: Run) -> Iterator[tuple[Rows, State]]:
    """On the device; stored ones are read and copied there while it works on those before."""
    read = run.samples.batches(run.recipe.batch, seed=run.seed, state=run.reader)
    if run.device.type == "cpu":
        return read
    if not run.samples.harvest.stored:  # made by the model, which is there
        return ((rows.to(run.device), state) for rows, state in read)
    ready = ahead(((rows.tensors, state) for rows, state in read), run.device)
    return ((Rows(**tensors), state) for tensors, state in ready)


def _together(run: Run, here: Rows, since: float) -> dict[str, Step]:
    """One step of every dictionary, or, where a loss is not finite, of none."""
    found = {name: training.slopes(here.x, here.y) for name, training in run.trainings.items()}
    wrong = {name: one.loss for name, one in found.items() if not math.isfinite(one.loss)}
    if wrong:
        where, kept = f"first {len(here)} rows", "nothing was trained yet"
        if run.reader is not None:
            run.write(since)
            where = f"{len(here)} rows after {run.reader.to_json()}"
            kept = f"what was trained before them is kept in {run.folder / STATE}"
        told = ", ".join(f"{name} {loss}" for name, loss in wrong.items())
        raise InputError(
            f"the loss is not finite at step {run.done + 1} ({told}), on the {where}; {kept}; "
            "start anew with a lower rate"
        )
    return {name: run.trainings[name].step(one, len(here)) for name, one in found.items()}


def _row(name: str, steps: list[Step]) -> Row:
    keys = {key: None for step in steps for key in step.losses}
    losses = {
        key: float(torch.stack([s.losses[key] for s in steps if key in s.losses]).mean())
        for key in keys
    }
    l0 = float(torch.stack([step.l0 for step in steps]).mean())
    return Row(steps[-1].done, name, losses, l0, steps[-1].n_dead)


def _keep(run: Run, since: float) -> None:
    if ranks.rank():
        return
    for name, training in run.trainings.items():
        if (run.folder / name).exists():
            continue
        rows = [asdict(row) for row in run.rows if row.name == name]
        card = {
            **run.about,
            "recipe": training.recipe.numbers(),
            "rows seed": run.seed,
            "corpus": {
                "name": run.samples.harvest.corpus.name,
                "digest": run.samples.harvest.corpus.digest,
            },
            "rows": int(run.samples.train.sum()),
            "sinks left out": run.samples.n_sinks,
            "factors": _factors(run.samples.read),
            **({"factors out": _factors(run.samples.wanted)} if run.samples.transcodes else {}),
            "seconds": round(run.seconds + time.perf_counter() - since, 1),
            "threads": torch.get_num_threads(),
            "log": rows,
            **{package: version(package) for package in ("lensbench", "torch")},
        }
        save_sae(folded(training, run.samples, run.model, card), run.folder / name)


def _factors(end: End) -> dict[str, float]:
    """By what the rows of each site were multiplied."""
    parts = end.factors.split(list(end.rows.widths))
    return {str(site): float(part[0]) for site, part in zip(end.rows.sites, parts, strict=True)}

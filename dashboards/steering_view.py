"""The numbers behind the Steering page: two texts of one seed, KL by strength, next tokens.

Each text and each strength is kept by itself: another strength computes only what is new, and a
run that is stopped goes on where it was.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboards.ablation_view import NextTokens, next_tokens
from dashboards.steering_box import Push, Source
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.cache import Store
    from workbench.directions import Direction
    from workbench.generation import Generation
    from workbench.models import Model, Tokens

STEPS = 8  # of the curve, on either side of 0
Progress = Callable[[int, int, str], object]


@dataclass(frozen=True)
class Steering:
    """A model, a prompt, a direction and a push: what is asked."""

    model: Model
    prompt: Tokens
    direction: Direction
    push: Push
    scale: float

    @property
    def key(self) -> tuple[object, ...]:
        """All that can change what is computed, but strength and draw."""
        unit = self.direction.unit.numpy().tobytes()
        place = (str(self.direction.site), unit, self.scale, self.push.positions)
        return (self.model.identity.fingerprint, self.prompt.ids, self.prompt.bos, *place)


@dataclass(frozen=True)
class SteeringView:
    """The plain text and the steered one, KL [strength] in nats, and the next tokens.

    `kl` is KL(plain || steered) of the next token, the mean over the prompt's positions, and
    `control` what a random vector of the same length does.
    """

    asked: Steering
    plain: Generation
    steered: Generation
    strengths: np.ndarray
    kl: np.ndarray
    next: NextTokens
    control: NextTokens
    note: str

    @property
    def length(self) -> str:
        """The chosen strength in words, with how long the vector is that is added."""
        push, scale = self.asked.push, self.asked.scale
        words = {"made": "x the difference", "norm": "x the prompt's mean norm", "absolute": ""}
        told = f"{push.strength:g} {words[push.unit]}".strip()
        return f"strength {told} (length {abs(push.strength) * scale:.3g})"

    @property
    def about(self) -> str:
        """The direction, its place, the strength and the positions, in words."""
        where = {None: "all positions", "new": "new tokens only"}.get(
            self.asked.push.positions, f"positions {self.asked.push.positions}"
        )
        direction = self.asked.direction
        return f"{direction.name} added at {direction.site}, {self.length}, {where}"

    @property
    def sum(self) -> str:
        """How far the predictions moved, and on what that was measured."""
        steered = self.asked.push.positions
        where = f"positions {steered}" if isinstance(steered, tuple) else "all of them"
        told = (
            f"KL(plain || steered) is {self.next.mean_kl:.4f} nats, the mean over the prompt's "
            f"{len(self.asked.prompt)} positions with {where} steered, {self.next.kl:.4f} after "
            f"the last; a random vector of that length: {self.control.mean_kl:.4f} and "
            f"{self.control.kl:.4f}"
        )
        still = self.asked.push.strength and self.next.still
        return told + ("; the edit moved nothing: too small for this precision" if still else "")


def written(row: Generation) -> str:
    """How a text ended and how much it repeats itself: degenerate text says the same again."""
    ends = {"stop": "a stop token", "length": "the length asked for", "context": "a full context"}
    return (
        f"{len(row.ids)} new tokens, {len(set(row.ids))} of them different; ended at "
        f"{ends[row.stopped or 'length']}"
    )


def reach(strength: float) -> float:
    """Where the curve ends: the power of two that is at least twice the strength."""
    return 2.0 ** math.ceil(math.log2(2 * abs(strength))) if strength else 2.0


def strengths_around(strength: float) -> list[float]:
    """The curve's strengths, in order, the chosen one and 0 among them."""
    end = reach(strength)
    return sorted({strength, *(end * step / STEPS for step in range(-STEPS, STEPS + 1))})


def direction_of(source: Source, model: Model, store: Store) -> Direction:
    """The direction that a source means. Raises `InputError` for a file that is none of this."""
    if not source.file:
        return _between(model.identity.fingerprint, source, model, store)
    from workbench.directions import load_direction

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "direction"
        path.write_bytes(source.content)
        try:
            return load_direction(path, model)
        except InputError as error:
            raise InputError(str(error).replace(str(path), f"the file {source.file}")) from error


@st.cache_resource(max_entries=32, show_spinner=False)
def _between(fingerprint: str, source: Source, _model: Model, _store: Store) -> Direction:
    from workbench.directions import between

    site = f"{source.layer}.resid_post"
    texts = (source.wanted, source.against)
    return between(_model, *texts, site, position=source.position, bos=source.bos, store=_store)


def steering_view(
    model: Model, prompt: Tokens, direction: Direction, push: Push, progress: Progress
) -> SteeringView:
    """Compute the view part by part, or take its parts from this process' last ones."""
    from workbench.steering import random_like, unit_lengths

    started, opened = time.perf_counter(), time.time()
    scale = unit_lengths(model, direction, prompt)[push.unit]
    asked = Steering(model, prompt, direction, push, scale)
    strengths = strengths_around(push.strength)
    total, made, texts, points = 3 + len(strengths), [], [], []
    drawn = (push.seed, push.temperature, push.new_tokens)
    for done, (strength, name) in enumerate(((0.0, "plain"), (push.strength, "steered"))):
        progress(done, total, f"writing the {name} text")
        row, when = _text(asked.key, strength, drawn, asked)
        texts.append(row)
        made.append(when)
    for done, strength in enumerate(strengths, start=2):
        progress(done, total, f"KL at strength {strength:g}")
        point, when = _point(asked.key, strength, asked)
        points.append(point)
        made.append(when)
    progress(total - 1, total, "a random vector")
    control = replace(asked, direction=random_like(direction))
    baseline, when = _point(control.key, push.strength, control)
    fresh = max(*made, when) >= opened
    seconds = time.perf_counter() - started
    if fresh:
        _keep(asked, texts, seconds)
    return SteeringView(
        asked=asked,
        plain=texts[0],
        steered=texts[1],
        strengths=np.array(strengths),
        kl=np.array([point.mean_kl for point in points]),
        next=points[strengths.index(push.strength)],
        control=baseline,
        note=f"computed, {seconds:.2f} s" if fresh else "cached",
    )


@st.cache_resource(max_entries=64, show_spinner=False)
def _text(
    key: tuple[object, ...], strength: float, drawn: tuple[int, float, int], _asked: Steering
) -> tuple[Generation, float]:
    """A text and when it was made; `drawn` is seed, temperature and length."""
    from workbench.steering import steered_text

    row = steered_text(
        _asked.model,
        _asked.prompt,
        _asked.direction,
        strength,
        _asked.push.positions,
        scale=_asked.scale,
        seed=drawn[0],
        temperature=drawn[1],
        max_new_tokens=drawn[2],
    )
    return row, time.time()


@st.cache_resource(max_entries=512, show_spinner=False)
def _point(key: tuple[object, ...], strength: float, _asked: Steering) -> tuple[NextTokens, float]:
    """The next tokens at a strength, and when they were computed."""
    from workbench.steering import steered_change

    model, positions = _asked.model, _asked.push.positions
    change = steered_change(
        model, _asked.prompt, _asked.direction, strength, positions, scale=_asked.scale
    )
    return next_tokens(model, change), time.time()


def _keep(asked: Steering, texts: Sequence[Generation], seconds: float) -> None:
    from workbench import runs

    made = {"direction": asked.direction.made, "site": str(asked.direction.site)}
    runs.keep(
        runs.Record(
            kind="steer",
            model={"name": asked.model.name, **asdict(asked.model.identity)},
            tokens=[[*row.prompt.ids, *row.ids] for row in texts],
            arguments={**made, **asdict(asked.push)},
            device=str(asked.model.device),
            seconds=round(seconds, 4),
        )
    )

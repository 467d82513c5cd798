"""Texts under a direction of several strengths, side by side, and how far each moved the model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from workbench.directions import Direction, check_direction, from_tensor
from workbench.errors import InputError
from workbench.generation import Generation, generate
from workbench.interventions import Change, Positions, add, changed, mean_norm
from workbench.models import Model, Tokens


@dataclass(frozen=True)
class Steered:
    """What the model writes at one strength.

    `kl` is KL(plain || steered) of the next token in nats, the mean over a text's positions;
    `moved` how far the edit moved that text's activations (Frobenius norm).
    """

    strength: float
    generation: Generation
    kl: float
    moved: float


def compare_steered(
    model: Model,
    prompt: str | Tokens,
    direction: Direction,
    strengths: Sequence[float],
    *,
    positions: Positions = None,
    scale: float = 1.0,
    reference: str | Tokens | None = None,
    seed: int = 0,
    temperature: float = 0.0,
    max_new_tokens: int = 50,
    bos: bool | None = None,
    chat: bool = False,
) -> tuple[Steered, ...]:
    """The model's text at each strength, all drawn with the same seed, and how far it moved.

    Strengths and `positions` are those of `interventions.add`. The KL is taken on the prompt with
    the same positions steered; on a `reference` text, and with positions "new", with all
    positions steered. Strength 0 is the plain model. Raises `InputError` for no strength, and for
    a direction of another model.
    """
    if not strengths:
        raise InputError("no strength is given; give at least one, such as 0 and 4")
    check_direction(direction, model)

    def tokenized(text: str | Tokens) -> Tokens:
        return model.tokenize(text, bos=bos, chat=chat) if isinstance(text, str) else text

    prompt = tokenized(prompt)
    text, there = (prompt, positions) if reference is None else (tokenized(reference), None)
    found = []
    for strength in strengths:
        change = steered_change(model, text, direction, strength, there, scale=scale)
        row = steered_text(
            model,
            prompt,
            direction,
            strength,
            positions,
            scale=scale,
            seed=seed,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
        )
        moved = sum(far for _, far in change.moved)
        found.append(Steered(float(strength), row, change.mean_kl, moved))
    return tuple(found)


def steered_change(
    model: Model,
    text: Tokens,
    direction: Direction,
    strength: float,
    positions: Positions = None,
    *,
    scale: float = 1.0,
) -> Change:
    """What one strength changes in the predictions on a text.

    A text has no new tokens: with positions "new", all of its positions are steered. Raises
    `InputError` as `interventions.add` does, and for a direction of another model.
    """
    check_direction(direction, model)
    there = None if isinstance(positions, str) else positions
    change = changed(model, text.tensor(model.device), add(direction, strength, there, scale=scale))
    if strength:
        return change
    # The plain model itself: an edit can send it down another road, whose last bits differ.
    return replace(change, after=change.before, kl=torch.zeros_like(change.kl))


def steered_text(
    model: Model,
    prompt: Tokens,
    direction: Direction,
    strength: float,
    positions: Positions = None,
    *,
    scale: float = 1.0,
    seed: int = 0,
    temperature: float = 0.0,
    max_new_tokens: int = 50,
) -> Generation:
    """What the model writes after a prompt at one strength; at 0, without an edit."""
    (row,) = generate(
        model,
        prompt,
        edits=[add(direction, strength, positions, scale=scale)] if strength else [],
        seed=seed,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
    )
    return row


def unit_lengths(model: Model, direction: Direction, text: Tokens) -> dict[str, float]:
    """How long a strength of 1 is, by unit.

    made: the norm of the difference that the direction was made from; norm: the mean norm of the
    text's activations at its site; absolute: 1. Raises `InputError` for a text of BOS alone.
    """
    norm = mean_norm(model, direction.site, text)
    return {"made": direction.norm, "norm": norm, "absolute": 1.0}


def random_like(direction: Direction, *, seed: int = 0) -> Direction:
    """A control: a direction drawn at random, with the site, width and norm of another."""
    drawn = torch.randn(len(direction.unit), generator=torch.Generator().manual_seed(seed))
    made = f"drawn at random, seed {seed}"
    random = from_tensor(drawn, direction.site, name="random", made=made, model=None)
    return replace(random, norm=direction.norm)

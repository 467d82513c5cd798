"""Texts under a direction of several strengths, side by side, and how far each moved the model."""

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.directions import Direction, check_direction
from workbench.errors import InputError
from workbench.generation import Generation, generate
from workbench.interventions import Positions, add, changed
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
    text = prompt if reference is None else tokenized(reference)
    there = positions if reference is None and not isinstance(positions, str) else None
    found = []
    for strength in strengths:
        change = changed(
            model, text.tensor(model.device), add(direction, strength, there, scale=scale)
        )
        (row,) = generate(
            model,
            prompt,
            # No edit at 0: one can send the model down another road, whose last bits differ.
            edits=[add(direction, strength, positions, scale=scale)] if strength else [],
            seed=seed,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
        )
        moved = sum(far for _, far in change.moved)
        found.append(Steered(float(strength), row, change.mean_kl if strength else 0.0, moved))
    return tuple(found)

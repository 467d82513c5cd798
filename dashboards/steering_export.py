"""The files of the Steering page, and the figure that it shows."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards.ablation_export import PROMPT, TOPS, rows, token_figure
from dashboards.exports import Export, Made, tidy
from dashboards.steering_box import Source
from dashboards.steering_view import SteeringView

if TYPE_CHECKING:  # Plotly loads with the page, not before
    from workbench.directions import Direction
    from workbench.figures import Figure

TEXTS = """rows = compare_steered(
    model, prompt, direction, [0.0, strength], positions=positions, scale=scale,
    seed={seed}, temperature={temperature}, max_new_tokens={new_tokens},
)
for row in rows:
    print(f"strength {{row.strength:g}}: {{row.generation.text!r}}")"""
CURVE = """strengths = {strengths}
changes = (
    steered_change(model, prompt, direction, one, positions, scale=scale) for one in strengths
)
kl = tensor([change.mean_kl for change in changes])
for one, nats in zip(strengths, kl):
    print(f"{{one:g}}: KL {{nats:.4f}}")
random = random_like(direction)
control = steered_change(model, prompt, random, strength, positions, scale=scale)
print(f"a random vector of the same length: KL {{control.mean_kl:.4f}}")
change = steered_change(model, prompt, direction, strength, positions, scale=scale)"""


def curve(view: SteeringView) -> Figure:
    """The page's picture: KL by strength."""
    from workbench.figures import strength_curve

    push, scale = view.asked.push, view.asked.scale
    axis = "strength" if push.unit == "absolute" else f"strength (1 = a length of {scale:.3g})"
    title = f"KL by strength: {view.next.mean_kl:.3f} nats at {push.strength:g}"
    return strength_curve(
        view.strengths,
        view.kl,
        chosen=push.strength,
        control=view.control.mean_kl,
        axis=axis,
        title=title,
    )


def steering_export(view: SteeringView, made: Made, source: Source) -> Export:
    """The curve, the next tokens and the two texts."""
    title = f"Steering: {view.about}"
    texts = ((0.0, view.plain), (view.asked.push.strength, view.steered))
    return Export(
        file=f"{made.file} {view.asked.direction.site} {view.asked.push.strength:g}",
        title=title,
        note=f"{view.sum}. {made.note}. Plain: {view.plain.text!r}. Steered: {view.steered.text!r}",
        tables={
            "curve": lambda: tidy({"KL in nats": view.kl}, {"strength": view.strengths.tolist()}),
            "next tokens": lambda: rows(view.next),
            "texts": lambda: [
                ("strength", "text"),
                *((f"{strength:g}", row.text) for strength, row in texts),
            ],
        },
        figures=lambda: [curve(view), token_figure(view.next, f"Next token, {view.length}")],
        script=made.script(title, *_script(view, source)),
    )


def safetensors(direction: Direction) -> bytes:
    """The direction's own file, as `load_direction` reads it."""
    from workbench.directions import save_direction

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "direction"
        save_direction(direction, path)
        return path.read_bytes()


def _script(view: SteeringView, source: Source) -> tuple[Sequence[str], Sequence[str]]:
    """What the script imports, and its lines."""
    push = view.asked.push
    names = ["torch:tensor", "workbench.metrics:top_tokens", "workbench.models:from_ids"]
    names += [
        f"workbench.steering:{n}"
        for n in ("compare_steered", "random_like", "steered_change", "unit_lengths")
    ]
    if source.file:
        names += ["workbench.directions:load_direction", "pathlib:Path"]
        made = f"load_direction(Path({source.file!r}), model)  # the file given to the page"
    else:
        names.append("workbench.directions:between")
        made = (
            f"between(\n    model, {source.wanted!r}, {source.against!r},\n    "
            f"{str(view.asked.direction.site)!r}, position={source.position}, bos={source.bos},\n)"
        )
    return names, [
        PROMPT.format(bos=view.asked.prompt.bos),
        f"direction = {made}",
        f"scale = unit_lengths(model, direction, prompt)[{push.unit!r}]",
        f"positions, strength = {push.positions!r}, {push.strength!r}",
        TEXTS.format(**vars(push)),
        CURVE.format(strengths=view.strengths.tolist()),
        TOPS,
    ]

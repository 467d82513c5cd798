"""`workbench weights`: what a head's weights can do, without a prompt."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.commands import options, output
from workbench.errors import InputError
from workbench.registry import Command
from workbench.sites import Head

if TYPE_CHECKING:  # torch must not load for --help
    from torch import Tensor

    from workbench.circuits import Circuit
    from workbench.models import Model

_ENDS = {"OV": ("attended token", "written to the logits"), "QK": ("query token", "key token")}


def configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "head", nargs="?", help="such as L18H6; without one, the copying scores of all heads"
    )
    parser.add_argument("--top", type=int, default=6, help="heads listed (6)")
    parser.add_argument("--directions", type=int, default=3, help="singular directions (3)")
    parser.add_argument("--tokens", type=int, default=6, help="tokens at each of their ends (6)")
    parser.add_argument(
        "--distance", type=int, default=0, help="of the key before the query, if rotary (0)"
    )
    options.add_model(parser)
    options.add_output(parser)


def run(arguments: Namespace) -> int:
    if min(arguments.top, arguments.directions, arguments.tokens) < 1:
        raise InputError("--top, --directions and --tokens take whole numbers from 1")
    head = Head.parse(arguments.head) if arguments.head else None
    if head is None and arguments.distance:
        raise InputError("--distance is of one head's QK circuit; name a head, such as L5H1")
    model = options.open_model(arguments)
    started = time.perf_counter()
    note = f"{model.name}, {model.processing}"
    plots = _all(arguments, model, note) if head is None else _one(arguments, model, head, note)
    if arguments.html:
        from workbench.figures import page  # Plotly loads here, not for --help

        output.write_html(arguments.html, page(plots, title="Weights of heads", note=note))
    files = [arguments.html] if arguments.html else []
    output.record("weights", model, [], arguments, time.perf_counter() - started, files)
    return 0


def _all(arguments: Namespace, model: Model, note: str) -> list[Any]:
    """The copying scores of all heads."""
    from workbench.circuits import copying_scores

    scores = copying_scores(model).cpu()
    title = f"copying scores, from embedding to logits: {note}"
    if arguments.json:
        output.dump({**_about(model), "copying": scores.tolist()})
    else:
        up, down = (
            [f"{head} {score * sign:+.3f}" for head, score in _best(scores * sign, arguments.top)]
            for sign in (1, -1)
        )
        rows = list(zip(up, down, strict=True))
        output.table(title, ["most: raise what they attend to", "least: lower it"], rows)
    if not arguments.html:
        return []
    from workbench.figures import grid

    names = [
        [f"{letter}{i}" for i in range(n)] for letter, n in zip("LH", scores.shape, strict=True)
    ]
    axes = ("layer", "head")
    plot = grid(scores.numpy(), names[0], names[1], axes=axes, name="copying", title=title)
    return [plot]


@dataclass(frozen=True)
class _Weights:
    """What is told of one head."""

    head: Head
    copying: float
    eigenvalues: Tensor
    norms: dict[str, float]
    distance: int | None
    directions: dict[str, list[dict[str, Any]]]
    sides: dict[str, Tensor]
    partners: dict[str, list[tuple[Head, float]]]
    baseline: float


def _one(arguments: Namespace, model: Model, head: Head, note: str) -> list[Any]:
    """One head's circuits and partners."""
    from workbench import circuits

    pair = circuits.ov(model, head), circuits.qk(model, head, distance=arguments.distance)
    if arguments.distance and pair[1].distance is None:
        raise InputError(f"{model.name} has no rotary positions; leave --distance out")
    values = circuits.eigenvalues(model, head)
    partners = circuits.partners(model, head)
    sides = {"earlier": partners.earlier.cpu(), "later": partners.later.cpu()}
    found = _Weights(
        head=head,
        copying=float(circuits.copying_score(values)),
        eigenvalues=values.cpu(),
        norms={circuit.kind: float(circuit.matrix.norm()) for circuit in pair},
        distance=pair[1].distance,
        directions={circuit.kind: _directions(arguments, model, circuit) for circuit in pair},
        sides=sides,
        partners={
            f"{kind} {side}": _best(scores[row], arguments.top)
            for side, scores in sides.items()
            for row, kind in enumerate(circuits.COMPOSITIONS)
        },
        baseline=partners.baseline,
    )
    if arguments.json:
        _dump(found, model)
    else:
        _tell(found, note, arguments.top)
    return _plots(found) if arguments.html else []


def _dump(found: _Weights, model: Model) -> None:
    output.dump(
        {
            **_about(model),
            "head": str(found.head),
            "copying": found.copying,
            "eigenvalues": [[value.real, value.imag] for value in found.eigenvalues.tolist()],
            "norms": found.norms,
            "distance": found.distance,
            "directions": found.directions,
            "partners": {
                name: [[str(head), score] for head, score in heads]
                for name, heads in found.partners.items()
            },
            "baseline": found.baseline,
        }
    )


def _tell(found: _Weights, note: str, top: int) -> None:
    output.say(f"{found.head}, {note}: copying score {found.copying:+.3f}")
    apart = {None: "", 0: ", not rotated"}.get(
        found.distance, f", key {found.distance} positions before"
    )
    for kind, rows in found.directions.items():
        about = f"{kind}{apart if kind == 'QK' else ''}, norm {found.norms[kind]:.3g}"
        cells = [
            [f"{row['value']:.3g}", sign, " ".join(left), " ".join(right)]
            for row in rows
            for sign, left, right in zip("+-", row["left"], row["right"], strict=True)
        ]
        output.table(f"{about}: singular directions", ["value", "sign", *_ENDS[kind]], cells)
    rows = [
        [name, *(f"{head} {score:.3f}" for head, score in heads)]
        for name, heads in found.partners.items()
        if heads
    ]
    title = f"composition with other heads; {found.baseline:.3f} if turned at random"
    output.table(title, ["through", *["head"] * top], rows)


def _plots(found: _Weights) -> list[Any]:
    from workbench.circuits import COMPOSITIONS
    from workbench.figures import eigenvalues, head_scores

    title = f"{found.head}, W_E OV W_U: copying score {found.copying:+.3f}"
    plots = [eigenvalues(found.eigenvalues.numpy(), title=title)]
    for side, scores in found.sides.items():
        for kind, grid in zip(COMPOSITIONS, scores, strict=True):
            if not bool(grid.isnan().all()):
                title = f"{kind}-composition of {found.head} with {side} heads"
                plots.append(head_scores(grid.numpy(), name=kind, title=title, least=0.0))
    return plots


def _directions(arguments: Namespace, model: Model, circuit: Circuit) -> list[dict[str, Any]]:
    """Each singular direction's value, and the tokens at its ends by sign."""
    from workbench.circuits import directions
    from workbench.models import visible

    found = directions(model, circuit, count=arguments.directions, k=arguments.tokens)

    def words(ids: Tensor, scores: Tensor) -> list[list[str]]:
        """The tokens of each sign; where a direction means nothing to tokens, none."""
        return [
            [
                visible(model.vocabulary.string(token))
                for token, score in zip(*row, strict=True)
                if score * sign > 0
            ]
            for sign, *row in zip((1, -1), ids.tolist(), scores.tolist(), strict=True)
        ]

    columns = found.left_ids, found.left_scores, found.right_ids, found.right_scores
    return [
        {"value": float(value), "left": words(*ends[:2]), "right": words(*ends[2:])}
        for value, *ends in zip(found.values, *columns, strict=True)
    ]


def _about(model: Model) -> dict[str, str]:
    return {
        "model": model.name,
        "fingerprint": model.identity.fingerprint,
        "processing": model.processing,
    }


def _best(scores: Tensor, top: int) -> list[tuple[Head, float]]:
    """The heads with the highest scores, those without one left out."""
    heads = [
        (Head(layer, head), float(score))
        for layer, row in enumerate(scores)
        for head, score in enumerate(row)
        if not bool(score.isnan())
    ]
    return sorted(heads, key=lambda found: -found[1])[:top]


COMMAND = Command("what a head's weights can do: OV, QK, copying, composition", configure, run)

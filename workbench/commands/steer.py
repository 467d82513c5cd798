"""`workbench steer`: what the model writes with a direction added, one strength beside another."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.commands import options, output
from workbench.commands.ablate import whole_numbers
from workbench.errors import InputError
from workbench.registry import Command, named

if TYPE_CHECKING:  # torch must not load for --help
    from workbench.directions import Direction
    from workbench.models import Model
    from workbench.steering import Steered

UNITS = ("absolute", "norm", "made")


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("prompt", help="the text to write on from")
    group = parser.add_argument_group("direction")
    group.add_argument(
        "--from",
        dest="wanted",
        action="append",
        metavar="TEXT",
        help="what to steer to (may be repeated)",
    )
    group.add_argument(
        "--against", action="append", metavar="TEXT", help="what to steer away from (may be too)"
    )
    group.add_argument("--site", help="where, for example 12.resid_post")
    group.add_argument(
        "--at", default="-1", help="position of the texts that is read, or all (default: the last)"
    )
    group.add_argument(
        "--direction",
        metavar="FILE",
        help="instead: one kept in a file, or a latent of an SAE, sae:NAME/123",
    )
    group.add_argument("--save", type=Path, metavar="FILE", help="keep the direction in a file")
    parser.add_argument(
        "--strength", default="-1,0,1", help="with commas between: --strength=-4,0,4 (%(default)s)"
    )
    parser.add_argument(
        "--unit",
        choices=UNITS,
        default="made",
        help="of strength: the norm that the direction was made with (a difference's own, a "
        "latent's largest activation), the prompt's mean norm at the site, or absolute "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--positions", metavar="N,N", help="steer these of the prompt, or `new` tokens (all)"
    )
    parser.add_argument("--reference", metavar="TEXT", help="take the KL on this, not the prompt")
    parser.add_argument("--seed", type=int, default=0, help="seed of every draw (0)")
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="of the draw; 0 takes the likeliest (0)"
    )
    parser.add_argument("--max-new-tokens", type=int, default=40, help="new tokens at most (40)")
    options.add_prompt(parser)
    options.add_model(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: Namespace) -> int:
    strengths, positions = _strengths(arguments.strength), _positions(arguments)
    _check(arguments)
    # torch loads here, not for --help
    from workbench.directions import save_direction
    from workbench.steering import compare_steered, unit_lengths

    model = options.open_model(arguments)
    tokens = model.tokenize(arguments.prompt, bos=options.bos(arguments), chat=arguments.chat)
    started = time.perf_counter()
    if arguments.direction is None:
        direction = _made(arguments, model)
    else:
        direction = _named(arguments.direction, model)
    if arguments.save is not None:
        save_direction(direction, arguments.save)
    lengths = unit_lengths(model, direction, tokens)
    norm, scale = lengths["norm"], lengths[arguments.unit]
    rows = compare_steered(
        model,
        tokens,
        direction,
        strengths,
        positions=positions,
        scale=scale,
        reference=arguments.reference,
        seed=arguments.seed,
        temperature=arguments.temperature,
        max_new_tokens=arguments.max_new_tokens,
        bos=options.bos(arguments),
    )
    seconds = time.perf_counter() - started

    if arguments.json:
        output.dump(_described(model, direction, rows, arguments, norm, scale))
    else:
        _tell(model, direction, rows, arguments, norm)
        output.say(f"{seconds:.2f} s")
    ids = [(*row.generation.prompt.ids, *row.generation.ids) for row in rows]
    output.record(
        "steer", model, ids, arguments, seconds, [arguments.save] if arguments.save else []
    )
    return 0


def _strengths(text: str) -> list[float]:
    try:
        return [float(one) for one in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"--strength {text!r} should be numbers with commas between, such as 0,2,4"
        ) from error


def _positions(arguments: Namespace) -> tuple[int, ...] | Literal["new"] | None:
    return "new" if arguments.positions == "new" else whole_numbers(arguments, "positions")


def _check(arguments: Namespace) -> None:
    given = [arguments.wanted, arguments.against, arguments.site]
    if arguments.direction is None and None in given:
        raise InputError(
            "give --from, --against and --site, or a --direction: a FILE or sae:NAME/123"
        )
    if arguments.direction is not None and given != [None] * 3:
        raise InputError(
            "--direction has its own site and texts; leave --from, --against and --site out"
        )
    if arguments.save is not None and (
        arguments.save.is_dir() or not arguments.save.resolve().parent.is_dir()
    ):
        raise InputError(f"cannot write {arguments.save}: give a file in a folder that exists")


def _named(text: str, model: Model) -> Direction:
    """A direction in a file, or one that a plugin knows by what stands before the colon."""
    from workbench.directions import load_direction

    sort, colon, name = text.partition(":")
    if not colon or Path(text).exists():
        return load_direction(Path(text), model)
    return named("directions", sort)(name, model)


def _made(arguments: Namespace, model: Model) -> Direction:
    from workbench.directions import between

    try:
        position = None if arguments.at == "all" else int(arguments.at)
    except ValueError as error:
        raise InputError(
            f"--at {arguments.at!r} should be a position, such as -1, or all"
        ) from error
    return between(
        model,
        arguments.wanted,
        arguments.against,
        arguments.site,
        position=position,
        bos=options.bos(arguments),
    )


def _described(
    model: Model,
    direction: Direction,
    rows: Sequence[Steered],
    arguments: Namespace,
    norm: float,
    scale: float,
) -> dict[str, Any]:
    return {
        "model": model.name,
        "fingerprint": model.identity.fingerprint,
        "direction": {
            "name": direction.name,
            "site": str(direction.site),
            "norm": direction.norm,
            "made": direction.made,
        },
        "unit": {"name": arguments.unit, "length": scale},
        "mean_norm_of_the_prompt": norm,
        "seed": arguments.seed,
        "temperature": arguments.temperature,
        "rows": [
            {
                "strength": row.strength,
                "kl": row.kl,
                "moved": row.moved,
                "text": row.generation.text,
                "ids": list(row.generation.ids),
                "stopped": row.generation.stopped,
            }
            for row in rows
        ],
    }


def _tell(
    model: Model,
    direction: Direction,
    rows: Sequence[Steered],
    arguments: Namespace,
    norm: float,
) -> None:
    # Not the table's title, which would wrap at the width of short texts.
    output.say(
        f"{model.name}, {model.processing}: {direction.name} at {direction.site}, "
        f"{arguments.unit} strength"
    )
    output.table(
        "",
        ["strength", "KL (nats)", "text"],
        [[f"{row.strength:g}", f"{row.kl:.4f}", row.generation.text] for row in rows],
    )
    output.say(
        f"KL(plain || steered) on the {'prompt' if arguments.reference is None else 'reference'}; "
        f"the activations there have mean norm {norm:.3g} on the prompt, the direction as made "
        f"{direction.norm:.3g} ({direction.made})"
    )
    if still := [f"{row.strength:g}" for row in rows if row.strength and row.moved == 0]:
        output.say(f"strength {', '.join(still)} moved nothing: too small for this precision")


COMMAND = Command("text with a direction added, one strength beside another", configure, run)

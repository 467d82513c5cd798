"""`workbench generate`: the model writes on, as it is or without some of its heads."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from workbench.commands import options, output
from workbench.errors import InputError
from workbench.registry import Command
from workbench.sites import Head, Site

if TYPE_CHECKING:  # torch must not load for --help
    from collections.abc import Iterable

    from workbench.generation import Generation
    from workbench.models import Model


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("prompt", help="the text to write on from")
    parser.add_argument("--max-tokens", type=int, default=50, help="new tokens at most (50)")
    parser.add_argument("--n", type=int, default=1, help="samples (1)")
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="of the draw; 0 takes the likeliest (0)"
    )
    parser.add_argument("--top-k", type=int, help="draw from the K likeliest tokens")
    parser.add_argument(
        "--top-p", type=float, help="draw from the fewest tokens that hold probability P"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (0)")
    parser.add_argument(
        "--stop", action="append", default=[], help="end at this token too (may be repeated)"
    )
    parser.add_argument(
        "--ablate",
        action="append",
        default=[],
        metavar="HEAD",
        help="set a head's z to zero, for example L5H1 (may be repeated)",
    )
    options.add_prompt(parser)
    options.add_model(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(arguments: Namespace) -> int:
    heads = [Head.parse(text) for text in arguments.ablate]
    if arguments.n < 1:
        raise InputError("--n takes a whole number from 1")
    if arguments.n > 1 and arguments.temperature == 0:
        raise InputError("samples without a temperature are all alike; give --temperature or --n 1")
    # torch loads here, not for --help
    import torch

    from workbench.generation import stream
    from workbench.hooks import Edit

    model = options.open_model(arguments)
    started = time.perf_counter()
    steps = stream(
        model,
        [arguments.prompt] * arguments.n,
        max_new_tokens=arguments.max_tokens,
        edits=[Edit(Site("z", h.layer, h.head), torch.zeros_like) for h in heads],
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        seed=arguments.seed,
        stop=arguments.stop,
        bos=options.bos(arguments),
        chat=arguments.chat,
    )
    rows = _last(steps) if arguments.json else _shown(steps)
    seconds = time.perf_counter() - started
    if arguments.json:
        output.dump(_described(model, rows, arguments, heads))
    else:
        output.say(_note(model, rows, arguments, heads, seconds))
    output.record(
        "generate", model, [(*row.prompt.ids, *row.ids) for row in rows], arguments, seconds
    )
    return 0


def _last(steps: Iterable[tuple[Generation, ...]]) -> tuple[Generation, ...]:
    *_, rows = steps
    return rows


def _shown(steps: Iterable[tuple[Generation, ...]]) -> tuple[Generation, ...]:
    """Write the text as it comes: one sample, then what the next has by then, and so on."""
    present, written, rows = 0, 0, ()
    for rows in steps:
        while present < len(rows):
            row = rows[present]
            if written == 0 and len(rows) > 1:
                _write(f"--- sample {present + 1}\n")
            # A character whose last bytes are still to come reads U+FFFD until then.
            text = row.text if row.stopped else row.text.rstrip("\ufffd")
            _write(text[written:])
            written = max(written, len(text))
            if row.stopped is None:
                break
            _write("\n")
            present, written = present + 1, 0
    return rows


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _note(
    model: Model,
    rows: tuple[Generation, ...],
    arguments: Namespace,
    heads: list[Head],
    seconds: float,
) -> str:
    """One line on what was run."""
    how = "greedy"
    if arguments.temperature:
        drawn = {"top-k": arguments.top_k, "top-p": arguments.top_p, "seed": arguments.seed}
        said = [f"{name} {value}" for name, value in drawn.items() if value is not None]
        how = ", ".join([f"temperature {arguments.temperature:g}", *said])
    without = f", without {', '.join(map(str, heads))}" if heads else ""
    new = " and ".join(f"{len(row.ids)} ({row.stopped})" for row in rows)
    return (
        f"{model.name}, {model.processing}{without}, {how}: {len(rows[0].prompt)} tokens, new "
        f"{new}; {sum(len(row.ids) for row in rows) / seconds:.1f} tokens/s"
    )


def _described(
    model: Model, rows: tuple[Generation, ...], arguments: Namespace, heads: list[Head]
) -> dict[str, object]:
    names = ("temperature", "top_k", "top_p", "seed", "max_tokens", "stop")
    return {
        "model": model.name,
        "fingerprint": model.identity.fingerprint,
        "ablated": [str(head) for head in heads],
        "settings": {name: getattr(arguments, name) for name in names},
        "prompt": {"text": rows[0].prompt.text, "tokens": list(rows[0].prompt.strings)},
        "samples": [
            {
                "text": row.text,
                "tokens": list(row.strings),
                "ids": list(row.ids),
                "stopped": row.stopped,
            }
            for row in rows
        ],
    }


COMMAND = Command("what the model writes after a prompt, greedy or sampled", configure, run)

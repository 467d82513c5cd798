"""`workbench capture`: activations of a file of prompts, kept in the store."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections import defaultdict
from pathlib import Path

from workbench.commands import options, output
from workbench.errors import InputError
from workbench.registry import Command


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="UTF-8 text, one prompt on each line")
    parser.add_argument(
        "--sites",
        default="*.resid_post",
        help="sites, with commas between: names, globs, ranges (default: %(default)s)",
    )
    parser.add_argument("--batch", type=int, default=8, help="prompts in one forward (8)")
    options.add_prompt(parser)
    options.add_model(parser)
    options.add_store(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(arguments: Namespace) -> int:
    if arguments.batch < 1:
        raise InputError("--batch takes a whole number from 1")
    prompts = _prompts(arguments.file)
    # torch loads here, not for --help
    import torch
    from rich.console import Console
    from rich.progress import track

    from workbench import hooks
    from workbench.cache import capture
    from workbench.sites import expand

    model, store = options.open_model(arguments), options.open_store(arguments)
    sites = expand([name.strip() for name in arguments.sites.split(",")], hooks.sites(model))
    by_length = defaultdict(list)
    for prompt in prompts:
        tokens = model.tokenize(prompt, bos=options.bos(arguments), chat=arguments.chat)
        by_length[len(tokens)].append(tokens.ids)
    batches = [
        torch.tensor(rows[start : start + arguments.batch], device=model.device)
        for rows in by_length.values()
        for start in range(0, len(rows), arguments.batch)
    ]
    started = time.perf_counter()
    cached = asked = n_bytes = 0
    bar = Console(file=sys.stderr)
    for ids in track(batches, "capturing", console=bar, transient=True):
        taken = capture(model, ids, sites, store)
        cached, asked = cached + taken.cached, asked + taken.asked
        n_bytes += sum(tensor.nbytes for tensor in taken.activations.values())
    seconds = time.perf_counter() - started
    outcome = {
        "prompts": len(prompts),
        "sites": len(sites),
        "activations": asked,
        "already stored": cached,
        "MB": round(n_bytes / 1e6, 3),
        "seconds": round(seconds, 2),
        "store": str(store.folder),
    }
    if arguments.json:
        output.dump(outcome)
    else:
        output.table(f"captured: {model.name}", ["what", "value"], list(outcome.items()))
    rows = [list(row) for rows in by_length.values() for row in rows]
    output.record("capture", model, rows, arguments, seconds, [store.folder])
    return 0


def _prompts(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8 and try again"
        ) from error
    prompts = [line for line in text.splitlines() if line.strip()]
    if not prompts:
        raise InputError(f"{path} holds no prompt; write one on each line")
    return prompts


COMMAND = Command("store the activations of a file of prompts", configure, run)

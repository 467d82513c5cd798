"""`workbench lens`: what every layer would predict."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands import options, output
from workbench.errors import InputError
from workbench.registry import Command

if TYPE_CHECKING:  # torch must not load for --help
    from workbench.lens import Lens
    from workbench.models import Model, Tokens


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("prompt", help="the text to run")
    parser.add_argument("--token", help="follow this token's rank and probability at the end")
    parser.add_argument("--columns", type=int, default=6, help="last positions in the table (6)")
    parser.add_argument(
        "--tuned", action="store_true", help="the tuned lens that `workbench tune` trained"
    )
    parser.add_argument("--lens", metavar="NAME", help="a tuned lens kept under another name")
    options.add_prompt(parser)
    options.add_model(parser)
    options.add_store(parser)
    options.add_output(parser)


def run(arguments: Namespace) -> int:
    # torch loads here, not for --help
    from rich.console import Console
    from rich.progress import track

    from workbench.lens import lens, load_lens, residuals

    if arguments.columns < 1:
        raise InputError("--columns takes a whole number from 1")
    model, store = options.open_model(arguments), options.open_store(arguments)
    is_tuned = arguments.tuned or arguments.lens is not None
    unembed = load_lens(model, arguments.lens) if is_tuned else model.unembed
    tokens = model.tokenize(arguments.prompt, bos=options.bos(arguments), chat=arguments.chat)
    traced = None if arguments.token is None else model.token_id(arguments.token)
    started = time.perf_counter()
    resid, taken = residuals(model, tokens.tensor(model.device), store)
    bar = Console(file=sys.stderr)
    found = lens(
        resid,
        unembed,
        traced=traced,
        progress=lambda layers: track(list(layers), "layers", console=bar, transient=True),
    )
    seconds = time.perf_counter() - started

    name = "tuned lens" if is_tuned else "logit lens"
    note = f"{model.name}, {model.processing}, {len(tokens)} tokens"
    if arguments.json:
        output.dump({"lens": name, **_plain(found, model, tokens)})
    else:
        _table(f"{name}, top-1 and probability: {note}", found, model, tokens, arguments.columns)
        cached = "residuals cached" if taken.whole else "computed"
        output.say(f"{cached}, {seconds:.2f} s")
    if arguments.html:
        _write(arguments.html, name, note, found, model, tokens)
    files = [arguments.html] if arguments.html else []
    output.record("lens", model, [tokens.ids], arguments, seconds, files)
    return 0


def _plain(found: Lens, model: Model, tokens: Tokens) -> dict[str, Any]:
    string = model.vocabulary.string
    return {
        "model": model.name,
        "fingerprint": model.identity.fingerprint,
        "tokens": list(tokens.strings),
        "chat_template_positions": sorted(tokens.template),
        "layers": found.layers,
        "top": [[[string(i) for i in ids] for ids in row] for row in found.top_ids.tolist()],
        "probability": found.top_probs.tolist(),
        "entropy": found.entropy.tolist(),
        "kl": found.kl.tolist(),
        "traced": [string(i) for i in found.traced.tolist()],
        "traced_rank": found.rank.tolist(),
        "traced_probability": found.prob.tolist(),
    }


def _top(found: Lens, model: Model) -> list[list[str]]:
    from workbench.models import visible

    rows = found.top_ids[:, :, 0].tolist()
    return [[visible(model.vocabulary.string(i)) for i in row] for row in rows]


def _table(title: str, found: Lens, model: Model, tokens: Tokens, columns: int) -> None:
    from workbench.models import visible

    top = _top(found, model)
    shown = range(max(0, len(tokens) - columns), len(tokens))
    rows = [
        [
            label,
            *(f"{top[row][pos]} {found.top_probs[row, pos, 0]:.2f}" for pos in shown),
            f"{int(found.rank[row, -1])} ({float(found.prob[row, -1]):.3f})",
        ]
        for row, label in reversed(list(enumerate(found.layers)))
    ]
    followed = visible(model.vocabulary.string(int(found.traced[-1])))
    output.table(
        f"{title}; positions {shown[0]} to {shown[-1]}",
        ["after", *(f"{tokens.labels[p]} ({p})" for p in shown), f"rank (p) of {followed}"],
        rows,
    )


def _write(path: Path, name: str, note: str, found: Lens, model: Model, tokens: Tokens) -> None:
    from workbench import figures

    plot = figures.lens(
        found.top_probs[:, :, 0].cpu().numpy(),
        top=_top(found, model),
        tokens=tokens.labels,
        layers=found.layers,
        name="probability",
        title=f"{name}: {note}",
    )
    page = figures.page([plot], title=name.capitalize(), note=f"{note}: {tokens.text}")
    output.write_html(path, page)


COMMAND = Command("the logit or tuned lens over layers and positions of a prompt", configure, run)

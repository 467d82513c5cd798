"""`workbench lens`: what every layer would predict."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace

from workbench.commands import options, output
from workbench.errors import InputError
from workbench.registry import Command


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("prompt", help="the text to run")
    parser.add_argument("--token", help="follow this token's rank and probability at the end")
    parser.add_argument("--columns", type=int, default=6, help="last positions in the table (6)")
    options.add_prompt(parser)
    options.add_model(parser)
    options.add_store(parser)
    options.add_output(parser)


def run(arguments: Namespace) -> int:
    # torch loads here, not for --help
    from rich.console import Console
    from rich.progress import track

    from workbench import figures
    from workbench.lens import lens, residuals, token_id
    from workbench.models import visible

    if arguments.columns < 1:
        raise InputError("--columns takes a whole number from 1")
    model, store = options.open_model(arguments), options.open_store(arguments)
    tokens = model.tokenize(arguments.prompt, bos=options.bos(arguments), chat=arguments.chat)
    traced = None if arguments.token is None else token_id(model, arguments.token)
    started = time.perf_counter()
    resid, taken = residuals(model, tokens.tensor(model.device), store)
    bar = Console(file=sys.stderr)
    found = lens(
        resid,
        model.unembed,
        traced=traced,
        progress=lambda layers: track(list(layers), "layers", console=bar, transient=True),
    )
    seconds = time.perf_counter() - started

    top = [
        [visible(model.vocabulary.string(i)) for i in row]
        for row in found.top_ids[:, :, 0].tolist()
    ]
    note = f"{model.name}, {model.processing}, {len(tokens)} tokens"
    if arguments.json:
        output.dump(
            {
                "model": model.name,
                "fingerprint": model.identity.fingerprint,
                "tokens": list(tokens.strings),
                "chat_template_positions": sorted(tokens.template),
                "layers": found.layers,
                "top": [
                    [[model.vocabulary.string(i) for i in ids] for ids in row]
                    for row in found.top_ids.tolist()
                ],
                "probability": found.top_probs.tolist(),
                "entropy": found.entropy.tolist(),
                "kl": found.kl.tolist(),
                "traced": [model.vocabulary.string(i) for i in found.traced.tolist()],
                "traced_rank": found.rank.tolist(),
                "traced_probability": found.prob.tolist(),
            }
        )
    else:
        first = max(0, len(tokens) - arguments.columns)
        rows = [
            [
                label,
                *(
                    f"{top[row][pos]} {found.top_probs[row, pos, 0]:.2f}"
                    for pos in range(first, len(tokens))
                ),
                f"{int(found.rank[row, -1])} ({float(found.prob[row, -1]):.3f})",
            ]
            for row, label in reversed(list(enumerate(found.layers)))
        ]
        followed = visible(model.vocabulary.string(int(found.traced[-1])))
        columns = [f"{tokens.labels[p]} ({p})" for p in range(first, len(tokens))]
        output.table(
            f"logit lens, top-1 and probability: {note}; positions {first} to {len(tokens) - 1}",
            ["after", *columns, f"rank (p) of {followed}"],
            rows,
        )
        cached = "residuals cached" if taken.whole else "computed"
        output.say(f"{cached}, {seconds:.2f} s")
    if arguments.html:
        plot = figures.lens(
            found.top_probs[:, :, 0].cpu().numpy(),
            top=top,
            tokens=tokens.labels,
            layers=found.layers,
            name="probability",
            title=f"logit lens: {note}",
        )
        output.write_html(
            arguments.html, figures.page([plot], title="Logit lens", note=f"{note}: {tokens.text}")
        )
    files = [arguments.html] if arguments.html else []
    output.record("lens", model, [tokens.ids], arguments, seconds, files)
    return 0


COMMAND = Command("the logit lens over layers and positions of a prompt", configure, run)

"""`workbench tune`: train a tuned lens for a model, and compare it with the logit lens."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.commands import options, output
from workbench.commands.corpus import add_bos, add_corpus, open_corpus
from workbench.registry import Command

RECIPE = ("steps", "positions", "start_tokens", "learning_rate", "seed")
LENSES = ("logit", "tuned")


def configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--corpus",
        default="shakespeare",
        help="built-in name, file, folder or Hub data set (default: %(default)s)",
    )
    parser.add_argument("--name", help="keep it under this name (default: the model's own)")
    group = parser.add_argument_group("training")
    group.add_argument("--steps", type=int, help="steps down the KL after least squares (160)")
    group.add_argument("--positions", type=int, help="positions in a step (64)")
    group.add_argument(
        "--start-tokens", type=int, metavar="N", help="tokens for least squares (65,536)"
    )
    group.add_argument("--learning-rate", type=float, metavar="RATE", help="of Adam (3e-4)")
    group.add_argument("--seed", type=int, help="of all draws (0)")
    add_corpus(parser)
    add_bos(parser)
    options.add_model(parser)
    options.add_output(parser)


def run(arguments: Namespace) -> int:
    # torch loads here, not for --help
    from workbench.lens import (
        Recipe,
        default_name,
        divided,
        lens_folder,
        save_lens,
        settled,
        train,
        untrained,
    )

    given = {name: getattr(arguments, name) for name in RECIPE}
    recipe = Recipe(**{name: value for name, value in given.items() if value is not None})
    if arguments.name is not None:
        lens_folder(arguments.name)  # a bad name is told before the training, not after it
    model = options.open_model(arguments)
    name = default_name(model) if arguments.name is None else arguments.name
    corpus = open_corpus(arguments, arguments.corpus, model)
    parts = divided(corpus, seed=recipe.seed)

    started = time.perf_counter()
    trained = untrained(model)
    with options.bar("training") as progress:
        for step in train(model, parts.training, recipe):
            trained = step.lens
            progress(step.done, step.total)
    with options.stages() as say:
        say("comparing with the logit lens on held-out text")
        lens, held_out = settled(model, trained, parts, seed=recipe.seed)
    seconds = time.perf_counter() - started
    kept = save_lens(
        model, lens, corpus=corpus, recipe=recipe, held_out=held_out, seconds=seconds, name=name
    )

    folder = lens_folder(name)
    note = f"{model.name}, {model.processing}, {model.identity.compute_dtype}; {corpus.name}"
    if arguments.json:
        output.dump({"lens": name, "folder": str(folder), **kept.about})
    else:
        _tell(kept.about, note)
        output.say(f"kept as {name} in {folder}; {seconds:.0f} s")
    if arguments.html:
        _write(arguments.html, kept.about["held_out"], note)
    arguments.corpus_digest = corpus.digest
    output.record("tune", model, [], arguments, seconds, [folder])
    return 0


def _tell(card: Mapping[str, Any], note: str) -> None:
    found, left = card["held_out"], card["identities"]
    rows = []
    for row, label in reversed(list(enumerate(found["rows"]))):
        cells = [
            f"{found[name]['kl'][row]:.3f} ± {found[name]['error'][row]:.3f}"
            for name in (*LENSES, "gap")
        ]
        rows.append([label, *cells, "the logit lens" if label in left else ""])
    output.table(f"KL(final || lens): {note}", ["after", *LENSES, "tuned - logit", "kept"], rows)
    output.say(
        f"nats, with standard errors, on {found['positions']:,} positions of {found['contexts']} "
        "contexts that took no part in the training"
    )
    if left:
        output.say(
            f"after {', '.join(left)} training brought nothing on validation text, so the lens "
            "reads these as the logit lens does"
        )


def _write(path: Path, found: Mapping[str, Any], note: str) -> None:
    import numpy as np

    from workbench import figures

    figure = figures.divergence(
        {f"{name} lens": np.array(found[name]["kl"]) for name in LENSES},
        {f"{name} lens": np.array(found[name]["error"]) for name in LENSES},
        layers=found["rows"],
        title=f"how far from the output: {note}",
    )
    told = f"{note}; {found['positions']:,} held-out positions, 95 % intervals"
    output.write_html(path, figures.page([figure], title="Tuned lens", note=told))


COMMAND = Command("train a tuned lens, and compare it with the logit lens", configure, run)

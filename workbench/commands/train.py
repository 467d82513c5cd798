"""`workbench train`: train a small model by its recipe, resumably."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

from workbench.commands import options, output
from workbench.home import home
from workbench.registry import Command, listed


def configure(parser: ArgumentParser) -> None:
    known = ", ".join(listed("recipes"))
    parser.add_argument("recipe", help=f"what to train: {known}")
    parser.add_argument("--size", help="another size of it: li, for othello-8x8")
    parser.add_argument("--resume", action="store_true", help="go on where it was stopped")
    parser.add_argument("--folder", type=Path, help="where it lies (default: under the home)")
    parser.add_argument("--steps", type=int, help="train for another number of steps")
    parser.add_argument("--batch", type=int, help="sequences in one step")
    parser.add_argument("--seed", type=int, help="of weights and data")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the network on the CPU too (faster; needs g++)",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: the free cores)")
    parser.add_argument("--json", action="store_true", help="print the last log row as JSON")


def run(arguments: Namespace) -> int:
    # torch loads here, not for --help
    from dataclasses import asdict, replace

    from workbench.models import use_free_cores
    from workbench.training import recipe_named, train_into

    use_free_cores(arguments.threads)
    changed = {
        name: value
        for name in ("steps", "batch", "seed")
        if (value := getattr(arguments, name)) is not None
    }
    recipe = replace(
        recipe_named("-".join(filter(None, (arguments.recipe, arguments.size)))), **changed
    )
    folder = arguments.folder or home() / "training" / recipe.name
    started = time.perf_counter()
    last = None
    with options.bar(f"training {recipe.name}") as progress:
        for step, row in train_into(
            folder,
            recipe,
            device=arguments.device,
            compiled=arguments.compile,
            resume=arguments.resume,
        ):
            progress(step.done, step.total)
            last = row or last
    if last is None:
        output.say(f"{recipe.name} is trained already: {folder / 'model'}")
        return 0
    if arguments.json:
        output.dump({"folder": str(folder), **asdict(last)})
        return 0
    rows = [
        [name, f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"]
        for name, value in last.metrics.items()
    ]
    title = f"{recipe.name} after {last.step:,} steps, {last.tokens:,} tokens"
    output.table(title, ["measure", "value"], [["loss", f"{last.loss:.4f}"], *rows])
    seconds = time.perf_counter() - started
    output.say(f"the model and its card lie in {folder / 'model'}; {seconds:.0f} s")
    return 0


COMMAND = Command("train a small model by its recipe, resumably", configure, run)

"""`python -m benchmarks`: one table of ratios against named peers and of targets.

Contestants run interleaved in one process; a figure is the median of the rounds' ratios. All
of them must return what we return before anything is timed, else the run fails. A missed target
is shown, and does not fail it.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from transformers.utils import logging as transformers_logging

from benchmarks import (
    budget,
    capture,
    fingerprint,
    grokking,
    harvest,
    memory,
    patching,
    probes,
    restart,
    sae,
    small,
    store,
    toys,
    training,
)
from benchmarks.bench import Bench
from benchmarks.ratios import CLOCKS, Row, load_average, machine
from benchmarks.tables import page, read, save, show
from workbench.models import DEFAULT_MODEL, folder_of

TABLE = Path("docs/bench-table.json")
SMALL = "4-layer GPT-2 d256"
SECTIONS: dict[str, Callable[[Bench, Bench], list[Row]]] = {
    "capture": lambda real, little: [*capture.small(little), *capture.rows(real)],
    "restart": lambda real, little: restart.rows(real),
    "patching": lambda real, little: patching.rows(real),
    "fingerprint": lambda real, little: fingerprint.rows(real),
    "memory": lambda real, little: memory.rows(real.name, real.folder),
    "store": lambda real, little: store.rows(real),
    "harvest": lambda real, little: harvest.rows(real),
    "probes": lambda real, little: probes.rows(little),
    "training": lambda real, little: training.rows(little),
    "toys": lambda real, little: toys.rows(little),
    "grokking": lambda real, little: grokking.rows(little),
    "sae": lambda real, little: sae.rows(little),
    "budget": lambda real, little: budget.rows(
        budget.grid(real.folder, little.folder),
        {str(bench.folder): bench.name for bench in (real, little)},
    ),
}
LIBRARIES = ("torch", "transformers", "transformer-lens", "sae-lens", "nnsight", "datasets")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser("benchmarks", description=__doc__)
    parser.add_argument("--only", default="", metavar="SECTION[,SECTION]", help=", ".join(SECTIONS))
    parser.add_argument("--model", default=DEFAULT_MODEL, help="built-in name or folder")
    parser.add_argument("--threads", type=int, default=1, help="torch's (default 1)")
    parser.add_argument("--rounds", type=int, help="per case (default 5, quick 2)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu where cores are busy")
    parser.add_argument("--table", type=Path, default=TABLE, help=f"the last one (default {TABLE})")
    # Not as `save`: nnsight gives every object a method of that name.
    parser.add_argument(
        "--save", dest="kept", action="store_true", help="write there what was measured"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run: small, no targets")
    given = parser.parse_args(arguments)
    sections = given.only.split(",") if given.only else [*SECTIONS]
    if unknown := [name for name in sections if name not in SECTIONS]:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    torch.set_num_threads(given.threads)
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module=r"sae_lens|transformer_lens|datasets|sklearn")
    rounds, clock = given.rounds or (2 if given.quick else 5), CLOCKS[given.clock]
    started, rows = load_average(), []
    with tempfile.TemporaryDirectory() as folder:
        little = Bench(
            SMALL, small.write(Path(folder)), rounds if given.quick else 10 * rounds, clock
        )
        real = Bench(given.model, folder_of(given.model), rounds, clock)
        if given.quick:
            little = real = replace(little, quick=True)
        for name in sections:
            rows += SECTIONS[name](real, little)
    if given.quick:
        rows = [replace(row, target="") for row in rows]
    about = {
        "load average": f"{started} at the start, {load_average()} at the end",
        "clock": given.clock,
        "rounds": rounds,
        **machine(),
        "versions": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
    }
    before = read(given.table)[0] if given.table.exists() and not given.quick else {}
    show(rows, about, before, Console(width=None if sys.stdout.isatty() else 160))
    if given.kept:
        save(given.table, rows, about)
        given.table.with_suffix(".md").write_text(page(given.table), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

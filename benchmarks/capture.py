"""`python -m benchmarks.capture`: reading activations, as ratios against named peers.

Contestants run interleaved in one process; a figure is the median of the rounds' ratios. All
of them must return our tensors within 1e-4 before anything is timed, else the run fails. A
missed target is shown, and does not fail it.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers.utils import logging as transformers_logging

from benchmarks import peers, small
from benchmarks.peers import FLOOR, LENS, OURS, Trees
from benchmarks.ratios import (
    CLOCKS,
    Row,
    check_equal,
    load_average,
    machine,
    race,
    ratio,
    save,
    show,
)
from workbench.cache import Store, capture
from workbench.hooks import run
from workbench.models import DEFAULT_MODEL, folder_of, weights_digest
from workbench.sites import Site

BATCH, LENGTH, PROMPT = 8, 128, 64


@dataclass(frozen=True)
class Bench:
    """One model opened by everybody, and how to time it."""

    name: str
    trees: Trees
    rounds: int
    clock: Callable[[], float]

    def tokens(self, batch: int, length: int) -> Tensor:
        seeded = torch.Generator().manual_seed(0)
        d_vocab = self.trees.ours.architecture.d_vocab
        return torch.randint(1, d_vocab, (batch, length), generator=seeded)


def one_residual(
    bench: Bench,
    layer: int,
    *,
    batch: int = BATCH,
    length: int = LENGTH,
    floor: str = "",
    lens: str = "",
) -> list[Row]:
    """One layer's residual, with an early stop; `floor` and `lens` are targets."""
    case = f"{bench.name}, {batch}x{length}: {layer}.resid_post"
    contestants = peers.one_residual(bench.trees, bench.tokens(batch, length), layer)
    check_equal(case, {name: fetch() for name, fetch in contestants.items()}, OURS)
    seconds = race(contestants, rounds=bench.rounds, clock=bench.clock)
    others = [name for name in contestants if name not in (OURS, FLOOR)]
    return (
        [ratio(case, seconds, OURS, FLOOR, floor)]
        + [ratio(case, seconds, other, OURS, lens if other == LENS else "") for other in others]
        + [ratio(case, seconds, LENS, FLOOR)]
    )  # what the best could reach


def all_residuals(bench: Bench, bare: str = "") -> list[Row]:
    """Every layer's residual in one pass."""
    trees, tokens = bench.trees, bench.tokens(BATCH, LENGTH)
    layers = range(trees.n_layers)
    case = f"{bench.name}, {BATCH}x{LENGTH}: all {len(layers)} resid_post"
    contestants = peers.residuals(trees, tokens, layers)
    check_equal(case, {name: fetch() for name, fetch in contestants.items()}, OURS)
    sites = [Site("resid_post", layer) for layer in layers]
    to_logits, forward = f"{OURS}, to the logits", "bare forward"
    with torch.no_grad():
        seconds = race(
            contestants
            | {
                to_logits: lambda: run(trees.ours, tokens, read=sites, stop="never"),
                forward: lambda: trees.hub(tokens, use_cache=False),
            },
            rounds=bench.rounds,
            clock=bench.clock,
        )
    others = [name for name in contestants if name not in (OURS, FLOOR)]
    return [
        ratio(case, seconds, OURS, forward, bare),
        ratio(case, seconds, to_logits, forward, bare),
        ratio(case, seconds, OURS, FLOOR),
        *(ratio(case, seconds, other, OURS) for other in others),
    ]


def second_capture(bench: Bench, layer: int, memory: str = "", disk: str = "") -> list[Row]:
    """A prompt captured before, from either tier, without a single call of a module."""
    model, tokens = bench.trees.ours, bench.tokens(1, PROMPT)
    case = f"{bench.name}, 1x{PROMPT}: {layer}.resid_post again"
    site = Site("resid_post", layer)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        first = capture(model, tokens, site, store)
        contestants = {
            "forward": lambda: [run(model, tokens, read=site)[site]],
            "memory tier": lambda: [capture(model, tokens, site, store)[site]],
            "disk tier": lambda: [capture(model, tokens, site, Store(Path(folder)))[site]],
        }
        check_equal(
            case, {name: f() for name, f in contestants.items()} | {OURS: [first[site]]}, OURS
        )
        tiers = [name for name in contestants if name != "forward"]
        for tier in tiers:
            calls = _module_calls(contestants[tier])
            assert calls == 0, f"{case}: the {tier} called {calls} modules"
        seconds = race(contestants, rounds=5 * bench.rounds, clock=bench.clock)
    targets = dict(zip(tiers, (memory, disk), strict=True))
    return [ratio(case, seconds, tier, "forward", targets[tier]) for tier in tiers]


def _module_calls(act: Callable[[], object]) -> int:
    """How many modules of any model `act` runs."""
    called: list[str] = []

    def note(module: torch.nn.Module, args: object) -> None:
        called.append(type(module).__name__)

    handle = register_module_forward_pre_hook(note)
    try:
        act()
    finally:
        handle.remove()
    return len(called)


def fingerprint(bench: Bench) -> list[Row]:
    """The digest of all weights, beside a plain SHA-256 and a copy in memory."""
    named = list(bench.trees.ours.weights.named_parameters())
    size = sum(tensor.nbytes for _, tensor in named)
    copies = [torch.zeros_like(tensor) for _, tensor in named]
    case = f"{bench.name}: digest of {size / 1e6:,.0f} MB"

    def sha256() -> None:
        whole = hashlib.sha256()
        for _, tensor in named:
            whole.update(tensor.detach().view(torch.uint8).numpy().data)

    def copy() -> None:
        for kept, (_, tensor) in zip(copies, named, strict=True):
            kept.copy_(tensor.detach())

    seconds = race(
        {
            "weights_digest": lambda: weights_digest(named),
            "SHA-256": sha256,
            "memory copy": copy,
        },
        rounds=bench.rounds,
        clock=bench.clock,
    )
    rates = {name: f"{size / 1e9 / median(times):.2f} GB/s" for name, times in seconds.items()}
    pairs = (("weights_digest", "memory copy"), ("SHA-256", "weights_digest"))
    return [
        replace(row, detail=f"{rates[over]} / {rates[under]}")
        for over, under in pairs
        for row in [ratio(case, seconds, over, under)]
    ]


def memory(name: str, folder: Path) -> list[Row]:
    """Peaks of resident memory, each in a process of its own."""
    if not Path("/proc/self/clear_refs").exists():
        warnings.warn("no memory rows: they need Linux's /proc", stacklevel=2)
        return []
    rows = []
    for dtype in ("float32", "bfloat16"):
        load = _in_process("load", folder, dtype)
        rows.append(
            _bytes(
                f"{name}: load, read all weights",
                f"peak over imports / {dtype} weights",
                load["grown"],
                load["parameters"],
                "< 2",
            )
        )
    forward = _in_process("forward", folder, "float32")["grown"]
    for what in ("run", "capture"):
        taken = _in_process(what, folder, "float32")
        rows.append(
            _bytes(
                f"{name}, {BATCH}x{LENGTH}: all resid_post",
                f"peak of {what} / (tensors + forward)",
                taken["grown"],
                taken["returned"] + forward,
                "<= 1",
            )
        )
    return rows


def _in_process(what: str, folder: Path, dtype: str) -> dict[str, int]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.memory", what, str(folder), dtype]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _bytes(case: str, what: str, over: int, under: int, target: str) -> Row:
    value = over / under
    return Row(
        case, what, value, value, value, value, f"{over / 1e6:.0f} / {under / 1e6:.0f} MB", target
    )


def real(name: str, rounds: int, clock: Callable[[], float]) -> list[Row]:
    """The rows of a real model: near its start, its middle and its end."""
    folder = folder_of(name)
    bench = Bench(name, peers.open_trees(folder), rounds, clock)
    n_layers = bench.trees.n_layers
    first, middle, last = 2, n_layers // 2, n_layers - 2
    return [
        *one_residual(bench, first, floor="<= 1.05"),
        *one_residual(bench, middle, floor="<= 1.05", lens=">= 1.1"),
        *one_residual(bench, last, floor="<= 1.05"),
        *all_residuals(bench, "<= 1.1"),
        *second_capture(bench, middle, "< 0.1", "< 0.333"),
        *fingerprint(bench),
        *memory(name, folder),
    ]


def little(rounds: int, clock: Callable[[], float], *, everything: bool) -> list[Row]:
    """The rows of a small model, where what a library does per call shows."""
    with tempfile.TemporaryDirectory() as folder:
        trees = peers.open_trees(small.write(Path(folder)))
        bench = Bench("4-layer GPT-2 d256", trees, rounds, clock)
        rows = [
            *one_residual(bench, 2, lens=">= 1.4"),
            *one_residual(bench, 2, batch=1, length=PROMPT),
        ]
        if everything:
            rows += [*all_residuals(bench), *second_capture(bench, 2), *fingerprint(bench)]
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser("benchmarks.capture", description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="built-in name or folder")
    parser.add_argument("--threads", type=int, default=1, help="torch's (default 1)")
    parser.add_argument("--rounds", type=int, help="per case (default 5, small model 10x; quick 2)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu where cores are busy")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    parser.add_argument("--quick", action="store_true", help="the small model only: a smoke run")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    transformers_logging.disable_progress_bar()
    clock, before = CLOCKS[given.clock], load_average()
    rounds = given.rounds or (2 if given.quick else 5)
    if given.quick:
        rows = little(rounds, clock, everything=True)
    else:
        rows = little(10 * rounds, clock, everything=False)
        rows += real(given.model, rounds, clock)
    about = {
        "load average": f"{before} at the start, {load_average()} at the end",
        "clock": given.clock,
        "rounds": rounds,
        **machine(),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers")),
    }
    show(rows, about, Console(width=None if sys.stdout.isatty() else 160))
    if given.json:
        save(given.json, rows, about)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks.gpu`: how near a device's own limits the long jobs come.

What bounds a job is measured in the same run: the peak of a square matrix product in the job's
dtype, the rate of a copy inside the device, that of a copy from pinned memory. A model has
GPT-2-small's sizes and random weights. TF32 is off, as in every analysis.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import small
from benchmarks.prompts import N_PAIRS, pairs_of
from benchmarks.ratios import machine
from sae.recipe import Recipe
from sae.training import Training
from workbench.cache import Store, carried_out, harvest, planned, predict, shuffled
from workbench.cache.prefetch import ahead
from workbench.corpus import Corpus, from_ids
from workbench.hooks import run
from workbench.models import Model, load, resolve_device
from workbench.patching import sweep

SIZES = {"d_model": 768, "n_layers": 12, "n_heads": 12, "d_vocab": 50257}
QUICK = {"d_model": 64, "n_layers": 2, "n_heads": 2, "d_vocab": 1000}


@dataclass(frozen=True)
class Limits:
    """What the device does at best: FLOP/s by dtype, bytes/s inside it and onto it."""

    product: dict[torch.dtype, float]
    copy: float
    onto: float


@dataclass(frozen=True)
class Line:
    """A job's rate, and the part that it is of what bounds it."""

    job: str
    rate: float
    unit: str
    of_bound: float | None = None
    bound: str = ""


@dataclass(frozen=True)
class On:
    """Where, how often, and whether only to show that it runs."""

    device: torch.device
    rounds: int
    quick: bool

    def seconds(self, act: Callable[[], object]) -> float:
        """Median of the rounds, after one that warms up; the device has finished."""
        taken = []
        for _ in range(self.rounds + 1):
            self._wait()
            started = time.perf_counter()
            act()
            self._wait()
            taken.append(time.perf_counter() - started)
        return median(taken[1:])

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def limits(on: On) -> Limits:
    """Measured on large squares and a long vector."""
    side, long = (256, 2**20) if on.quick else (8192, 2**28)
    product = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(side, side, device=on.device).to(dtype) for _ in range(2))
        product[dtype] = 2 * side**3 / on.seconds(lambda a=a, b=b: a @ b)
    here = torch.zeros(long, device=on.device)
    there = torch.empty_like(here)
    copy = 2 * here.nbytes / on.seconds(lambda: there.copy_(here))  # read and written
    host = torch.zeros(long)
    pinned = host.pin_memory() if on.device.type == "cuda" else host
    onto = here.nbytes / on.seconds(lambda: here.copy_(pinned, non_blocking=True))
    return Limits(product, copy, onto)


def lines(on: On, best: Limits) -> list[Line]:
    """Every job."""
    torch.backends.cuda.matmul.allow_tf32 = False
    found = [
        Line(f"matrix product, {_short(dtype)}", value / 1e12, "TFLOP/s")
        for dtype, value in best.product.items()
    ]
    found += [
        Line("copy inside the device", best.copy / 1e9, "GB/s"),
        Line("copy from pinned memory", best.onto / 1e9, "GB/s"),
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = small.write(Path(name) / "model", **(QUICK if on.quick else SIZES))
        for dtype in (torch.float32, torch.bfloat16):
            model = load(str(folder), device=str(on.device), dtype=_short(dtype))
            found += _model(on, best, model, Path(name) / _short(dtype))
    return found + [_dictionary(on, best, bfloat16) for bfloat16 in (False, True)]


def _model(on: On, best: Limits, model: Model, folder: Path) -> list[Line]:
    """Forward, harvest, reading it back, and a sweep."""
    contexts, n_ctx = (4, 16) if on.quick else (256, 128)
    d_vocab = model.architecture.d_vocab
    drawn = torch.randint(1, d_vocab, (contexts, n_ctx), generator=torch.Generator().manual_seed(0))
    corpus, tokens = from_ids("random tokens", drawn), drawn.to(model.device)
    dtype, layer = _short(model.dtype), model.architecture.n_layers // 2
    site, batch = f"{layer}.resid_post", min(64, contexts)
    flops = 2 * _weights(model) * tokens.numel()
    forward = on.seconds(lambda: [run(model, part) for part in tokens.split(batch)])
    plan = planned(model, corpus, site, Store(folder), batch=batch)
    budget = predict(plan)
    harvested = on.seconds(lambda: (Store(folder).clear(), carried_out(plan, budget)))
    bare = on.seconds(lambda: [run(model, part, read=site) for part in tokens.split(batch)])
    product = best.product[model.dtype]
    return [
        Line(
            f"forward, {dtype}", tokens.numel() / forward, "tokens/s", flops / forward / product,
            "product",
        ),
        Line(
            f"harvest of {site}, {dtype}", tokens.numel() / harvested, "tokens/s",
            bare / harvested, "its forward",
        ),
        _reading(on, best, model, corpus, site, folder),
        _sweep(on, model),
    ]  # fmt: skip


def _reading(on: On, best: Limits, model: Model, corpus: Corpus, site: str, folder: Path) -> Line:
    made = harvest(model, corpus, site, Store(folder), batch=16)[site]

    def read() -> None:
        batches = shuffled(made, batch_size=4096)
        for _ in ahead((({"x": rows[site]}, None) for rows in batches), on.device):
            pass

    n_bytes = corpus.n_tokens * model.architecture.d_model * model.dtype.itemsize
    rate = n_bytes / on.seconds(read)
    job = f"shuffled rows onto the device, {_short(model.dtype)}"
    return Line(job, rate / 1e9, "GB/s", rate / best.onto, "copy onto it")


def _sweep(on: On, model: Model) -> Line:
    pairs = pairs_of(model, 15)
    seconds = on.seconds(lambda: sweep(model, pairs, "resid_pre", places="each"))
    patched = N_PAIRS * 15 * model.architecture.n_layers
    return Line(f"residual sweep, {_short(model.dtype)}", patched / seconds, "patched runs/s")


def _dictionary(on: On, best: Limits, bfloat16: bool) -> Line:
    """One step of TopK; its encoder's product is the least that it has to do."""
    width, latents, rows = (64, 512, 256) if on.quick else (768, 24576, 8192)
    recipe = Recipe("topk", latents, 32, batch=rows, warmup=0, bfloat16=bfloat16)
    training = Training(recipe, torch.zeros(width), on.device)
    batch = torch.randn(rows, width, device=on.device)
    seconds = on.seconds(lambda: training.step(training.slopes(batch), rows))
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    part = 2 * rows * width * latents / seconds / best.product[dtype]
    job = f"TopK step {width} -> {latents}, {_short(dtype)}"
    return Line(job, rows / seconds, "rows/s", part, "product")


def _weights(model: Model) -> int:
    """That a token is multiplied with: those of the blocks and of the unembedding."""
    sizes = model.architecture
    return sizes.n_layers * 12 * sizes.d_model**2 + sizes.d_model * sizes.d_vocab


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser("benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--rounds", type=int, default=5, help="per job (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the lines there, too")
    parser.add_argument("--quick", action="store_true", help="a smoke run: small")
    given = parser.parse_args(arguments)
    on = On(resolve_device(given.device), given.rounds, given.quick)
    cuda = on.device.type == "cuda"
    about = {
        "device": torch.cuda.get_device_name(on.device) if cuda else "CPU",
        "torch": torch.__version__,
        **machine(),
    }
    found = lines(on, limits(on))
    table = Table("job", "rate", "unit", "part of its bound", "bound")
    for line in found:
        part = "" if line.of_bound is None else f"{line.of_bound:.0%}"
        table.add_row(line.job, f"{line.rate:,.4g}", line.unit, part, line.bound)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table, "; ".join(f"{name}: {value}" for name, value in about.items()))
    if given.json:
        told = {"about": about, "rows": [asdict(line) for line in found]}
        given.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

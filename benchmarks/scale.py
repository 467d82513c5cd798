"""`python -m benchmarks.scale`: how cost grows, measured on small models; tables for docs/scale.md.

CPU seconds, one thread: what a busy machine does beside it counts little. Each row is the cheapest
of a few rounds.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from sae.recipe import Recipe
from sae.training import Training
from workbench.cache import Store, harvest
from workbench.corpus import from_ids
from workbench.models import DEFAULT_MODEL, load
from workbench.models.native import Shape, network, save_native
from workbench.models.tokens import Labels

ROUNDS, N_CTX, VOCABULARY = 3, 128, 256
BATCH_ROWS = 2048  # of a dictionary's step
RANKS_TEXT = "The quick brown fox jumps over the lazy dog. " * 3000


def main() -> int:
    """Measure all five, print a table each."""
    torch.set_num_threads(1)
    _table(
        "tokens",
        [8_192, 16_384, 32_768],
        lambda n: _harvest(Shape(4, 4, 256, N_CTX, VOCABULARY, 1024), n),
    )
    _table(
        "layers", [4, 8, 16], lambda n: _harvest(Shape(n, 4, 256, N_CTX, VOCABULARY, 1024), 8_192)
    )
    _table(
        "width",
        [128, 256, 512],
        lambda n: _harvest(Shape(4, 4, n, N_CTX, VOCABULARY, 4 * n), 8_192),
    )
    _table("latents", [4_096, 8_192, 16_384], _dictionary)
    _ranks([1, 2])
    return 0


def _table(what: str, sizes: Sequence[int], act: Callable[[int], float]) -> None:
    """Seconds by size, and the power of the size that they grow with."""
    seconds = [act(size) for size in sizes]
    power = torch.tensor([seconds[-1] / seconds[0], sizes[-1] / sizes[0]]).log()
    cells = ", ".join(f"{n:,}: {s:.2f}" for n, s in zip(sizes, seconds, strict=True))
    print(f"| {what} | {cells} | {float(power[0] / power[1]):.2f} |", flush=True)  # noqa: T201


def _harvest(shape: Shape, tokens: int) -> float:
    """CPU seconds to harvest the last residual of a random model, in bfloat16."""
    labels = Labels(tuple(f"t{n}" for n in range(VOCABULARY)))
    drawn = torch.Generator().manual_seed(0)
    ids = torch.randint(VOCABULARY, (tokens // N_CTX, N_CTX), generator=drawn)
    corpus = from_ids("random tokens", ids.numpy())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_native(folder / "model", shape, labels, dict(network(shape, 0).named_parameters()), {})
        model = load(str(folder / "model"), device="cpu")
        site = f"{shape.n_layers - 1}.resid_post"
        return _cheapest(
            lambda n: harvest(model, corpus, site, Store(folder / str(n)), dtype="bfloat16").spent
        )


def _dictionary(width: int) -> float:
    """CPU seconds of a TopK step on rows as wide as the default model's."""
    training = Training(Recipe("topk", width, 32, steps=100), torch.zeros(576), torch.device("cpu"))
    rows = torch.randn(BATCH_ROWS, 576, generator=torch.Generator().manual_seed(0))
    return _cheapest(lambda _: training.step(training.slopes(rows), len(rows)))


def _cheapest(act: Callable[[int], object]) -> float:
    found = []
    for number in range(ROUNDS):
        started = time.process_time()
        act(number)
        found.append(time.process_time() - started)
    return min(found)


def _ranks(counts: Sequence[int]) -> None:
    """Wall seconds of one harvest of the default model by so many ranks, start of them included."""
    with tempfile.TemporaryDirectory() as name:
        text = Path(name) / "text.txt"
        text.write_text(RANKS_TEXT, encoding="utf-8")
        for count in counts:
            command = (
                *("workbench", "harvest", str(text), "--model", DEFAULT_MODEL, "--json"),
                *("--sites", "15.resid_post", "--dtype-stored", "bfloat16"),
                *("--store", f"{name}/{count}"),
            )
            launch = ("torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m")
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-W", "ignore", "-m", *launch, *command],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                check=True,
                capture_output=True,
            )
            print(f"| ranks | {count}: {time.perf_counter() - started:.1f} | |", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())

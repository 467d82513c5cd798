"""Writing and reading a stored corpus: made-up activations, so that no forward is measured.

Ours is the code underneath `harvest`, SAELens' the code underneath its runner; the floor is one
raw file, written with fsync, and read in random blocks through a memory map.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import saelens
from benchmarks.bench import Bench
from benchmarks.peers import OURS
from benchmarks.ratios import Row, Seconds, once, rate, ratio
from workbench.cache import Harvest, Key, shuffled
from workbench.cache.manifest import Manifest
from workbench.cache.sharing import begin, end, make, used
from workbench.corpus import Corpus, from_ids

N_CTX, D_MODEL, N_CONTEXTS, FEW = 128, 576, 1792, 512  # smollm2-135m's residual, 229,376 rows
BATCH = 8  # contexts that come from a forward at once
SHARD = saelens.BUFFER
BATCH_ROWS, BLOCK = 4096, 64  # SAELens' default for training; ours for blocks
BUFFERS = (2**16, 2**13)  # rows that are mixed: our default, and what SAELens is fastest with
FLOOR = "raw file"
SPEED, READ, HALF = ">= 5", ">= 3.5", "<= 0.51"


def rows(bench: Bench) -> list[Row]:
    """The stored corpus written in both widths, then read in both."""
    drawn = torch.Generator().manual_seed(0)
    n_contexts = FEW if bench.quick else N_CONTEXTS
    made_up = torch.randn(n_contexts, N_CTX, D_MODEL, generator=drawn)
    with tempfile.TemporaryDirectory() as folder:
        return [*_written(bench, Path(folder), made_up), *_read(bench, Path(folder), made_up)]


def _written(bench: Bench, folder: Path, made_up: Tensor) -> list[Row]:
    """A model that computes in 16 bits, and one whose activations are rounded to them."""
    half, n_rows = made_up.bfloat16(), made_up[..., 0].numel()
    peer = saelens.NAME
    wide = {
        OURS: partial(write, folder / OURS, made_up, "float32"),
        FLOOR: partial(_write_raw, folder / FLOOR, made_up),
        peer: partial(saelens.write, folder / peer, made_up, "float32", BATCH),
    }
    rounded = f"{OURS}, of float32"
    narrow = {
        OURS: partial(write, folder / OURS, half, "bfloat16"),
        rounded: partial(write, folder / rounded, made_up, "bfloat16"),
        FLOOR: partial(_write_raw, folder / FLOOR, half),
        # Its store hands the runner float32 whatever the model computes in.
        peer: partial(saelens.write, folder / peer, made_up, "float16", BATCH),
    }
    found: list[Row] = []
    sizes: dict[str, int] = {}
    for dtype, contestants in (("float32", wide), ("16 bits", narrow)):
        case = f"writing {n_rows:,} rows of {D_MODEL} in {dtype}"
        seconds = bench.race(contestants, before=partial(_cleared, folder))
        pairs = [(OURS, FLOOR, ""), (peer, OURS, SPEED)]
        if rounded in contestants:
            pairs.append((peer, rounded, SPEED))
        found += _rates(case, seconds, n_rows, pairs)
        for name, act in contestants.items():
            _cleared(folder)
            act()
            sizes[f"{name}, {dtype}"] = sum(
                path.stat().st_size for path in folder.rglob("*") if path.is_file()
            )
    case = f"{n_rows:,} rows of {D_MODEL} on disk"
    pairs = (
        (f"{OURS}, 16 bits", f"{peer}, float32", HALF),
        (f"{OURS}, float32", f"{FLOOR}, float32", ""),
    )
    return found + [
        once(case, f"{over} / {under}", sizes[over] / 1e6, sizes[under] / 1e6, "MB", target)
        for over, under, target in pairs
    ]


def _read(bench: Bench, folder: Path, made_up: Tensor) -> list[Row]:
    """Every row once, in a random order; each reader is held against what was written first."""
    shape = (len(made_up), N_CTX, D_MODEL)
    n_rows, peer, kept = made_up[..., 0].numel(), saelens.NAME, folder / "kept"
    _cleared(folder)
    _write_raw(kept / FLOOR, made_up)
    saelens.write(kept / peer, made_up, "float32", BATCH)
    corpus = from_ids("made up", np.zeros(shape[:2], dtype=np.int32))
    places = {dtype: write(kept / dtype, made_up, dtype) for dtype in ("float32", "bfloat16")}

    def opened(dtype: str) -> Harvest:
        return open_made_up(places[dtype], corpus, dtype)

    harvest, narrow, anew = opened("float32"), opened("bfloat16"), f"{OURS}, first read"
    in_half = f"{OURS}, bfloat16"
    found: list[Row] = []
    for buffer in BUFFERS:
        case = f"shuffled reading, batches of {BATCH_ROWS:,}, {buffer:,} rows mixed"
        sizes = {"buffer": buffer, "batch_size": BATCH_ROWS}
        readers: dict[str, Callable[[], Iterator[Tensor]]] = {
            OURS: lambda sizes=sizes: read(harvest, **sizes),
            # Opened in the same second: each context is held against its checksum.
            anew: lambda sizes=sizes: read(opened("float32"), **sizes),
            in_half: lambda sizes=sizes: read(narrow, **sizes),
            FLOOR: lambda: _read_raw(kept / FLOOR, shape),
            peer: lambda sizes=sizes: saelens.shuffled(kept / peer, shape, **sizes),
        }
        for name, reader in readers.items():
            expected = made_up.bfloat16() if name == in_half else made_up
            _check_every_row(f"{case}: {name}", reader(), expected.flatten(0, 1))
        seconds = bench.race({name: partial(_drain, reader) for name, reader in readers.items()})
        pairs = [(peer, name, READ) for name in (OURS, anew)] + [(peer, in_half, "")]
        found += _rates(case, seconds, n_rows, [*pairs, (OURS, FLOOR, "")])
    return found


def write(folder: Path, activations: Tensor, dtype: str) -> Path:
    """What `harvest` does with activations once it has them; returns the harvest's folder."""
    key = _key(dtype)
    place = folder / key.digest
    manifest = Manifest(key, {"model": "made up"}, tuple(activations.shape), SHARD)
    with used(place):
        begin(place, manifest)
        make(
            {place: manifest},
            BATCH,
            lambda contexts, wanted: [activations[contexts.start : contexts.stop]],
        )
        end(place)
    return place


def open_made_up(place: Path, corpus: Corpus, dtype: str) -> Harvest:
    """As `open_harvest` does for a model's."""
    return Harvest(place, _key(dtype), corpus, used(place))


def read(harvest: Harvest, *, buffer: int, batch_size: int) -> Iterator[Tensor]:
    """One epoch of our reader."""
    for batch in shuffled(harvest, batch_size=batch_size, block=BLOCK, buffer=buffer):
        yield batch[harvest.site]


def _key(dtype: str) -> Key:
    return Key(
        config="made up",
        weights="made up",
        processing="raw",
        compute_dtype="float32",
        attention="eager",
        tokens="made up",
        site="15.resid_post",
        dtype=dtype,
    )


def _write_raw(path: Path, activations: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        activations.view(torch.uint8).numpy().tofile(file)
        file.flush()
        os.fsync(file.fileno())


def _read_raw(path: Path, shape: tuple[int, int, int]) -> Iterator[Tensor]:
    """Random blocks of rows, not mixed any further."""
    stored = np.memmap(path, dtype=np.float32, mode="r").reshape(-1, BLOCK, shape[2])
    order = np.random.default_rng(0).permutation(len(stored))
    for first in range(0, len(order), BATCH_ROWS // BLOCK):
        blocks = stored[order[first : first + BATCH_ROWS // BLOCK]]
        yield torch.from_numpy(blocks).flatten(0, 1)


def _drain(reader: Callable[[], Iterator[Tensor]]) -> None:
    for _ in reader():
        pass


def _check_every_row(case: str, batches: Iterator[Tensor], expected: Tensor) -> None:
    """Every row must come back once, bit for bit; `AssertionError` if not."""
    known = _fingerprints(expected)
    order = known.argsort()
    assert bool((known[order].diff() > 0).all()), "two made-up rows are alike"
    seen = torch.zeros(len(expected), dtype=torch.bool)
    for batch in batches:
        found = order[
            torch.searchsorted(known[order], _fingerprints(batch)).clamp(max=len(seen) - 1)
        ]
        assert torch.equal(batch, expected[found]), f"{case}: a row is not as it was written"
        assert len(found.unique()) == len(found) and not bool(seen[found].any()), (
            f"{case}: a row came twice"
        )
        seen[found] = True
    assert bool(seen.all()), f"{case}: {int((~seen).sum()):,} rows did not come back"


def _fingerprints(batch: Tensor) -> Tensor:
    """The first eight bytes of each row and some more, as one number each."""
    words = batch[:, : 32 // batch.element_size()].contiguous().view(torch.int64)
    mixed = torch.zeros(len(batch), dtype=torch.int64)
    for column in words.T:
        mixed = mixed * 6364136223846793005 + column  # wraps around
    return mixed


def _rates(
    case: str, seconds: Seconds, n_rows: int, pairs: list[tuple[str, str, str]]
) -> list[Row]:
    return [
        rate(ratio(case, seconds, over, under, target), seconds, n_rows / 1e6, "M rows/s")
        for over, under, target in pairs
    ]


def _cleared(folder: Path) -> None:
    """An empty folder, and nothing left to write from whoever was before."""
    shutil.rmtree(folder)
    folder.mkdir()
    os.sync()

"""What a harvest will cost, told before it starts: memory, disk and time.

The model is run on a few contexts, up to one batch of the size that is asked for, through the
same writing code as the harvest itself; what that took is what the harvest will take.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from workbench.cache.files import writable
from workbench.cache.plan import Plan
from workbench.cache.resources import (
    Spent,
    free_device,
    free_disk,
    free_host,
    give_back,
    resident,
    spending,
)
from workbench.cache.shards import ShardWriter
from workbench.errors import InputError
from workbench.hooks import run
from workbench.models import DTYPES
from workbench.sites import Site

_STEP = 8  # a trial is followed by one at most so many times as large
_HEADER = 750  # bytes of a shard's header, about
# The C library keeps some of what a forward frees, and more of it after more forwards: so there
# are as many trials as cost little beside the harvest, and a twentieth is added to the highest
# peak. (A harvest hands back what was kept after each shard.)
_KEPT = 1.05
_AGAIN = (8, 32)  # forwards from which on there is one more trial


@dataclass(frozen=True)
class Budget:
    """The prediction: bytes on disk, peaks of memory and seconds; and what there is of each.

    `predicted` are the process' own peaks, with what it `held` before. Of the disk, `evicted`
    bytes of older entries make room. `shapes` are those of the activations still to harvest.
    """

    disk: int
    predicted: Spent
    held: Spent
    forwards: int
    shapes: Mapping[Site, tuple[int, ...]]
    store_limit: int
    store_holds: int
    free_disk: int
    free_host: int | None
    free_device: int | None

    @property
    def evicted(self) -> int:
        """Bytes of what the store holds now that have to go."""
        return min(self.store_holds, max(0, self.store_holds + self.disk - self.store_limit))

    def check(self) -> None:
        """Raises `InputError` with everything that does not fit."""
        faults = [
            f"it takes {_size(need)} {where}, but {told.format(_size(has))}"
            for need, has, where, told in (
                (self.disk, self.store_limit, "of the store", "its limit is {}"),
                (self.disk, self.free_disk + self.evicted, "on disk", "{} are free"),
                (self.predicted.host - self.held.host, self.free_host, "of memory", "{} are free"),
                (
                    self.predicted.device - self.held.device,
                    self.free_device,
                    "on the device",
                    "{} are free",
                ),
            )
            if has is not None and need > has
        ]
        if faults:
            raise InputError(
                f"this harvest does not fit: {'; '.join(faults)}; take fewer sites or tokens, "
                "16 bits, a smaller batch, or another --store or --store-limit"
            )

    def to_json(self) -> dict[str, Any]:
        """A plain value for a JSON file."""
        return {
            **vars(self),
            "predicted": asdict(self.predicted),
            "held": asdict(self.held),
            "shapes": {str(site): list(shape) for site, shape in self.shapes.items()},
            "evicted": self.evicted,
        }


def predict(plan: Plan) -> Budget:
    """The budget of `plan`; nothing is kept. Raises `InputError` where one batch does not fit."""
    shards = plan.shards
    sites = [site for site, lacking in plan.missing.items() if lacking]
    device = plan.model.device
    give_back()
    held = resident(device)
    trial = _Trial({}, Spent(held.device, held.host), 0.0, 0.0)
    sizes = [-(-len(plan.contexts(number)) // plan.batch) for number in shards]
    if sites:
        largest = max(len(plan.contexts(number)) for number in shards)
        trial = _tried(plan, sites, min(plan.batch, largest), held, sum(sizes))
    shapes = {site: (len(plan.corpus), *trial.shapes[site]) for site in sites}
    files = sum(len(lacking) for lacking in shards.values())
    disk = _HEADER * files + sum(
        len(plan.contexts(number)) * _context_bytes(shapes[site], plan.keys[site].dtype)
        for number, lacking in shards.items()
        for site in lacking
    )
    seconds = sum(sizes) * trial.batch_seconds + files * trial.file_seconds
    return Budget(
        disk=disk,
        predicted=Spent(trial.peak.device, trial.peak.host, seconds),
        held=held,
        forwards=sum(sizes),
        shapes=shapes,
        store_limit=plan.store.limit,
        store_holds=plan.store.size()[1],
        free_disk=free_disk(plan.store.folder),
        free_host=free_host(),
        free_device=free_device(device),
    )


@dataclass(frozen=True)
class _Trial:
    """One batch: shapes of one context, peaks, seconds for the batch and to sync one file."""

    shapes: Mapping[Site, tuple[int, ...]]
    peak: Spent
    batch_seconds: float
    file_seconds: float


def _tried(plan: Plan, sites: Sequence[Site], batch: int, held: Spent, forwards: int) -> _Trial:
    """Trials of growing size, so that one that cannot fit is refused before it is run."""
    size = 1
    while size < batch:
        peak = _trial(plan, sites, size).peak
        larger = min(batch, _STEP * size)
        _check_room(plan, peak, held, larger / size, batch)
        size = larger
    again = sum(forwards >= many for many in _AGAIN)
    trials = [_trial(plan, sites, batch) for _ in range(1 + again)]
    most = max(trial.peak.host for trial in trials)
    host = held.host + int(_KEPT * max(0, most - held.host))
    fastest = min(trials, key=lambda trial: trial.batch_seconds)
    return replace(fastest, peak=replace(fastest.peak, host=host))


def _trial(plan: Plan, sites: Sequence[Site], size: int) -> _Trial:
    ids = torch.from_numpy(plan.corpus.ids[:size].astype("int64"))
    try:
        with ExitStack() as stack, writable(plan.store.folder):
            peak = stack.enter_context(spending(plan.model.device))
            started = time.perf_counter()
            found = run(plan.model, ids, read=sites).activations
            writers = []
            for site in sites:
                file = stack.enter_context(tempfile.TemporaryFile(dir=plan.store.folder))
                writers.append(ShardWriter(file, plan.keys[site], 0, found[site].shape))
                writers[-1].append(found[site])
            ran = time.perf_counter()
            for writer in writers:
                writer.finish()
            synced = time.perf_counter()
            shapes = {site: tuple(found[site].shape[1:]) for site in sites}
            return _Trial(shapes, peak, ran - started, (synced - ran) / len(sites))
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"a batch of {size} contexts of {plan.corpus.n_ctx} tokens does not fit on "
            f"{plan.model.device}; give a smaller batch"
        ) from error


def _check_room(plan: Plan, peak: Spent, held: Spent, times: float, batch: int) -> None:
    """Raises `InputError` where a batch so many times as large as the last would not fit."""
    device = plan.model.device
    for where, grown, free in (
        ("of memory", times * (peak.host - held.host), free_host()),
        (f"on {device}", times * (peak.device - held.device), free_device(device)),
    ):
        if free is not None and grown > free:
            raise InputError(
                f"a batch of {batch} contexts of {plan.corpus.n_ctx} tokens takes more than "
                f"{_size(int(grown))} {where}, {_size(free)} are free; give a smaller batch"
            )


def _context_bytes(shape: Sequence[int], dtype: str) -> int:
    checksum = 16  # of each context, in the header
    return torch.Size(shape[1:]).numel() * DTYPES[dtype].itemsize + checksum


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:,.1f} MB"

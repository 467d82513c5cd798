"""How one process, or many at once, make harvests: begin, make the missing shards, end.

Whoever makes a shard holds the lock of its unfinished file; the others go on to the next. A
killed process' lock is let go by the kernel, and its unfinished file is overwritten by the next.
Waiting for a shard happens with no shard in hand, so nobody waits for somebody who waits.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from workbench.cache.files import DamagedError, sync_folder
from workbench.cache.locks import Lock, lock_file, lock_folder
from workbench.cache.manifest import Manifest, finished, read_manifest, shard_path
from workbench.cache.resources import give_back
from workbench.cache.shards import ShardWriter
from workbench.cache.stream import Progress
from workbench.errors import InputError
from workbench.fetching import discard_unfinished

Source = Callable[[range, Sequence[Path]], Sequence[Tensor]]
"""The activations of some contexts, `[context, pos, ...]`, for each of some harvests' folders."""


def used(folder: Path) -> Lock:
    """Hold `folder`, made where it lacks, so that nobody evicts it."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = lock_folder(folder, shared=True)
        except (FileExistsError, FileNotFoundError):
            if folder.is_file():
                raise
            continue  # it was there, and evicted at that moment
        assert held is not None
        return held


def begin(folder: Path, manifest: Manifest) -> None:
    """Write down how the harvest is cut, if nobody has. Raises `InputError` if otherwise."""
    with _alone(folder):
        there = read_manifest(folder, manifest.key)
        if there is None:
            if any(folder.glob("shard-*.safetensors")):
                raise DamagedError(
                    f"{folder / 'manifest.json'}: field file: expected a manifest beside the "
                    "shards, found none; delete the folder and harvest again"
                )
            manifest.write(folder)
            return
        if (there.shape, there.shard_contexts) != (manifest.shape, manifest.shard_contexts):
            raise InputError(
                f"{folder} was begun with {there.shape} in shards of {there.shard_contexts} "
                f"contexts, not {manifest.shape} in shards of {manifest.shard_contexts}; "
                "finish it as it was begun"
            )
        known = _both(there.about, manifest.about)
        anew = there.whole and there.missing(folder)  # a damaged shard was deleted
        if anew or known != there.about:
            replace(there, about=known, shards=() if anew else there.shards).write(folder)


def _both(there: Mapping[str, str | int], now: Mapping[str, str | int]) -> Mapping[str, str | int]:
    """What is said of a harvest that goes on otherwise than it was begun: "8, then 16"."""
    found = dict(there)
    for name, value in now.items():
        if str(value) not in str(there.get(name, value)).split(", then "):
            found[name] = f"{there[name]}, then {value}"
    return found


def make(
    harvests: Mapping[Path, Manifest], batch: int, source: Source, progress: Progress | None = None
) -> int:
    """Make all missing shards of harvests that are cut alike; returns the bytes written here.

    `progress` is told of a shard's last batch when the shard is there for good.
    """
    n_bytes = 0
    while shards := _missing(harvests):
        before = n_bytes
        for number, lacking in shards.items():
            total, missing = _contexts(harvests, _missing(harvests))
            for n_contexts, written in _shard(
                {folder: harvests[folder] for folder in lacking}, number, batch, source
            ):
                n_bytes += written
                missing -= n_contexts
                if progress is not None:
                    progress(total - missing, total)
        if n_bytes == before:  # others are at all of them: wait for one, and see whether it came
            number, (folder, *_) = next(iter(shards.items()))
            with _claimed(shard_path(folder, number), wait=True):
                pass
    return n_bytes


def end(folder: Path) -> None:
    """Declare the harvest whole, after a look at each shard; leave no unfinished file."""
    with _alone(folder):
        manifest = read_manifest(folder)
        assert manifest is not None
        if not manifest.whole:
            finished(manifest, folder).write(folder)
        discard_unfinished(folder)
    for left in folder.glob("*.part"):
        if (held := lock_file(left, wait=False)) is not None:
            with held:
                left.unlink(missing_ok=True)


def _missing(harvests: Mapping[Path, Manifest]) -> dict[int, list[Path]]:
    """The harvests that lack it, for each shard that any lacks."""
    found: dict[int, list[Path]] = {}
    for folder, manifest in harvests.items():
        for number in manifest.missing(folder):
            found.setdefault(number, []).append(folder)
    return dict(sorted(found.items()))


def _contexts(harvests: Mapping[Path, Manifest], shards: Iterable[int]) -> tuple[int, int]:
    """How many contexts there are in all, and in `shards`."""
    manifest = next(iter(harvests.values()))
    return manifest.shape[0], sum(len(manifest.contexts(number)) for number in shards)


def _shard(
    harvests: Mapping[Path, Manifest], number: int, batch: int, source: Source
) -> Iterator[tuple[int, int]]:
    """Make one shard of those harvests that nobody else is at; contexts and bytes by batch."""
    with ExitStack() as stack:
        writers: dict[Path, ShardWriter] = {}
        for folder, manifest in harvests.items():
            file = stack.enter_context(_claimed(shard_path(folder, number)))
            if file is not None:
                shape = manifest.shard_shape(number)
                writers[folder] = ShardWriter(file, manifest.key, number, shape)
        if not writers:
            return
        contexts = next(iter(harvests.values())).contexts(number)
        for first in range(contexts.start, contexts.stop, batch):
            these = range(first, min(first + batch, contexts.stop))
            tensors = source(these, list(writers))
            pairs = zip(writers.values(), tensors, strict=True)
            written = sum(writer.append(tensor) for writer, tensor in pairs)
            del tensors, pairs  # not beside those of the next forward
            if these.stop == contexts.stop:
                for folder, writer in writers.items():
                    written += writer.finish()
                    path = shard_path(folder, number)
                    path.with_suffix(".part").replace(path)
                    sync_folder(folder)
                give_back()  # else memory grows with the number of shards
            yield len(these), written


@contextmanager
def _claimed(path: Path, *, wait: bool = False) -> Iterator[BinaryIO | None]:
    """The unfinished file of the shard `path`, ours alone; None if it is another's or done."""
    part = path.with_suffix(".part")
    held = lock_file(part, wait=wait)
    if held is None:
        yield None
        return
    with held:
        try:
            if path.exists():
                yield None
            else:
                with part.open("wb") as file:
                    yield file
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else writes the manifest meanwhile."""
    part = folder / "manifest.part"
    with lock_file(part) or ExitStack():
        try:
            yield
        finally:
            part.unlink(missing_ok=True)

"""Activations kept under their keys: a memory tier over a folder of safetensors files.

A prompt's activations at one site are one file (`captures/`), a corpus' one folder of shards
(`harvests/`); both carry their key in full. Files come to be whole (written beside, fsynced,
renamed) and are checked when read; whatever does not hold is an error that names file and
field. Several processes may share a store.
"""

import json
import os
import shutil
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from torch import Tensor

from workbench.cache.eviction import Freed, captures, evict, harvests
from workbench.cache.files import (
    FORMAT,
    TENSOR,
    DamagedError,
    header,
    opened,
    read,
    write,
    write_whole,
)
from workbench.cache.keys import Key
from workbench.cache.locks import lock_folder
from workbench.cache.manifest import damage, read_manifest
from workbench.errors import MISFITS, InputError
from workbench.home import home

MARKER = "lensbench-store.json"
GIB = 1024**3


@dataclass(frozen=True)
class Entry:
    """One prompt's activation (a file) or one corpus' (a folder), as listed.

    `made` is the record of a file; of a harvest the model's and corpus' names, their `n_ctx`, and
    how many of its `shards` are `missing`.
    """

    path: Path
    key: Key
    shape: tuple[int, ...]
    n_bytes: int
    made: Mapping[str, Any]

    @property
    def is_harvest(self) -> bool:
        return "shards" in self.made


class Store:
    """A folder of activations with a memory tier; evicts what was used longest ago.

    `memory` and `limit` are the bytes kept in memory and on disk. Tensors handed out are the
    caller's own: editing one cannot reach the store.
    """

    def __init__(
        self, folder: Path | None = None, *, memory: int = GIB // 2, limit: int = 20 * GIB
    ) -> None:
        self.folder = Path(folder) if folder is not None else home() / "store"
        self.memory = memory
        self.limit = limit
        self._tier: OrderedDict[Key, Tensor] = OrderedDict()
        self._tier_bytes = 0
        self._disk_bytes: int | None = None
        self._lock = RLock()
        _claim(self.folder)

    def get(self, key: Key) -> Tensor | None:
        """The tensor under `key` (on the CPU), or None; `DamagedError` if it cannot be trusted."""
        with self._lock:
            if key in self._tier:
                self._tier.move_to_end(key)
                return self._tier[key].clone()
        path = self.path(key)
        try:
            tensor, _ = read(path, key)
            with suppress(OSError):  # on a read-only disk, or another user's file
                os.utime(path)  # the age that eviction goes by
        except FileNotFoundError:  # never was, or another process evicts it just now
            return None
        self._remember(key, tensor)
        return tensor

    def put(self, key: Key, tensor: Tensor, *, ids: list[int], device: str) -> None:
        """Keep `tensor` under `key`, in memory and on disk."""
        tensor = tensor.detach().to("cpu", copy=True).contiguous()
        path = self.path(key)
        if not path.exists():
            n_bytes = write(path, key, tensor, ids, device)
            with self._lock:
                if self._disk_bytes is not None:
                    self._disk_bytes += n_bytes
            self._evict(keep=path)
        self._remember(key, tensor)

    def path(self, key: Key) -> Path:
        """Where the entry of `key` lies, or would."""
        return self.folder / "captures" / key.digest[:2] / f"{key.digest}.safetensors"

    def harvest_folder(self, key: Key) -> Path:
        """Where the harvest of `key` lies, or would."""
        return self.folder / "harvests" / key.digest

    def entries(self) -> Iterator[Entry]:
        """All entries; `DamagedError` at the first whose header cannot be read."""
        for item in sorted(harvests(self.folder), key=lambda item: item.path):
            if (manifest := read_manifest(item.path)) is not None:
                made = {
                    **manifest.about,
                    "shards": manifest.n_shards,
                    "missing": len(manifest.missing(item.path)),
                }
                yield Entry(item.path, manifest.key, manifest.shape, item.n_bytes, made)
        for item in sorted(captures(self.folder), key=lambda item: item.path):
            try:
                with opened(item.path) as file:
                    key, made = header(item.path, file.metadata())
                    shape = tuple(file.get_slice(TENSOR).get_shape())
            except FileNotFoundError:  # evicted meanwhile
                continue
            yield Entry(item.path, key, shape, item.n_bytes, made)

    def verify(self) -> list[DamagedError]:
        """Read everything against its checksums; returns what is wrong, entry by entry.

        A harvest that was not finished is not damaged: what is there of it is checked.
        """
        faults = []
        for item in captures(self.folder):
            try:
                read(item.path, None)
            except DamagedError as error:
                faults.append(error)
            except FileNotFoundError:  # evicted meanwhile
                continue
        for item in harvests(self.folder):
            with suppress(FileNotFoundError):
                held = lock_folder(item.path, shared=True)
                assert held is not None
                with held:
                    fault = damage(item.path)
                if fault is not None:
                    faults.append(fault)
        return faults

    def size(self) -> tuple[int, int]:
        """Number of entries and their bytes on disk."""
        items = [*captures(self.folder), *harvests(self.folder)]
        return len(items), sum(item.n_bytes for item in items)

    def prune(self, limit: int) -> Freed:
        """Remove what was used longest ago until at most `limit` bytes are left.

        A harvest that a process reads or writes stays, and is named in what is returned.
        """
        with self._lock:
            self._disk_bytes = None
        return evict(self.folder, limit)

    def clear(self) -> Freed:
        """Forget everything but the harvests that are in use."""
        with self._lock:
            self._tier.clear()
            self._tier_bytes = 0
        freed = self.prune(-1)
        shutil.rmtree(self.folder / "captures", ignore_errors=True)  # leftovers of killed writers
        return freed

    def _remember(self, key: Key, tensor: Tensor) -> None:
        n_bytes = tensor.nbytes
        if n_bytes > self.memory:
            return
        with self._lock:
            if key not in self._tier:
                self._tier[key] = tensor.clone()
                self._tier_bytes += n_bytes
            while self._tier_bytes > self.memory:
                _, old = self._tier.popitem(last=False)
                self._tier_bytes -= old.nbytes

    def _evict(self, keep: Path) -> None:
        """Remove what was used longest ago until the folder is under its limit."""
        with self._lock:
            if self._disk_bytes is None:
                self._disk_bytes = self.size()[1]
            if self._disk_bytes > self.limit:
                # Another process may evict as well: counted anew.
                self._disk_bytes = evict(self.folder, self.limit, keep).left


def _claim(folder: Path) -> None:
    """Make `folder` ours, or find that it is; refuse a folder with somebody else's files."""
    marker = folder / MARKER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not marker.exists():
            if any(not path.name.endswith(".part") for path in folder.iterdir()):
                raise InputError(
                    f"{folder} holds files that are not a store's (no {MARKER}); "
                    "give an empty folder with --store"
                )
            write_whole(marker, json.dumps({"format": FORMAT}).encode())
        found = json.loads(marker.read_text(encoding="utf-8")).get("format")
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"the store {folder} cannot be written ({error.strerror or error}); "
            "give another with --store or $WORKBENCH_HOME"
        ) from error
    except MISFITS as error:
        raise DamagedError(f"{marker}: not a store's marker ({error})") from error
    if found != FORMAT:
        raise DamagedError(
            f"{marker}: field format: expected {FORMAT}, found {found}; another version of "
            "lensbench wrote it: give another folder with --store"
        )

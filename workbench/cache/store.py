"""Activations kept under their keys: a memory tier over a folder of safetensors files.

One file holds one key's tensor, with the key written out in full beside it. Files come to be
whole (written beside, fsynced, renamed) and are checked when read; whatever does not hold is
an error that names file and field. Several processes may share a folder.
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

from workbench.cache.files import FORMAT, TENSOR, DamagedError, header, opened, read, replace, write
from workbench.cache.keys import Key
from workbench.errors import InputError
from workbench.home import home

MARKER = "lensbench-store.json"
GIB = 1024**3


@dataclass(frozen=True)
class Entry:
    """One stored activation, as listed."""

    path: Path
    key: Key
    shape: tuple[int, ...]
    n_bytes: int
    made: Mapping[str, Any]


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

    def entries(self) -> Iterator[Entry]:
        """All entries; `DamagedError` at the first whose header cannot be read."""
        for _, n_bytes, path in self._files():
            try:
                with opened(path) as file:
                    key, made = header(path, file.metadata())
                    shape = tuple(file.get_slice(TENSOR).get_shape())
            except FileNotFoundError:  # evicted meanwhile
                continue
            yield Entry(path, key, shape, n_bytes, made)

    def verify(self) -> list[DamagedError]:
        """Read every entry against its checksum; returns what is wrong."""
        faults = []
        for _, _, path in self._files():
            try:
                read(path, None)
            except DamagedError as error:
                faults.append(error)
            except FileNotFoundError:  # evicted meanwhile
                continue
        return faults

    def size(self) -> tuple[int, int]:
        """Number of entries and their bytes on disk."""
        sizes = [n_bytes for _, n_bytes, _ in self._files()]
        return len(sizes), sum(sizes)

    def clear(self) -> int:
        """Forget everything; returns the bytes freed on disk."""
        _, freed = self.size()
        with self._lock:
            self._tier.clear()
            self._tier_bytes = 0
            self._disk_bytes = None
        shutil.rmtree(self.folder / "captures", ignore_errors=True)
        return freed

    def _files(self) -> list[tuple[float, int, Path]]:
        """Time of last use, size and path of each entry; other processes may evict meanwhile."""
        found = []
        for path in sorted((self.folder / "captures").glob("*/*.safetensors")):
            with suppress(FileNotFoundError):
                about = path.stat()
                found.append((about.st_mtime, about.st_size, path))
        return found

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
        """Delete the files used longest ago until the folder is under its limit."""
        with self._lock:
            if self._disk_bytes is None:
                self._disk_bytes = self.size()[1]
            if self._disk_bytes <= self.limit:
                return
            # Another process may evict as well: count anew, and let a file be gone already.
            aged = sorted(self._files())
            total = sum(size for _, size, _ in aged)
            for _, size, path in aged:
                if total <= self.limit:
                    break
                if path != keep:
                    path.unlink(missing_ok=True)
                    total -= size
            self._disk_bytes = total


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
            replace(marker, json.dumps({"format": FORMAT}).encode())
        found = json.loads(marker.read_text(encoding="utf-8")).get("format")
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"the store {folder} cannot be written ({error.strerror or error}); "
            "give another with --store or $WORKBENCH_HOME"
        ) from error
    except (ValueError, AttributeError) as error:
        raise DamagedError(f"{marker}: not a store's marker ({error})") from error
    if found != FORMAT:
        raise DamagedError(f"{marker}: field format: expected {FORMAT}, found {found}")

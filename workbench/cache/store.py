"""Activations kept under their keys: a memory tier over a folder of safetensors files.

One file holds one key's tensor, with the key written out in full beside it. Files come to be
whole (written beside, fsynced, renamed) and are checked when read; whatever does not hold is
an error that names file and field. Several processes may share a folder.
"""

import json
import os
import platform
import secrets
import shutil
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import RLock
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from workbench.cache.keys import Key
from workbench.errors import InputError
from workbench.home import home

FORMAT = 1
MARKER = "lensbench-store.json"
_TENSOR = "activation"
GIB = 1024**3


class DamagedError(InputError):
    """An entry that cannot be trusted; the message names the file and the field."""


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
            tensor, _ = _read(path, key)
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
            n_bytes = _write(path, key, tensor, ids, device)
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
                with _opened(path) as file:
                    key, made = _header(path, file.metadata())
                    shape = tuple(file.get_slice(_TENSOR).get_shape())
            except FileNotFoundError:  # evicted meanwhile
                continue
            yield Entry(path, key, shape, n_bytes, made)

    def verify(self) -> list[DamagedError]:
        """Read every entry against its checksum; returns what is wrong."""
        faults = []
        for _, _, path in self._files():
            try:
                _read(path, None)
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
            if any(folder.iterdir()):
                raise InputError(
                    f"{folder} holds files that are not a store's (no {MARKER}); "
                    "give an empty folder with --store"
                )
            _replace(marker, json.dumps({"format": FORMAT}).encode())
        found = json.loads(marker.read_text(encoding="utf-8")).get("format")
    except OSError as error:
        raise InputError(
            f"the store {folder} cannot be written ({error.strerror or error}); "
            "give another with --store or $WORKBENCH_HOME"
        ) from error
    except (ValueError, AttributeError) as error:
        raise DamagedError(f"{marker}: not a store's marker ({error})") from error
    if found != FORMAT:
        raise DamagedError(f"{marker}: field format: expected {FORMAT}, found {found}")


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _write(path: Path, key: Key, tensor: Tensor, ids: list[int], device: str) -> int:
    """Write one entry; returns its bytes on disk."""
    made = {
        "ids": ids,
        "device": device,
        "machine": platform.machine(),
        **_versions(),
        "seconds_since_epoch": int(time.time()),
    }
    written, about = json.dumps(asdict(key)), json.dumps(made)
    metadata = {
        "format": str(FORMAT),
        "key": written,
        "made": about,
        "checksum": _checksum(tensor, written, about),
    }
    beside = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({_TENSOR: tensor}, beside, metadata=metadata)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        n_bytes = beside.stat().st_size
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(
            f"the store cannot write {path} ({error.strerror or error}); "
            "free some space or give another folder with --store"
        ) from error
    return n_bytes


@cache
def _versions() -> dict[str, str]:
    """Looked up once: parsing package metadata takes longer than writing an entry."""
    return {name: version(name) for name in ("lensbench", "torch", "transformer-lens")}


def _read(path: Path, expected: Key | None) -> tuple[Tensor, Key]:
    with _opened(path) as file:
        metadata = file.metadata()
        key, _ = _header(path, metadata)
        if expected is not None and key != expected:
            told = "; ".join(
                f"field {name}: expected {getattr(expected, name)}, found {getattr(key, name)}"
                for name in key.differences(expected)
            )
            raise DamagedError(f"{path} holds another activation: {told}")
        if expected is None and path.stem != key.digest:
            raise DamagedError(f"{path}: field key: belongs under the name {key.digest}")
        try:
            tensor = file.get_tensor(_TENSOR)
        except SafetensorError as error:
            raise DamagedError(f"{path}: field {_TENSOR}: {error}") from error
        found = _checksum(tensor, metadata["key"], metadata["made"])
        if found != metadata["checksum"]:
            raise DamagedError(
                f"{path}: field checksum: expected {metadata['checksum']}, found {found}; "
                "delete the file or run `workbench cache clear`"
            )
        # Out of the map: an evicted or damaged file must not change a tensor already handed out.
        return tensor.clone(), key


def _opened(path: Path):
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise DamagedError(
            f"{path}: field file: not a whole safetensors file ({error}); delete it"
        ) from error


def _header(path: Path, metadata: Mapping[str, str] | None) -> tuple[Key, dict[str, Any]]:
    """The key and the record of a file, after its format and its fields were checked."""
    metadata = metadata or {}
    for name in ("format", "key", "made", "checksum"):
        if name not in metadata:
            raise DamagedError(f"{path}: field {name}: expected in the header, found none")
    if metadata["format"] != str(FORMAT):
        raise DamagedError(
            f"{path}: field format: expected {FORMAT}, found {metadata['format']}; "
            "another version of lensbench wrote it"
        )
    try:
        return Key(**json.loads(metadata["key"])), json.loads(metadata["made"])
    except (ValueError, TypeError) as error:
        raise DamagedError(f"{path}: field key: cannot be read ({error})") from error


def _checksum(tensor: Tensor, key: str, made: str) -> str:
    """XXH3-128 over the header's words and the tensor's dtype, shape and bytes."""
    state = xxhash.xxh3_128(f"{key}|{made}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
    if tensor.numel():
        state.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()

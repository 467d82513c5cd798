"""What lies in a store's folder, by its last use, and the removal of what was used longest ago."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workbench.cache.files import writable
from workbench.cache.locks import lock_folder
from workbench.cache.manifest import NAME


@dataclass(frozen=True, order=True)
class Item:
    """One captured file or one harvest's folder; the least is the one used longest ago."""

    used: float
    n_bytes: int
    path: Path

    def remove(self) -> bool:
        """Whether it is gone now; a harvest that anybody reads or writes stays."""
        if self.path.suffix:
            self.path.unlink(missing_ok=True)  # a process that reads it has it open
            return True
        try:
            held = lock_folder(self.path, shared=False, wait=False)
        except FileNotFoundError:  # another process evicts it just now
            return True
        if held is None:
            return False
        with held:
            # Moved first: a removal that is cut short must not look like a damaged harvest.
            gone = self.path.with_name(f".{self.path.name}-{secrets.token_hex(4)}.gone")
            self.path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        return True


@dataclass(frozen=True)
class Freed:
    """What an eviction did: bytes and entries removed, bytes left, harvests kept as in use."""

    n_bytes: int
    entries: int
    left: int
    in_use: tuple[Path, ...]


def captures(folder: Path) -> list[Item]:
    """The captured files under `folder`, in no order; others may evict meanwhile."""
    found = []
    for path in (folder / "captures").glob("*/*.safetensors"):
        with suppress(FileNotFoundError):
            about = path.stat()
            found.append(Item(about.st_mtime, about.st_size, path))
    return found


def harvests(folder: Path) -> list[Item]:
    """The harvests under `folder`, whole or not."""
    return [
        Item(_used(path), sum(_sizes(path)), path)
        for path in (folder / "harvests").glob("*")
        if not path.name.startswith(".")
    ]


def evict(folder: Path, limit: int, keep: Path | None = None) -> Freed:
    """Remove what was used longest ago, but `keep`, until at most `limit` bytes are left."""
    for rest in (folder / "harvests").glob(".*.gone"):  # of removals that were cut short
        shutil.rmtree(rest, ignore_errors=True)
    aged = sorted([*captures(folder), *harvests(folder)])
    left = sum(item.n_bytes for item in aged)
    removed, in_use = [], []
    for item in aged:
        if left <= limit:
            break
        if item.path == keep:
            continue
        with writable(item.path):
            gone = item.remove()
        if gone:
            removed.append(item)
            left -= item.n_bytes
        else:
            in_use.append(item.path)
    return Freed(sum(item.n_bytes for item in removed), len(removed), left, tuple(in_use))


def _used(harvest: Path) -> float:
    for path in (harvest / NAME, harvest):
        with suppress(FileNotFoundError):
            return path.stat().st_mtime
    return 0.0


def _sizes(harvest: Path) -> Iterator[int]:
    for path in harvest.glob("*"):
        with suppress(FileNotFoundError):
            yield path.stat().st_size

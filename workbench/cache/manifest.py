"""The manifest of a harvest: whose activations they are, how they are cut, each shard's mark."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import xxhash
from torch import Size

from workbench.cache.files import (
    FORMAT,
    DamagedError,
    check_key,
    checked_words,
    parsed_key,
    sync_folder,
    write_whole,
)
from workbench.cache.keys import Key
from workbench.cache.shards import Shard, open_shard
from workbench.errors import MISFITS
from workbench.models import DTYPES

NAME = "manifest.json"
_MOST_SHARDS = 10**6  # far above any harvest, so that a lying file takes neither time nor memory
_FIELDS = ("key", "about", "shape", "shard_contexts", "shards", "checksum")


@dataclass(frozen=True)
class Manifest:
    """What a harvest's folder holds, or will.

    `shape` is `(contexts, pos, ...)` of the whole site; every shard but the last holds
    `shard_contexts` of them. `shards` has the checksum of each shard once all are there, and is
    empty while some are missing. `about` is for people: the names of
    `model` and `corpus`, and the corpus' `n_ctx`.
    """

    key: Key
    about: Mapping[str, str | int]
    shape: tuple[int, ...]
    shard_contexts: int
    shards: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return bool(self.shards)

    @property
    def n_shards(self) -> int:
        return -(-self.shape[0] // self.shard_contexts)

    @property
    def n_bytes(self) -> int:
        """Of all activations."""
        return Size(self.shape).numel() * DTYPES[self.key.dtype].itemsize

    def contexts(self, number: int) -> range:
        """The contexts in shard `number`."""
        return contexts_of(number, self.shard_contexts, self.shape[0])

    def shard_shape(self, number: int) -> tuple[int, ...]:
        return (len(self.contexts(number)), *self.shape[1:])

    def open_shard(self, folder: Path, number: int) -> Shard:
        """Raises `DamagedError` unless the shard is there, and is the one written down here."""
        shard = open_shard(shard_path(folder, number), self.key, number, self.shard_shape(number))
        if self.whole and shard.checksum != self.shards[number]:
            raise DamagedError(
                f"{shard.path}: field checksum: the manifest expects {self.shards[number]}, "
                f"found {shard.checksum}; delete the harvest and make it again"
            )
        return shard

    def missing(self, folder: Path) -> list[int]:
        """The shards that are not there."""
        there = {path.name for path in folder.glob("shard-*.safetensors")}
        return [n for n in range(self.n_shards) if shard_path(folder, n).name not in there]

    def write(self, folder: Path) -> None:
        """Write it whole; it is on the disk when this returns."""
        fields = asdict(self) | {"format": FORMAT}
        fields["checksum"] = _checksum(fields)
        write_whole(folder / NAME, (json.dumps(fields, indent=1) + "\n").encode())
        sync_folder(folder)


def contexts_of(number: int, cut: int, n_contexts: int) -> range:
    """The contexts in shard `number` where each but the last holds `cut` of them."""
    return range(number * cut, min((number + 1) * cut, n_contexts))


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.safetensors"


def read_manifest(folder: Path, key: Key | None = None) -> Manifest | None:
    """The manifest of `folder`, None without one; `DamagedError` if it was edited.

    It must be of `key`, or, without one, of the key that the folder is named after.
    """
    path = folder / NAME
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except MISFITS as error:
        raise DamagedError(f"{path}: field file: not a whole manifest ({error})") from error
    if not isinstance(fields, dict):
        raise DamagedError(f"{path}: field file: expected a manifest, found {fields!r}")
    checked_words(path, fields, _FIELDS)
    found = parsed_key(path, json.dumps(fields["key"]))
    if key is not None:
        check_key(path, found, key)
    if found.digest != folder.name:
        raise DamagedError(f"{path}: field key: belongs under the name {found.digest}")
    if (computed := _checksum(fields)) != fields["checksum"]:
        raise DamagedError(
            f"{path}: field checksum: expected {fields['checksum']}, found {computed}; "
            "it was edited: delete the folder and harvest again"
        )
    _expect_sizes(path, found, fields)
    return Manifest(
        found,
        fields["about"],
        tuple(fields["shape"]),
        fields["shard_contexts"],
        tuple(fields["shards"]),
    )


def _expect_sizes(path: Path, key: Key, fields: Mapping[str, Any]) -> None:
    """Raise `DamagedError` for numbers that no harvest has: a checksum can be made to fit them."""
    shape, cut, shards = (fields[name] for name in ("shape", "shard_contexts", "shards"))
    whole = isinstance(shape, list) and len(shape) > 1 and all(map(_is_size, [*shape, cut]))
    if not whole or -(-shape[0] // cut) > _MOST_SHARDS or key.dtype not in DTYPES:
        told = f"shape {shape}, {cut} contexts in a shard, dtype {key.dtype}"
        raise DamagedError(f"{path}: field shape: expected those of a harvest, found {told}")
    listed = isinstance(shards, list) and all(isinstance(one, str) for one in shards)
    if not listed or len(shards) not in (0, -(-shape[0] // cut)):
        raise DamagedError(f"{path}: field shards: expected a checksum of each, found {shards!r}")
    if not isinstance(fields["about"], dict):
        raise DamagedError(f"{path}: field about: expected names, found {fields['about']!r}")


def _is_size(number: object) -> bool:
    return type(number) is int and 0 < number < 2**63


def damage(folder: Path) -> DamagedError | None:
    """What is wrong in a harvest's folder, every byte read; shards not made yet are not."""
    try:
        manifest = read_manifest(folder)
    except DamagedError as error:
        return error
    if manifest is None:
        shards = list(folder.glob("shard-*.safetensors"))
        told = f"{folder / NAME}: field file: expected a manifest, found none"
        return DamagedError(told) if shards else None
    faults = []
    missing = () if manifest.whole else manifest.missing(folder)
    for number in sorted({*range(manifest.n_shards)} - {*missing}):
        try:
            shard = manifest.open_shard(folder, number)
            for context in range(len(shard.activations)):
                shard.check(context)
        except DamagedError as error:
            faults.append(str(error))
    return DamagedError("; ".join(faults)) if faults else None


def finished(manifest: Manifest, folder: Path) -> Manifest:
    """The manifest of a harvest whose shards are all there, each one opened and checked."""
    shards = (manifest.open_shard(folder, number) for number in range(manifest.n_shards))
    return replace(manifest, shards=tuple(shard.checksum for shard in shards))


def _checksum(fields: Mapping[str, Any]) -> str:
    """XXH3-128 over everything else in the manifest."""
    rest = {name: value for name, value in fields.items() if name != "checksum"}
    return xxhash.xxh3_128_hexdigest(json.dumps(rest, sort_keys=True).encode())

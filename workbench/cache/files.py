"""One entry of the store on disk: a safetensors file with its key, a record and a checksum.

A file comes to be whole (written beside, fsynced, renamed) and is checked when read. Whatever
does not hold is a `DamagedError` that names the file and the field.
"""

import errno
import json
import os
import platform
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from workbench.cache.keys import Key
from workbench.errors import MISFITS, InputError
from workbench.fetching import write_whole as write_whole  # as the files of a store are written

FORMAT = 1
TENSOR = "activation"
_REFUSALS = (errno.ENOENT, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO, errno.ENOMEM)


class DamagedError(InputError):
    """An entry that cannot be trusted; the message names the file and the field."""


def write(path: Path, key: Key, tensor: Tensor, ids: list[int], device: str) -> int:
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
    with writable(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({TENSOR: tensor}, beside, metadata=metadata)
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            n_bytes = beside.stat().st_size
            beside.replace(path)
        except SafetensorError as error:  # its word for what the disk refuses
            beside.unlink(missing_ok=True)
            raise OSError(str(error)) from error
        except OSError:
            beside.unlink(missing_ok=True)
            raise
    return n_bytes


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Say in one sentence what a full, read-only or broken disk refused."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the store cannot write {path} ({error.strerror or error}); "
            "free some space, see that it may be written to, or give another folder with --store"
        ) from error


@cache
def _versions() -> dict[str, str]:
    """Looked up once: parsing package metadata takes longer than writing an entry."""
    return {name: version(name) for name in ("lensbench", "torch", "transformer-lens")}


def sync_folder(folder: Path) -> None:
    """Put the names in `folder` on the disk, as fsync puts a file's bytes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path, expected: Key | None) -> tuple[Tensor, Key]:
    with opened(path) as file:
        metadata = file.metadata()
        key, _ = header(path, metadata)
        if expected is not None:
            check_key(path, key, expected)
        if expected is None and path.stem != key.digest:
            raise DamagedError(f"{path}: field key: belongs under the name {key.digest}")
        try:
            tensor = file.get_tensor(TENSOR)
        except (SafetensorError, *MISFITS) as error:
            check_refusal(path, error)
            raise DamagedError(f"{path}: field {TENSOR}: {error}") from error
        found = _checksum(tensor, metadata["key"], metadata["made"])
        if found != metadata["checksum"]:
            raise DamagedError(
                f"{path}: field checksum: expected {metadata['checksum']}, found {found}; "
                "delete the file or run `workbench cache clear`"
            )
        # Out of the map: an evicted or damaged file must not change a tensor already handed out.
        return tensor.clone(), key


def opened(path: Path):
    """Raises `DamagedError` for what is no safetensors file, `OSError` where none can be opened."""
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, RuntimeError) as error:
        # torch maps the file after safetensors has found it: it may be evicted in between.
        check_refusal(path, error)
        raise DamagedError(
            f"{path}: field file: not a whole safetensors file ({error}); delete it"
        ) from error


def check_refusal(path: Path, error: Exception) -> None:
    """Raise `OSError` where it was the machine that kept a sound file from being read.

    safetensors says of whatever hinders it that there is no such file, torch has it in its words.
    """
    if isinstance(error, FileNotFoundError):
        os.close(os.open(path, os.O_RDONLY))
    for code in _REFUSALS:
        if os.strerror(code) in str(error):
            raise OSError(code, os.strerror(code), str(path)) from error


def header(path: Path, metadata: Mapping[str, str] | None) -> tuple[Key, dict[str, Any]]:
    """The key and the record of a file, after its format and its fields were checked."""
    words = checked_words(path, metadata, ("key", "made", "checksum"))
    key = parsed_key(path, words["key"])
    try:
        return key, dict(json.loads(words["made"]))
    except MISFITS as error:
        raise DamagedError(f"{path}: field made: cannot be read ({error})") from error


def checked_words(path: Path, words: Mapping[str, Any] | None, fields: Sequence[str]) -> Mapping:
    """`words` of a file's header or manifest, after its format and its fields were checked."""
    words = words or {}
    for name in ("format", *fields):
        if name not in words:
            raise DamagedError(f"{path}: field {name}: expected in the header, found none")
    if str(words["format"]) != str(FORMAT):
        raise DamagedError(
            f"{path}: field format: expected {FORMAT}, found {words['format']}; "
            "another version of lensbench wrote it"
        )
    return words


def parsed_key(path: Path, text: str) -> Key:
    try:
        key = Key(**json.loads(text))
        if not all(isinstance(word, str) for word in asdict(key).values()):
            raise TypeError("it holds what is no text")
        return key
    except MISFITS as error:
        raise DamagedError(f"{path}: field key: cannot be read ({error})") from error


def check_key(path: Path, found: Key, expected: Key) -> None:
    """`DamagedError` with each field in which the key of a file is not the one expected."""
    if found != expected:
        told = "; ".join(
            f"field {name}: expected {getattr(expected, name)}, found {getattr(found, name)}"
            for name in found.differences(expected)
        )
        raise DamagedError(f"{path} holds another activation: {told}")


def _checksum(tensor: Tensor, key: str, made: str) -> str:
    """XXH3-128 over the header's words and the tensor's dtype, shape and bytes."""
    state = xxhash.xxh3_128(f"{key}|{made}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
    if tensor.numel():
        state.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()

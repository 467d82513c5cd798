"""A folder (a store, a training) synchronised with any fsspec URL, file by file.

Shards and captured entries never change once they are there: they are copied once. What says that
they are whole (manifests, states, cards) is copied each time, and last, so that a copy that was cut
short never looks whole.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from workbench.errors import InputError

Progress = Callable[[int, int], None]
PART = ".part"


@dataclass(frozen=True)
class Copied:
    """Files and bytes that were copied, and files that were there already."""

    files: int
    n_bytes: int
    kept: int


def push(folder: Path, url: str, progress: Progress | None = None) -> Copied:
    """Copy what `url` lacks of `folder`. Raises `InputError` for what cannot be read or written."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder} to copy; give one, or --store")
    system, root = _opened(url)
    here, there = _local(folder), _remote(system, root, url)

    def copy(name: str) -> None:
        target = f"{root}/{name}"
        system.makedirs(target.rpartition("/")[0], exist_ok=True)
        system.put_file(str(folder / name), target + PART)
        system.mv(target + PART, target)

    return _copied(here, there, copy, f"{folder} to {url}", progress)


def pull(url: str, folder: Path, progress: Progress | None = None) -> Copied:
    """Copy what `folder` lacks of `url`; nothing is written outside of `folder`.

    Raises `InputError` for a URL that holds nothing, names that lead out of the folder, and for
    what cannot be read or written.
    """
    system, root = _opened(url)
    there = _remote(system, root, url)
    if not there:
        raise InputError(f"{url} holds no files; push something there first")

    def copy(name: str) -> None:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(target.name + PART)
        system.get_file(f"{root}/{name}", str(beside))
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(target)

    return _copied(there, _local(folder), copy, f"{url} to {folder}", progress)


def _copied(
    source: dict[str, int],
    target: dict[str, int],
    copy: Callable[[str], None],
    what: str,
    progress: Progress | None,
) -> Copied:
    wanted = [n for n, size in source.items() if not (_settled(n) and target.get(n) == size)]
    wanted.sort(key=lambda name: (not _settled(name), name))
    total, done = sum(source[name] for name in wanted), 0
    for name in wanted:
        try:
            copy(name)
        except OSError as error:
            raise InputError(
                f"cannot copy {name} from {what}: {error.strerror or error}; what was copied "
                "before it is kept, the same command goes on"
            ) from error
        done += source[name]
        if progress is not None:
            progress(done, total)
    return Copied(len(wanted), total, len(source) - len(wanted))


def _settled(name: str) -> bool:
    """Whether a file of that name never changes: its name says what is in it."""
    path = PurePosixPath(name)
    return path.suffix == ".safetensors" and (
        path.name.startswith("shard-") or "captures" in path.parts
    )


def _local(folder: Path) -> dict[str, int]:
    """Sizes by name; what is being written, or thrown away, is left out."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.is_symlink() and _whole(name):
            found[name] = path.stat().st_size
    return found


def _remote(system: Any, root: str, url: str) -> dict[str, int]:
    try:
        listed = system.find(root, detail=True)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"cannot list {url}: {error.strerror or error}") from error
    prefix = root.rstrip("/") + "/"
    found = {}
    for path, about in listed.items():
        name = path.removeprefix(prefix)
        if not path.startswith(prefix) or not _is_inside(name):
            raise InputError(f"{url} names a file {path!r} outside of itself; it is not to be had")
        if _whole(name):
            found[name] = about["size"]
    return found


def _is_inside(name: str) -> bool:
    """Whether a name from elsewhere is one of a file beneath a folder here, on any machine."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    path = PurePosixPath(name)
    leads_out = not path.parts or path.is_absolute() or ".." in path.parts
    return not leads_out and not {"\\", "\0"} & {*name}


def _whole(name: str) -> bool:
    return not name.endswith(PART) and not any(
        part.startswith(".") for part in PurePosixPath(name).parts
    )


def _opened(url: str) -> tuple[Any, str]:
    try:
        system, root = fsspec.url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise InputError(
            f"{url} cannot be opened ({error}); give a URL that fsspec knows, such as "
            "s3://bucket/folder (with s3fs installed), or a folder"
        ) from error
    return system, root.rstrip("/")

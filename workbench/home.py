"""Where things lie on disk: models, the store and run records, under one folder."""

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """`$WORKBENCH_HOME`, or the user's cache folder; nothing is created here."""
    given = os.environ.get("WORKBENCH_HOME")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("lensbench"))

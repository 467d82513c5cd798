"""Measurements that need a process of their own, as peaks of memory do."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def measured(module: str, *arguments: object) -> Any:
    """What `python -m MODULE ARGUMENTS` tells as JSON in its last line of output."""
    command = [sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def tell(value: object) -> None:
    """The child's side of it."""
    sys.stdout.write(json.dumps(value) + "\n")


def can_measure_memory() -> bool:
    """Peaks are read from Linux's own tables."""
    return Path("/proc/self/clear_refs").exists()

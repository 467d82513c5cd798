"""What a stretch of work costs in memory and time, and what the machine has left."""

import ctypes
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_GROUP = Path("/sys/fs/cgroup")


@dataclass
class Spent:
    """Peaks of the bytes that the whole process held, and seconds; `device` is 0 on the CPU."""

    device: int = 0
    host: int = 0
    seconds: float = 0.0


@contextmanager
def spending(device: torch.device) -> Iterator[Spent]:
    """Measures what is done inside; the value is filled in at the end."""
    spent = Spent()
    with suppress(OSError):  # where there is none, the peak is that of the process' whole life
        _RESET.write_text("5", encoding="ascii")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    try:
        yield spent
    finally:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            spent.device = torch.cuda.max_memory_allocated(device)
        spent.seconds = time.perf_counter() - started
        spent.host = _peak_host()


def resident(device: torch.device) -> Spent:
    """What this process holds now."""
    held = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    return Spent(held, _status("VmRSS") or _peak_host())


def free_device(device: torch.device) -> int | None:
    """Bytes that this process may still take on the device; None on the CPU.

    No more than `torch.cuda.set_per_process_memory_fraction` leaves it.
    """
    if device.type != "cuda":
        return None
    held = torch.cuda.memory_allocated(device)
    free, total = torch.cuda.mem_get_info(device)
    allowed = int(total * torch.cuda.get_per_process_memory_fraction(device))
    return min(free + torch.cuda.memory_reserved(device) - held, allowed - held)


def free_host() -> int | None:
    """Bytes of memory free for new work, within a container's limit; None where not known."""
    free = [
        found
        for found in (_line(Path("/proc/meminfo"), "MemAvailable"), _free_in_container())
        if found is not None
    ]
    return min(free, default=None)


def free_disk(folder: Path) -> int:
    """Bytes free on the disk of `folder`, or of the nearest folder above that exists."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def give_back() -> None:
    """Hand to the system what earlier work freed, so that it hides no growth."""
    with suppress(OSError, AttributeError):  # the GNU C library's own
        ctypes.CDLL(None).malloc_trim(0)


def _free_in_container() -> int | None:
    with suppress(OSError, ValueError):  # no container, or no limit ("max")
        limit = int((_GROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_GROUP / "memory.current").read_text(encoding="ascii"))
        return limit - used + (_line(_GROUP / "memory.stat", "inactive_file", unit=1) or 0)
    return None


def _peak_host() -> int:
    if (peak := _status("VmHWM")) is not None:
        return peak
    import resource  # not on every system, as /proc is not

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _status(field: str) -> int | None:
    return _line(_STATUS, field)


def _line(path: Path, field: str, unit: int = 1024) -> int | None:
    """The number behind `field` in one of the kernel's tables, times `unit`."""
    with suppress(OSError):
        for line in path.read_text(encoding="ascii").splitlines():
            name, _, value = line.replace(":", " ").partition(" ")
            if name == field:
                return unit * int(value.split()[0])
    return None

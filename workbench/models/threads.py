"""How many CPU threads torch uses."""

import os

import torch

from workbench.ranks import world


def use_free_cores(threads: int | None = None) -> int:
    """Use `threads`, or the cores that are free now; returns the number.

    Of several ranks each uses one, or what OMP_NUM_THREADS says.

    Threads on a busy core make every operation of the others wait: with two on a machine of
    two cores and another process on one, a forward of 0.1 s took 4 s.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if world() > 1:  # torchrun says how many each may have: one, unless told otherwise
        threads = threads or int(os.environ.get("OMP_NUM_THREADS", "1"))
    free = (cores or 1) - round(os.getloadavg()[0]) if hasattr(os, "getloadavg") else cores or 1
    torch.set_num_threads(threads or max(1, free))
    return torch.get_num_threads()

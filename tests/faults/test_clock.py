"""A clock that jumps by years: nothing that goes by it loses work, and no number knows of it."""

import os
import random
from functools import partial
from pathlib import Path

import torch

from tests.faults.children import bytes_in, check_all_end, forked, opened, tree, write
from tests.faults.grounds import Ground
from tests.faults.injected import wrong_clock
from tests.faults.jobs import ended, moment, said, start
from tests.faults.report import Tally, check_goes_on, check_promises
from workbench.cache import Store, capture
from workbench.cache.eviction import evict


def test_a_job_under_a_clock_that_jumps(
    ground: Ground, tmp_path: Path, tally: Tally, few: int
) -> None:
    """Killed under one clock, gone on with under another."""
    for seed in range(few):
        folder, drawn = ground.fresh(tmp_path / str(seed)), random.Random(seed)
        with tally.fault("a wrong clock", ground.job.name) as line:
            command = ground.job.command(folder)
            child = start(command, folder, partial(wrong_clock, seed=seed))
            moment(child, folder, drawn.random() * ground.seconds)
            child.kill()
            child.join()
            check_promises(line, ground, folder)
            again = partial(wrong_clock, seed=seed + 1000)
            assert ended(ground.job.command(folder), folder, again) == 0, said(folder)
            check_promises(line, ground, folder)
            check_goes_on(ground, folder)


def test_eviction_by_a_wrong_clock(tiny, ids: torch.Tensor, tmp_path: Path, tally: Tally) -> None:
    """Ages are the clock's: within the limit none counts, and what is in use or just made stays."""
    folder, alone = tmp_path / "store", tmp_path / "alone"
    write(alone)
    write(folder)
    whole = tree(alone)
    for age in (0.0, 4e9):  # before everything, and a century ahead
        for path in folder.rglob("*"):
            os.utime(path, (age, age))
        with tally.fault("a wrong clock", "eviction") as line:
            assert evict(folder, bytes_in(folder)).entries == 0
            harvests = opened(folder)
            assert evict(folder, 0).entries == 0
            line.expect(len(whole), len(whole) - len(whole.items() & tree(folder).items()))
            del harvests
    with tally.fault("a wrong clock", "capture") as line:
        store = Store(
            tmp_path / "small", memory=0, limit=1
        )  # each is too large: the last one stays

        def take() -> None:
            with wrong_clock(tmp_path, 0):
                for row in ids:
                    capture(tiny("gpt2"), row[None], "0.resid_post", store)

        check_all_end(forked(take))
        line.expect(1, int(store.size()[0] != 1))
        assert store.verify() == []

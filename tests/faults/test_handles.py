"""Few file handles: what a job cannot open it tells of; no sound file is called damaged."""

from functools import partial
from pathlib import Path

import pytest
import torch

from tests.faults.children import check_all_end, forked, opened, write
from tests.faults.grounds import Ground
from tests.faults.injected import few_files
from tests.faults.jobs import ended
from tests.faults.report import Tally, check_goes_on, check_promises, check_told
from workbench.cache import DamagedError, Store, capture
from workbench.carded import read_card, read_carded, write_carded

LIMITS = (1, 3, 20, 2, 5, 8, 12)
TOLD = "Too many open files"


def test_a_limit_of_file_handles(ground: Ground, tmp_path: Path, tally: Tally, few: int) -> None:
    for spare in LIMITS[: few + 1]:
        folder = ground.fresh(tmp_path / str(spare))
        with tally.fault("few file handles", ground.job.name) as line:
            status = ended(ground.job.command(folder), folder, partial(few_files, spare=spare))
            if status:
                check_told(folder, status, TOLD)
            check_promises(line, ground, folder)
            check_goes_on(ground, folder)


@pytest.mark.parametrize("spare", range(4))
def test_what_cannot_be_opened_is_not_called_damaged(
    spare: int, tiny, ids: torch.Tensor, tmp_path: Path, tally: Tally
) -> None:
    """safetensors says of it that it is not there, torch that it does not open."""
    folder, carded = tmp_path / "store", tmp_path / "carded.safetensors"
    write(folder)
    model, store = tiny("gpt2"), Store(tmp_path / "captures", memory=0)
    capture(model, ids, "0.resid_post", store)
    write_carded(carded, {"x": torch.ones(2)}, {"format": 1}, what="thing")

    def read_under_limit() -> None:
        reads = (
            lambda: opened(folder)[0].verify(),
            lambda: capture(model, ids, "0.resid_post", store),
            lambda: store.verify() == [] or pytest.fail("called damaged"),
            lambda: read_carded(carded, what="thing", fmt=1),
            lambda: read_card(carded, what="thing"),
        )
        with few_files(folder, spare):
            for read in reads:
                try:
                    read()
                    assert spare, f"{read} read what it cannot open"
                except OSError as error:
                    assert TOLD in str(error), error

    with tally.fault("few file handles", "reading"):
        check_all_end(forked(read_under_limit))
        assert not [fault for fault in store.verify() if isinstance(fault, DamagedError)]

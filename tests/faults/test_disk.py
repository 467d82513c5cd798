"""A disk that fills up, or turns read-only, under each job: told in a sentence, nothing lost."""

import errno
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.faults.grounds import Ground
from tests.faults.injected import refusing
from tests.faults.jobs import ended, said
from tests.faults.report import Tally, check_goes_on, check_promises, check_told

WHAT = {errno.ENOSPC: "a full disk", errno.EROFS: "a read-only disk"}


@pytest.fixture(scope="module")
def written(grounds: dict[str, Ground], tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How many bytes each job writes in all: more than it leaves."""

    @contextmanager
    def counting(folder: Path) -> Iterator[None]:
        with refusing(folder, 10**12) as disk:
            yield
        (folder.parent / "written").write_text(str(int(10**12 - disk.room)))

    found = {}
    for name, ground in grounds.items():
        folder = ground.fresh(tmp_path_factory.mktemp(name))
        assert ended(ground.job.command(folder), folder, counting) == 0, said(folder)
        found[name] = int((folder.parent / "written").read_text())
    return found


@pytest.mark.parametrize("code", WHAT, ids=WHAT.values())
def test_a_disk_that_refuses(
    code: int, ground: Ground, written: dict[str, int], tmp_path: Path, tally: Tally, few: int
) -> None:
    """From places drawn, from the beginning, and near the end."""
    name = ground.job.name
    drawn, total = random.Random(code), int(0.99 * written[name])  # times are more or fewer digits
    rooms = [drawn.randrange(total), 0, total, *(drawn.randrange(total) for _ in range(few))]
    for number, room in enumerate(rooms[: few + 1]):
        folder = ground.fresh(tmp_path / str(number))
        with tally.fault(WHAT[code], name) as line:
            around = partial(refusing, room=room, code=code)
            status = ended(ground.job.command(folder), folder, around)
            check_told(folder, status, os.strerror(code))
            left = [path for path in folder.rglob("*") if path.suffix == ".part"]
            assert code == errno.EROFS or not left, "half a file takes room"
            check_promises(line, ground, folder)
            check_goes_on(ground, folder)


def test_a_disk_that_is_full_when_a_job_goes_on(
    ground: Ground, written: dict[str, int], tmp_path: Path, tally: Tally, few: int
) -> None:
    """What is written again must not be lost where there is no room for it."""
    drawn = random.Random(0)
    for number in range(few):
        folder = ground.killed(tmp_path / str(number), drawn.random())
        with tally.fault("a full disk while it goes on", ground.job.name) as line:
            room = drawn.choice((0, drawn.randrange(written[ground.job.name] // 2)))
            command = ground.job.command(folder)
            if status := ended(command, folder, partial(refusing, room=room)):
                check_told(folder, status, os.strerror(errno.ENOSPC))
            check_promises(line, ground, folder)
            check_goes_on(ground, folder)


def test_a_read_only_store_is_still_read(
    grounds: dict[str, Ground], tmp_path: Path, tally: Tally
) -> None:
    folder = grounds["sae"].fresh(tmp_path)
    with tally.fault("a read-only disk", "reading") as line:
        around = partial(refusing, room=0, code=errno.EROFS)
        assert ended(["cache", "verify"], folder, around) == 0, said(folder)
        check_promises(line, grounds["sae"], folder)

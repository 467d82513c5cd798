"""kill -9 at random moments, then go on: nothing reported is lost, not a bit is different."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.faults import jobs
from tests.faults.children import (
    CONTEXTS,
    CUT,
    bytes_in,
    check_all_end,
    forked,
    places,
    tree,
    write,
)
from tests.faults.grounds import JOBS, Ground
from tests.faults.report import Line, Tally, check_goes_on, check_promises
from workbench.cache.manifest import damage, shard_path


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one undisturbed process writes."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    check_all_end(forked(partial(write, folder)))
    return tree(folder)


def kill_at(act: Callable[[], object], folder: Path, n_bytes: int) -> None:
    """Kill a child doing `act` once `folder` holds so many bytes, if it has not ended before."""
    (child,) = forked(act)
    while child.is_alive():
        if bytes_in(folder) >= n_bytes:
            child.kill()
            child.join()
            return
        child.join(0.0002)
    assert child.exitcode == 0


def test_a_killed_harvest_goes_on(
    killed_round: int, tmp_path: Path, uninterrupted, tally: Tally
) -> None:
    """At moments drawn by bytes written: more of them fall into the writing of a file."""
    drawn = random.Random(killed_round)
    total = sum(len(content) for content in uninterrupted.values())
    told, folder = tmp_path / "told", tmp_path / "store"
    for _ in range(3):  # the second and third while it goes on
        with tally.fault("kill -9 by bytes written", "harvest") as line:
            kill_at(partial(write, folder, told), folder, drawn.randrange(total))
            _check_what_is_there(line, folder, told, uninterrupted)
    check_all_end(forked(partial(write, folder)))
    assert tree(folder) == uninterrupted


def _check_what_is_there(
    line: Line, folder: Path, told: Path, uninterrupted: dict[str, bytes]
) -> None:
    """Every shard that was reported, and none but whole ones."""
    reported = [int(line) for line in told.read_text().split()] if told.exists() else [0]
    n_shards = -(-CONTEXTS // CUT) if CONTEXTS in reported else max(reported, default=0) // CUT
    for place, manifest in places(folder).items():
        lost = [number for number in range(n_shards) if not shard_path(place, number).exists()]
        line.expect(n_shards, len(lost), str(lost))
        assert damage(place) is None
        assert len(manifest.missing(place)) <= manifest.n_shards - n_shards
    for name, content in tree(folder).items():
        if name.endswith(".safetensors"):
            assert content == uninterrupted[name], "a shard that is there is whole"


def test_a_killed_job_goes_on(
    killed_round: int, grounds: dict[str, Ground], tmp_path: Path, tally: Tally
) -> None:
    """The commands, each in its turn, at moments drawn by time."""
    ground, drawn = grounds[JOBS[killed_round % len(JOBS)]], random.Random(killed_round)
    at, name = drawn.random(), ground.job.name
    with tally.fault("kill -9", name) as line:
        folder = ground.killed(tmp_path, at)
        check_promises(line, ground, folder)
    again = (1 - at) * drawn.random() * ground.seconds
    if jobs.killed(ground.job.command(folder), folder, again):
        with tally.fault("kill -9 while it goes on", name) as line:
            check_promises(line, ground, folder)
    check_goes_on(ground, folder)

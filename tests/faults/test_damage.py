"""Shards damaged at rest, in every part: refused by every reader, with the shard's name."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.faults.children import CONTEXTS, SITES, opened, places, tree, write
from tests.faults.grounds import Ground
from tests.faults.jobs import ended, said
from tests.faults.report import Tally, check_told
from workbench.cache import DamagedError, shuffled
from workbench.cache.manifest import damage, shard_path

Hurt = Callable[[bytearray, random.Random], bytes]


def _data(whole: bytearray) -> int:
    return 8 + int.from_bytes(whole[:8], "little")


def _flipped(whole: bytearray, first: int, last: int, drawn: random.Random) -> bytes:
    whole[drawn.randrange(first, last)] ^= 1 << drawn.randrange(8)
    return bytes(whole)


def _checksum(whole: bytearray, drawn: random.Random) -> bytes:
    """One of those of the contexts, or that of the header: another hex digit."""
    words = json.loads(whole[8 : _data(whole)])["__metadata__"]
    at = whole.index(words[drawn.choice(("contexts", "checksum"))].encode()) + drawn.randrange(32)
    whole[at] = ord("0") if whole[at] != ord("0") else ord("1")
    return bytes(whole)


PARTS: dict[str, Hurt] = {
    "in its length": lambda whole, drawn: _flipped(whole, 0, 8, drawn),
    "in its header": lambda whole, drawn: _flipped(whole, 8, _data(whole), drawn),
    "in its data": lambda whole, drawn: _flipped(whole, _data(whole), len(whole), drawn),
    "in its checksums": _checksum,
    "cut in its header": lambda whole, drawn: bytes(whole[: drawn.randrange(_data(whole))]),
    "cut in its data": lambda whole, drawn: bytes(
        whole[: drawn.randrange(_data(whole), len(whole))]
    ),
    "made longer": lambda whole, drawn: bytes(whole) + drawn.randbytes(drawn.randint(1, 99)),
    "all zeros": lambda whole, drawn: bytes(len(whole)),
    "another in its place": lambda whole, drawn: b"",  # put there by the test
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    write(folder)
    return folder


@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_shard_is_refused(
    part: str, sound: Path, tmp_path: Path, tally: Tally, request: pytest.FixtureRequest
) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "store"))
    rounds = int(request.config.getoption("--fault-rounds") or 0)
    drawn = random.Random(part)
    for _ in range(rounds):
        place, manifest = drawn.choice(list(places(folder).items()))
        number = drawn.randrange(manifest.n_shards)
        path = shard_path(place, number)
        whole = path.read_bytes()
        other = shard_path(place, (number + 1) % manifest.n_shards).read_bytes()
        path.write_bytes(PARTS[part](bytearray(whole), drawn) or other)
        with tally.fault("a damaged shard", part):
            for read in (_read_all, _read_shuffled):
                with pytest.raises(DamagedError, match=str(path)):
                    read(folder)
            assert str(path) in str(damage(place))
            path.unlink()  # what the error says
            write(folder)
            assert path.read_bytes() == whole
    assert tree(folder) == tree(sound)


def _read_all(folder: Path) -> None:
    for one in opened(folder):
        one.contexts(0, CONTEXTS)


def _read_shuffled(folder: Path) -> None:
    for rows in shuffled(opened(folder), batch_size=64, block=8, buffer=64, skip_bos=False):
        assert np.isfinite(rows[SITES[0]].float().sum().item())


@pytest.mark.parametrize("part", ["in its header", "in its data"])
def test_a_job_that_reads_a_damaged_shard(
    part: str, grounds: dict[str, Ground], tmp_path: Path, tally: Tally
) -> None:
    """Told by the commands, before anything is made of it."""
    ground = grounds["sae"]
    folder = ground.fresh(tmp_path)
    path = sorted(folder.glob("store/harvests/*/shard-00003.safetensors"))
    drawn = random.Random(0)
    with tally.fault("a damaged shard", "as a training reads it"):
        for one in path:
            one.write_bytes(PARTS[part](bytearray(one.read_bytes()), drawn))
        status = ended(ground.job.command(folder), folder)
        check_told(folder, status, "shard-00003.safetensors: field ")
        assert not list(folder.glob("made/*/sae_weights.safetensors"))
        assert ended(["cache", "verify"], folder) == 1
        assert all(str(one) in said(folder).replace("\n", "") for one in path)

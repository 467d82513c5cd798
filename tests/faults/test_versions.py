"""Two versions of the product at one store: the same format is shared, another is refused whole."""

import importlib.metadata
import json
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.faults.children import PATIENCE, tree
from tests.faults.grounds import Ground
from tests.faults.jobs import ACTIVITY, MADE, RULES, SAE, STATE, ended, said, start
from tests.faults.report import Tally, check_goes_on, check_promises, check_told
from workbench.cache import DamagedError, Store, capture
from workbench.cache.files import FORMAT

TOLD = "another version of lensbench wrote it"
OURS = ("workbench", "sae")
CACHE = tuple(f"workbench.cache.{name}" for name in ("files", "manifest", "shards", "store"))
STATES = ("workbench.training.checkpoint", "sae.checkpoint", "sae.activity", "sae.rules")


@contextmanager
def version(_: Path, formats: tuple[str, ...] = ()) -> Iterator[None]:
    """As another version that writes and reads other formats of these modules' files."""
    plain = importlib.metadata.version

    def other(name: str) -> str:
        return "99.0" if name == "lensbench" else plain(name)

    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] in OURS and getattr(module, "version", None) is plain:
                stack.enter_context(patch.object(module, "version", other))
        for name in formats:
            module = sys.modules[name]
            stack.enter_context(patch.object(module, "FORMAT", module.FORMAT + 1))
        yield


def test_another_version_of_the_same_format_goes_on(
    ground: Ground, tmp_path: Path, tally: Tally, few: int
) -> None:
    """Begun by one, killed, gone on with by the other."""
    for number in range(few):
        folder = ground.killed(tmp_path / str(number), random.Random(number).random())
        with tally.fault("another version", ground.job.name) as line:
            assert ended(ground.job.command(folder), folder, version) == 0, said(folder)
            check_promises(line, ground, folder)
            check_goes_on(ground, folder)


def test_two_versions_at_once(grounds: dict[str, Ground], tmp_path: Path, tally: Tally) -> None:
    ground = grounds["harvest"]
    folder = ground.fresh(tmp_path)
    with tally.fault("another version", "harvest, at once") as line:
        children = [start(ground.job.command(folder), folder, one) for one in (version, version)]
        children.append(start(ground.job.command(folder), folder))
        for child in children:
            child.join(PATIENCE)
        assert [child.exitcode for child in children] == [0, 0, 0], said(folder)
        check_promises(line, ground, folder)
        check_goes_on(ground, folder)


@pytest.mark.parametrize("begun_by_us", [True, False])
def test_a_store_of_another_format_is_left_as_it_is(
    begun_by_us: bool, grounds: dict[str, Ground], tmp_path: Path, tally: Tally
) -> None:
    ground = grounds["harvest"]
    folder, other = ground.fresh(tmp_path), partial(version, formats=CACHE)
    command = ground.job.command(folder)
    around = {"around": other} if not begun_by_us else {}
    assert ended(command, folder, **around) == 0, said(folder)
    there, made = tree(folder), ground.job.made(folder)
    with tally.fault("another version", "a store of another format") as line:
        for again in (command, ["cache", "verify"], ["cache", "prune", "--to", "0"],
                      ["cache", "clear", "--yes"]):  # fmt: skip
            status = ended(again, folder, **({"around": other} if begun_by_us else {}))
            check_told(folder, status, TOLD)
            line.expect(len(made), len(made.items() - ground.job.made(folder).items()))
        assert tree(folder) == there


def test_a_file_of_another_format_is_left_as_it_is(
    grounds: dict[str, Ground], tmp_path: Path, tally: Tally
) -> None:
    """In a store of ours: a manifest, a shard."""
    ground = grounds["sae"]
    for pattern in ("manifest.json", "shard-00002.safetensors"):
        folder = ground.fresh(tmp_path / pattern)
        (path, *_) = sorted(folder.glob(f"store/harvests/*/{pattern}"))
        _renumber(path)
        there = path.read_bytes()
        with tally.fault("another version", "a file of another format"):
            every = {"harvest": grounds["harvest"].job.command(folder)}
            every["verify"] = ["cache", "verify"]
            statuses = {name: ended(command, folder) for name, command in every.items()}
            assert statuses == {"harvest": 2, "verify": 1}
            assert TOLD in said(folder).replace("\n", " ")
            assert path.read_bytes() == there


def test_a_capture_of_another_format_is_left_as_it_is(
    tiny, ids: torch.Tensor, tmp_path: Path, tally: Tally
) -> None:
    store = Store(tmp_path, memory=0)
    capture(tiny("gpt2"), ids, "0.resid_post", store)
    (path, _) = sorted(tmp_path.glob("captures/*/*"))
    _renumber(path)
    there = path.read_bytes()
    with tally.fault("another version", "a file of another format"):
        with pytest.raises(DamagedError, match=TOLD):
            capture(tiny("gpt2"), ids, "0.resid_post", store)
        assert path.read_bytes() == there


@pytest.mark.parametrize("name", ["train", "sae", "features"])
def test_a_state_of_another_format_is_left_as_it_is(
    name: str, grounds: dict[str, Ground], tmp_path: Path, tally: Tally
) -> None:
    ground = grounds[name]
    folder, other = ground.fresh(tmp_path), partial(version, formats=STATES)
    child = start(ground.job.command(folder), folder, other)
    kept = folder / (f"{MADE}/{STATE}" if name != "features" else f"{SAE}/{ACTIVITY}")
    seen = kept if name != "features" else folder / SAE / RULES
    while child.is_alive() and not seen.exists():
        child.join(0.001)
    child.kill()
    child.join()
    there = kept.read_bytes()
    with tally.fault("another version", f"a state of another format, {name}") as line:
        status = ended(ground.job.command(folder), folder)
        check_told(folder, status, TOLD)
        line.expect(1, int(kept.read_bytes() != there))
        assert ended(ground.job.command(folder), folder, other) == 0, said(folder)


def _renumber(path: Path) -> None:
    """Another format, else as it was."""
    if path.suffix == ".json":
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": FORMAT + 1}))
        return
    with safe_open(path, framework="pt") as file:
        words = file.metadata() | {"format": str(FORMAT + 1)}
    tensors = {name: value.clone() for name, value in load_file(path).items()}
    save_file(tensors, path, metadata=words)

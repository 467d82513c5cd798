"""Children forked from this warm process, and made-up harvests for them to write."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workbench.cache import Harvest, Key
from workbench.cache.manifest import Manifest
from workbench.cache.sharing import begin, end, make, used
from workbench.corpus import Corpus, from_ids

CONTEXTS, N_CTX, WIDTH, CUT, BATCH = 46, 16, 32, 4, 2
SITES = ("0.resid_post", "1.resid_post")
TEXT = from_ids("made up", np.arange(CONTEXTS * N_CTX).reshape(CONTEXTS, N_CTX))
PATIENCE = 120  # seconds after which children that wait for each other are given up


def forked(*acts: Callable[[], object]) -> list[multiprocessing.Process]:
    """One child for each act, all running."""
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_alone, args=(act,)) for act in acts]
    for child in children:
        child.start()
    return children  # type: ignore[return-value]


def _alone(act: Callable[[], object]) -> None:
    torch.set_num_threads(1)  # the parent's threads were not forked
    act()


def check_all_end(children: Sequence[multiprocessing.Process]) -> None:
    """Each comes to its end, and well; one that waits for ever is ended here."""
    deadline = time.monotonic() + PATIENCE
    for child in children:
        child.join(max(0, deadline - time.monotonic()))
    stuck = [child for child in children if child.is_alive()]
    for child in stuck:
        child.kill()
        child.join()
    assert not stuck, f"{len(stuck)} children still wait after {PATIENCE} s"
    assert [child.exitcode for child in children] == [0] * len(children)


def places(folder: Path, text: Corpus = TEXT) -> dict[Path, Manifest]:
    """The folders and manifests of a harvest of two sites."""
    found = {}
    for site in SITES:
        key = Key("config", "weights", "raw", "float32", "eager", text.digest, site, "bfloat16")
        shape = (*text.ids.shape, WIDTH)
        found[folder / "harvests" / key.digest] = Manifest(key, {}, shape, CUT)
    return found


def values(contexts: range, site: int) -> Tensor:
    """Noise that depends on the place alone, so that every process makes the same."""
    rows = [
        torch.randn(N_CTX, WIDTH, generator=torch.Generator().manual_seed(1000 * site + context))
        for context in contexts
    ]
    return torch.stack(rows)


def write(folder: Path, told: Path | None = None) -> None:
    """Make the harvest, or what is missing; `told` hears how many contexts are done."""
    harvests = places(folder)
    sites = {place: number for number, place in enumerate(harvests)}
    held = [used(place) for place in harvests]
    for place, manifest in harvests.items():
        begin(place, manifest)

    def heard(done: int, _: int) -> None:
        if told is not None:
            with told.open("a", encoding="ascii") as file:
                file.write(f"{done}\n")

    make(
        harvests,
        BATCH,
        lambda contexts, wanted: [values(contexts, sites[place]) for place in wanted],
        heard,
    )
    for place in harvests:
        end(place)
    del held


def opened(folder: Path) -> list[Harvest]:
    """Both sites, for reading."""
    return [
        Harvest(place, manifest.key, TEXT, used(place))
        for place, manifest in places(folder).items()
    ]


def bytes_in(folder: Path) -> int:
    """Of all files there now."""
    found = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                found += os.stat(os.path.join(parent, name)).st_size  # noqa: PTH116, PTH118 (fast)
            except FileNotFoundError:
                continue
    return found


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under `folder`, by its name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

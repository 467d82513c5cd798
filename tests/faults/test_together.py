"""Several processes on one store: no corruption, no deadlock, nothing evicted under a reader."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tests.faults.children import (
    CONTEXTS,
    N_CTX,
    check_all_end,
    forked,
    opened,
    tree,
    values,
    write,
)
from workbench.cache import Store, capture, harvest, open_harvest, shuffled
from workbench.cache.eviction import evict
from workbench.cache.sharing import used
from workbench.corpus import from_ids
from workbench.errors import InputError


def test_four_write_one_harvest(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    write(alone)
    check_all_end(forked(*[partial(write, together)] * 4))
    assert tree(together) == tree(alone)


def test_others_go_on_where_one_is_killed(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    write(alone)
    victim, *others = forked(*[partial(write, together)] * 3)
    while not any(together.rglob("shard-*.part")) and victim.is_alive():
        victim.join(0.0002)
    victim.kill()
    victim.join()
    check_all_end(others)
    assert tree(together) == tree(alone)


def test_four_capture_and_harvest_at_once(tiny, tmp_path: Path) -> None:
    """Prompts that overlap, sites that overlap, one corpus."""
    model = tiny("gpt2")
    assert model.identity
    prompts = torch.randint(1, 260, (12, 9), generator=torch.Generator().manual_seed(0))
    text = from_ids("random", np.random.default_rng(0).integers(1, 260, (17, 12)))
    sites = ["0.resid_post", "1.z", "2.mlp_out", "1.pattern"]

    def work(folder: Path, offset: int) -> None:
        store = Store(folder, memory=0)
        for start in range(0, 12, 3):
            rows = prompts.roll(-2 * offset, 0)[start : start + 4]
            taken = capture(model, rows, sites[:2], store)
            fresh = capture(model, rows, sites[:2])
            for site in taken.activations:
                assert torch.allclose(taken[site], fresh[site], atol=1e-5)
        mine = sites[offset % 2 : offset % 2 + 3]
        kept = harvest(model, text, mine, store, shard_contexts=3, batch=3)
        for site in mine:
            assert torch.equal(kept[site].contexts(0, 17), exact[site])

    exact = {
        site: one.contexts(0, 17)
        for site, one in zip(
            sites,
            harvest(
                model, text, sites, Store(tmp_path / "one"), shard_contexts=3, batch=3
            ).harvests.values(),
            strict=True,
        )
    }
    folder = tmp_path / "store"
    check_all_end(forked(*(partial(work, folder, offset) for offset in range(4))))
    store = Store(folder)
    assert store.verify() == []
    assert store.size()[0] == 12 * 2 + 4
    assert not list(folder.rglob("*.part"))
    assert tree(folder / "harvests") == tree(tmp_path / "one" / "harvests")


def test_eviction_never_takes_what_another_process_reads(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    write(folder)
    ready, done = tmp_path / "ready", tmp_path / "done"

    def read() -> None:
        sources = opened(folder)
        ready.touch()
        for _ in range(20):
            n_rows = 0
            for batch in shuffled(sources, batch_size=100, block=8, buffer=64, skip_bos=False):
                for number, source in enumerate(sources):
                    there = exact[number][batch.index]
                    assert torch.equal(batch[source.site], there)
                n_rows += len(batch.index)
            assert n_rows == CONTEXTS * N_CTX
        done.touch()

    exact = [values(range(CONTEXTS), site).flatten(0, 1).bfloat16() for site in range(2)]
    before = tree(folder)
    readers = forked(read)
    while not ready.exists() and readers[0].is_alive():
        readers[0].join(0.001)
    while readers[0].is_alive() and not done.exists():
        freed = evict(folder, 0)
        assert freed.entries == 0 or done.exists()
        readers[0].join(0.001)
    check_all_end(readers)
    assert tree(folder) == before or done.exists()
    evict(folder, 0)
    assert tree(folder) == {}, "once nobody reads, it may go"


def test_eviction_never_takes_what_another_process_writes(tmp_path: Path) -> None:
    alone, folder = tmp_path / "alone", tmp_path / "store"
    write(alone)
    ready = tmp_path / "ready"

    def hold_and_write() -> None:
        held = [used(place) for place in (folder / "harvests" / name for name in names)]
        ready.touch()
        write(folder)
        del held

    names = {name.split("/")[1] for name in tree(alone)}
    writers = forked(hold_and_write)
    while not ready.exists():
        writers[0].join(0.001)
    while writers[0].is_alive():
        for path in evict(folder, -1).in_use:
            assert path.exists()
        writers[0].join(0.001)
    check_all_end(writers)


def test_two_evict_what_a_third_makes(tmp_path: Path) -> None:
    """Made again and again, removed again and again: always whole or not there."""
    folder = tmp_path / "store"
    stop = tmp_path / "stop"

    def make_often() -> None:
        try:
            for _ in range(5):
                write(folder)
        finally:
            stop.touch()

    def remove_often() -> None:
        while not stop.exists():
            evict(folder, -1)

    check_all_end(forked(make_often, remove_often, remove_often))
    assert Store(tmp_path / "sound").verify() == []
    write(folder)
    for number, source in enumerate(opened(folder)):
        assert torch.equal(source.contexts(0, 4), values(range(4), number).bfloat16())
        source.verify()


def test_a_reader_that_opens_what_is_evicted_just_then(tiny, tmp_path: Path) -> None:
    """It reads all of it, or is told that there is none."""
    model = tiny("gpt2")
    assert model.identity
    text = from_ids("random", np.random.default_rng(0).integers(1, 260, (6, 12)))
    folder, stop = tmp_path / "store", tmp_path / "stop"
    exact = model.weights.get_input_embeddings().weight[torch.from_numpy(text.ids).long()]

    def make_often(store: Store) -> None:
        try:
            for _ in range(8):
                harvest(model, text, "embed", store, shard_contexts=2)
        finally:
            stop.touch()

    def read_often(store: Store) -> None:
        while not stop.exists():
            try:
                with open_harvest(store, model, text, "embed") as one:
                    assert torch.equal(one.contexts(0, 6), exact)
            except InputError as error:
                assert re.search("holds no harvest|not finished", str(error))

    def remove_often(store: Store) -> None:
        while not stop.exists():
            store.prune(0)

    acts = (make_often, read_often, remove_often)
    check_all_end(forked(*(partial(act, Store(folder)) for act in acts)))
    assert Store(folder).verify() == []

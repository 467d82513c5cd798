"""Harvests: what is kept is what streams by; what is damaged, missing or another's is refused."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.test_stream import corpus
from workbench.cache import (
    DamagedError,
    Harvest,
    Harvested,
    Store,
    capture,
    carried_out,
    harvest,
    open_harvest,
    planned,
    predict,
    stream,
)
from workbench.cache import sharing as sharing_module
from workbench.corpus import from_ids
from workbench.errors import InputError
from workbench.models import Model, load
from workbench.sites import Site

SITES = ["0.resid_post", "1.pattern", "1.z"]
TEXT = corpus(11)  # in shards of 4: 4, 4 and 3 contexts


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def take(model: Model, store: Store, sites=SITES, text=TEXT, **more) -> Harvested:
    settings: dict[str, Any] = {"shard_contexts": 4, "batch": 2} | more
    return harvest(model, text, sites, store, **settings)


def files(store: Store) -> dict[str, bytes]:
    """Every file of the store's harvests, by name."""
    folder = store.folder / "harvests"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Rows(list):
    """The rows of each forward pass, on either road."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        trees = [model.bridge, *([model.plain] if model.plain is not None else [])]
        self.handles = [
            tree.register_forward_pre_hook(lambda _, args: self.append(len(args[0])))
            for tree in trees
        ]

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


def check_equal(harvested: Harvested, model: Model, text=TEXT, dtype: str | None = None) -> None:
    """Bit for bit what streams by."""
    sites = list(harvested.harvests)
    for chunk in stream(model, text, sites, batch=2, dtype=dtype):
        for site in sites:
            kept = harvested[site].contexts(chunk.contexts.start, chunk.contexts.stop)
            assert kept.dtype == chunk[site].dtype
            assert torch.equal(kept, chunk[site]), site


# What is kept


def test_harvested_is_streamed(tiny, store, family, processing) -> None:
    model = tiny(family, processing)
    harvested = take(model, store)
    assert [str(site) for site in harvested.harvests] == SITES
    check_equal(harvested, model)
    assert store.verify() == []


def test_every_site_is_kept(tiny, store) -> None:
    text = corpus(3)
    harvested = take(tiny("llama"), store, sites="*", text=text)
    assert len(harvested.harvests) > 50
    check_equal(harvested, tiny("llama"), text)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_error_is_stated(tiny, store, dtype: str) -> None:
    kept = take(tiny("gpt2"), store, dtype=dtype)["0.resid_post"]
    (chunk,) = stream(tiny("gpt2"), TEXT, "0.resid_post", batch=11)
    exact = chunk["0.resid_post"].double()
    error = kept.contexts(0, 11).double() - exact
    if dtype == "float32":
        assert (kept.rounding.relative, kept.rounding.largest) == (0, 0)
    else:
        assert kept.rounding.relative == pytest.approx(float(error.norm() / exact.norm()), rel=1e-3)
        assert kept.rounding.largest == pytest.approx(float(error.abs().max()), rel=1e-3)
        assert 0 < kept.rounding.relative < (4e-3 if dtype == "bfloat16" else 5e-4)


def test_sixteen_bits_are_half_the_disk(tiny, store) -> None:
    text = corpus(64, 32)
    sizes = [
        take(tiny("gpt2"), store, text=text, dtype=dtype, shard_contexts=64).n_bytes
        for dtype in ("float32", "bfloat16")
    ]
    assert sizes[1] / sizes[0] == pytest.approx(0.5, abs=0.03)


def test_a_value_too_large_is_told_and_nothing_is_left(tiny_folder, store) -> None:
    model = load(str(tiny_folder("llama")), device="cpu")
    with torch.no_grad():
        model.weights.get_input_embeddings().weight[7] = 1e5  # type: ignore[operator,union-attr]
    ids = TEXT.ids.copy()
    ids[9] = 7
    text = from_ids("sevens at the end", ids)
    told = r"site embed holds 100,000, which float16 \(at most 65,504\) cannot.* store it as bfloat"
    with pytest.raises(InputError, match=told):
        take(model, store, "embed", text, dtype="float16")
    assert not list(store.folder.rglob("*.part"))
    assert store.verify() == []
    kept = take(model, store, "embed", text, dtype="bfloat16")["embed"]
    assert float(kept.contexts(9, 10).max()) == 99840.0


def test_what_is_infinite_already_is_kept(tiny_folder, store) -> None:
    """Masked scores are: the error is stated over the rest."""
    model = load(str(tiny_folder("llama")), device="cpu")
    with torch.no_grad():
        model.weights.get_input_embeddings().weight[7] = torch.inf  # type: ignore[operator,union-attr]
    ids = TEXT.ids.copy()
    ids[0, 0] = 7
    kept = take(model, store, "embed", from_ids("one", ids), dtype="float16")["embed"]
    assert bool(kept.contexts(0, 1)[0, 0].isinf().all())
    assert 0 < kept.rounding.relative < 5e-4


def test_heads_are_kept_together(tiny, store) -> None:
    harvested = take(tiny("llama"), store, ["L1H3.z", "L1H0.z"])
    assert [str(site) for site in harvested.harvests] == ["1.z"]
    assert harvested["1.z"].shape == (11, 10, 6, 4)
    assert open_harvest(store, tiny("llama"), TEXT, "L1H3.z").shape == (11, 10, 6, 4)


# What is missing is made, once


def test_one_pass_for_all_sites_and_only_for_what_is_missing(tiny, store) -> None:
    model = tiny("llama")
    with Rows(model) as rows:

        def forwards(sites) -> list[int]:
            plan = planned(model, TEXT, sites, store, batch=3, shard_contexts=4)
            budget = predict(plan)
            rows.clear()
            carried_out(plan, budget)
            return list(rows)

        assert forwards(["0.resid_post", "1.z"]) == [3, 1, 3, 1, 3]
        assert forwards("0.resid_post") == []
        assert forwards("1.z") == []
        assert forwards(["0.resid_post", "2.mlp_out", "1.z"]) == [3, 1, 3, 1, 3]
        for folder in (store.folder / "harvests").iterdir():
            (folder / "shard-00001.safetensors").unlink()
            manifest = json.loads((folder / "manifest.json").read_text())
            assert len(manifest["shards"]) == 3


def test_a_whole_harvest_is_not_asked_for_again(tiny, store) -> None:
    first = take(tiny("gpt2"), store)
    with Rows(tiny("gpt2")) as rows:
        again = take(tiny("gpt2"), store, batch=5, shard_contexts=None)
        assert rows == [], "neither a forward nor a trial for the budget"
    assert (again.n_bytes, again.budget.disk, again.budget.forwards) == (0, 0, 0)
    assert torch.equal(again["1.z"].contexts(2, 5), first["1.z"].contexts(2, 5))


class Stopped(Exception):
    pass


def stop_after(contexts: int) -> Callable[[int, int], None]:
    def progress(done: int, of: int) -> None:
        assert of == 11
        if done >= contexts:
            raise Stopped

    return progress


@pytest.mark.parametrize("contexts", [1, 2, 4, 7, 9, 11])
def test_a_stopped_harvest_goes_on_to_the_same_bytes(tiny, store, tmp_path, contexts: int) -> None:
    model = tiny("llama")
    with pytest.raises(Stopped):
        take(model, store, progress=stop_after(contexts), dtype="float16")
    assert not list(store.folder.rglob("*.part"))
    assert store.verify() == [], "what is not there yet is no damage"
    steps = (2, 4, 6, 8, 10, 11)
    stopped_at = next(done for done in steps if done >= contexts)
    n_there = 3 if stopped_at == 11 else stopped_at // 4
    assert sum("shard-" in name for name in files(store)) == 3 * n_there
    told: list[int] = []
    with Rows(model) as rows:
        plan = planned(model, TEXT, SITES, store, dtype="float16", batch=2)
        budget = predict(plan)
        rows.clear()
        check_equal(carried_out(plan, budget, lambda n, _: told.append(n)), model, dtype="float16")
        assert told == [done for done in steps if done > min(4 * n_there, 11)]
    whole = Store(tmp_path / "whole")
    take(model, whole, dtype="float16")
    assert files(store) == files(whole)


def test_a_harvest_goes_on_as_it_was_cut(tiny, store) -> None:
    model = tiny("gpt2")
    with pytest.raises(Stopped):
        take(model, store, "0.resid_post", progress=stop_after(5))
    told = r"are there already: 0.resid_post in shards of 4 contexts; leave shard_contexts out"
    with pytest.raises(InputError, match=told):
        take(model, store, "0.resid_post", shard_contexts=5)
    with pytest.raises(Stopped):
        take(model, store, "1.z", shard_contexts=3, progress=stop_after(5))
    with pytest.raises(InputError, match=r"shards of 4 .*1.z in shards of 3 .* one after"):
        take(model, store, ["0.resid_post", "1.z"], shard_contexts=None)
    harvested = take(model, store, "0.resid_post", shard_contexts=None)
    assert harvested["0.resid_post"].manifest.shard_contexts == 4
    with pytest.raises(InputError, match=told):
        take(model, store, "0.resid_post", shard_contexts=5)


def test_nothing_of_when_or_where_is_written(tiny, store, tmp_path, monkeypatch) -> None:
    take(tiny("gpt2"), store)
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("os.getpid", lambda: 1)
    other = Store(tmp_path / "other")
    take(tiny("gpt2"), other)
    assert files(store) == files(other)
    assert all(name.endswith("manifest.json") or "/shard-0000" in name for name in files(store)), (
        "and nothing else is left"
    )


# Not what is meant


@pytest.fixture
def kept(tiny, store) -> Path:
    """The folder of a small harvest that nobody has open."""
    with take(tiny("gpt2"), store, "0.resid_post", dtype="float16")["0.resid_post"] as one:
        return one.folder


def read_all(tiny, store: Store, text=TEXT) -> torch.Tensor:
    with open_harvest(store, tiny("gpt2"), text, "0.resid_post", "float16") as one:
        return one.contexts(0, len(text))


SHARD = "shard-00001.safetensors"


def test_a_missing_shard_is_refused(tiny, store, kept) -> None:
    (kept / SHARD).unlink()
    told = rf"{kept / SHARD}: field file: expected shard 1 of the harvest, found none; harvest aga"
    with pytest.raises(DamagedError, match=told):
        read_all(tiny, store)
    assert "expected shard 1" in str(*store.verify())


def test_a_deleted_shard_is_made_again(tiny, store, kept) -> None:
    """What the error about a damaged shard tells the user to do."""
    before = files(store)
    (kept / "shard-00001.safetensors").unlink()
    (kept / "shard-00002.safetensors").unlink()
    plan = planned(tiny("gpt2"), TEXT, "0.resid_post", store, dtype="float16", batch=2)
    budget = predict(plan)
    with Rows(tiny("gpt2")) as rows:
        carried_out(plan, budget)["0.resid_post"].close()
    assert rows == [2, 2, 2, 1], "the contexts of two shards"
    assert files(store) == before
    assert store.verify() == []


def test_a_shard_of_another_corpus_is_refused(tiny, store, kept) -> None:
    other = corpus(11, seed=1)
    with take(tiny("gpt2"), store, "0.resid_post", other, dtype="float16")["0.resid_post"] as one:
        shutil.copy(one.folder / SHARD, kept / SHARD)
    told = f"{SHARD} holds another.*: field tokens: expected {TEXT.digest}, found {other.digest}"
    with pytest.raises(DamagedError, match=told):
        read_all(tiny, store)
    assert "field tokens" in str(*store.verify())


def test_a_shard_of_another_model_is_refused(tiny, store, kept) -> None:
    with take(tiny("gpt2", "folded"), store, "0.resid_post", dtype="float16")[
        "0.resid_post"
    ] as one:
        shutil.copy(one.folder / SHARD, kept / SHARD)
    with pytest.raises(DamagedError, match=r"field processing: expected raw, found folded"):
        read_all(tiny, store)


def test_a_shard_under_another_number_is_refused(tiny, store, kept) -> None:
    shutil.copy(kept / "shard-00000.safetensors", kept / SHARD)
    with pytest.raises(DamagedError, match=f"{kept / SHARD}: field shard: expected 1, found 0"):
        read_all(tiny, store)


def test_a_sound_shard_that_the_manifest_does_not_know_is_refused(tiny, store, kept) -> None:
    """Such as one of another batch size: its last bits may differ from those it replaces."""
    with safe_open(kept / SHARD, framework="pt") as file:
        words = file.metadata()
    header = (kept / SHARD).read_bytes().replace(words["checksum"].encode(), b"0" * 32)
    (kept / SHARD).write_bytes(header)
    with pytest.raises(DamagedError, match=f"{kept / SHARD}: field checksum: expected"):
        read_all(tiny, store)


@pytest.mark.parametrize("field", ["key", "about", "shape", "shard_contexts", "shards", "format"])
def test_an_edited_manifest_is_refused(tiny, store, kept, field: str) -> None:
    path = kept / "manifest.json"
    manifest = json.loads(path.read_text())
    edits = {
        "key": manifest["key"] | {"site": "1.resid_post"},
        "about": {"corpus": "mine"},
        "shape": [12, 10, 24],
        "shard_contexts": 5,
        "shards": [],
        "format": 2,
    }
    path.write_text(json.dumps(manifest | {field: edits[field]}))
    fields = {"key": "site: expected 0.resid_post, found 1.resid", "format": "format: expected 1"}
    told = f"{path}.*field {fields.get(field, 'checksum: expected')}"
    with pytest.raises(DamagedError, match=told):
        read_all(tiny, store)
    with pytest.raises(DamagedError, match="field"):
        planned(tiny("gpt2"), TEXT, "0.resid_post", store, dtype="float16")
    assert str(path) in str(*store.verify())


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"format": 1}'])
def test_what_is_no_manifest_is_refused(tiny, store, kept, content: str) -> None:
    (kept / "manifest.json").write_text(content)
    with pytest.raises(DamagedError, match=f"{kept / 'manifest.json'}: field"):
        read_all(tiny, store)


def test_shards_without_a_manifest_are_told(store, kept) -> None:
    (kept / "manifest.json").unlink()
    assert "manifest.json: field file: expected a manifest, found none" in str(*store.verify())


def test_every_cut_is_refused(tiny, store, kept) -> None:
    whole = (kept / SHARD).read_bytes()
    for length in range(0, len(whole), 97):
        (kept / SHARD).write_bytes(whole[:length])
        with pytest.raises(DamagedError, match=f"{kept / SHARD}: field file: not a whole"):
            read_all(tiny, store)


def test_every_flipped_byte_is_refused(tiny, tmp_path) -> None:
    text = corpus(2, 3)
    store = Store(tmp_path / "small")
    with take(tiny("gpt2"), store, "1.ln1_scale", text)["1.ln1_scale"] as one:
        path = one.folder / "shard-00000.safetensors"
        manifest = one.manifest
    whole = path.read_bytes()
    slipped = []
    for position in range(len(whole)):
        for mask in (0x01, 0x80, 0xFF):
            spoilt = bytearray(whole)
            spoilt[position] ^= mask
            path.write_bytes(spoilt)
            try:
                shard = manifest.open_shard(path.parent, 0)
                for context in range(2):
                    shard.check(context)
            except DamagedError as error:
                assert str(path) in str(error)
            else:
                slipped.append((position, mask))
    assert len(whole) > 500
    assert slipped == []


def test_only_what_is_read_is_checked(tiny, store, kept) -> None:
    """And it is refused before it is a number."""
    path = kept / SHARD
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with open_harvest(store, tiny("gpt2"), TEXT, "0.resid_post", "float16") as one:
        one.contexts(0, 7)
        told = rf"{path}: field activation, context 3 of the shard: expected checksum \w+, found"
        for act in (lambda: one.contexts(7, 8), one.verify):
            with pytest.raises(DamagedError, match=told):
                act()
        one.contexts(8, 11)


def test_another_tensor_in_a_shard_is_refused(tiny, store, kept) -> None:
    with safe_open(kept / SHARD, framework="pt") as file:
        words = file.metadata()
    for name, tensor, told in (
        ("activation", torch.zeros(4, 10, 23, dtype=torch.float16), "field shape: expected"),
        ("activation", torch.zeros(4, 10, 24, dtype=torch.bfloat16), "field dtype: expected"),
        ("other", torch.zeros(4, 10, 24, dtype=torch.float16), "field activation"),
    ):
        save_file({name: tensor}, kept / SHARD, metadata=words)
        with pytest.raises(DamagedError, match=told):
            read_all(tiny, store)


def test_what_is_not_there_or_not_finished_is_told(tiny, store) -> None:
    told = r"holds no harvest of 1.z of random 0 as float32 by this model; make one with `work"
    with pytest.raises(InputError, match=told):
        open_harvest(store, tiny("gpt2"), TEXT, "1.z")
    take(tiny("gpt2"), store, "1.z", dtype="float16")
    with pytest.raises(InputError, match=r"by this model \(but as float16\); make one"):
        open_harvest(store, tiny("gpt2"), TEXT, "1.z")
    with pytest.raises(InputError, match="holds no harvest"):
        open_harvest(store, tiny("gpt2"), corpus(11, seed=1), "1.z", "float16")
    with pytest.raises(Stopped):
        take(tiny("gpt2"), store, "1.z", progress=stop_after(5))
    with pytest.raises(InputError, match=r"is not finished \(2 of 3 shards are missing\); run"):
        open_harvest(store, tiny("gpt2"), TEXT, "1.z")


def test_contexts_that_are_not_there_are_told(tiny, store) -> None:
    one = take(tiny("gpt2"), store, "1.z")["1.z"]
    for first, last in ((-1, 2), (3, 3), (5, 12)):
        with pytest.raises(InputError, match=f"contexts {first} to {last} are not among the 11"):
            one.contexts(first, last)


@pytest.mark.parametrize(
    ("wanted", "more", "told"),
    [
        ("1.resid_pots", {}, "did you mean resid_post"),
        ("1.resid_mid", {}, r"no site '1.resid_mid'; it has .*resid_post"),
        ((), {}, "no site is named"),
        ("1.z", {"batch": 0}, "a batch of 0 contexts"),
        ("1.z", {"dtype": "int8"}, "dtype 'int8' is not one of float32"),
        ("1.z", {"shard_contexts": 0}, "shards of 0 contexts"),
        ("1.z", {"text": corpus(2, 80)}, "contexts of 80 tokens, the model's holds 64"),
    ],
)
def test_a_mistake_is_told_before_anything_is_made(tiny, store, wanted, more, told: str) -> None:
    with pytest.raises(InputError, match=told):
        take(tiny("neox"), store, wanted, **more)
    assert files(store) == {}


# A disk that refuses


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("nth", [1, 2, 5, 8])
def test_a_full_disk_is_told_and_the_store_is_valid(tiny, store, monkeypatch, code, nth) -> None:
    """At the n-th fsync, which is where a disk says so at the latest."""
    model, calls, fsync = tiny("gpt2"), [], os.fsync
    plan = planned(model, TEXT, SITES, store, batch=2, shard_contexts=4)
    budget = predict(plan)

    def refuse(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) >= nth:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        told = rf"the store cannot write {store.folder} \({os.strerror(code)}\); free some space"
        with pytest.raises(InputError, match=told):
            carried_out(plan, budget)
    assert not list(store.folder.rglob("*.part"))
    assert store.verify() == []
    check_equal(take(model, store), model)


def test_a_write_that_is_cut_short_is_told(tiny, store, monkeypatch) -> None:
    class Full:
        """A file on a disk with room for the header only."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, content) -> int:
            if self.file.tell() > 1000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(content)

    plan = planned(tiny("gpt2"), TEXT, SITES, store, batch=2)
    budget, writer, full = predict(plan), sharing_module.ShardWriter, cast(Any, Full)
    with monkeypatch.context() as patch:
        patch.setattr(sharing_module, "ShardWriter", lambda file, *rest: writer(full(file), *rest))
        with pytest.raises(InputError, match="No space left on device"):
            carried_out(plan, budget)
    assert not list(store.folder.rglob("*.part"))
    assert store.verify() == []


def test_a_file_is_on_the_disk_before_it_has_its_name(tiny, store, monkeypatch) -> None:
    """And the name is, before the shard is reported: what a power cut would show."""
    synced: list[int] = []
    fsync, replace = os.fsync, Path.replace

    def note(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    def rename(self: Path, target: Path) -> Path:
        assert synced.pop() == self.stat().st_ino
        return replace(self, target)

    def check(done: int, _: int) -> None:
        if done in (4, 8, 11):
            assert synced.pop() == folder.stat().st_ino

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(Path, "replace", rename)
    folder = store.harvest_folder(planned(tiny("gpt2"), TEXT, "0.z", store).keys[Site("z", 0)])
    take(tiny("gpt2"), store, "0.z", progress=check)
    assert synced.pop() == folder.stat().st_ino, "the manifest"


def test_a_read_only_disk_is_told(tiny, store, monkeypatch) -> None:
    def refuse(*_, **__) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    plan = planned(tiny("gpt2"), TEXT, SITES, store)
    budget = predict(plan)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match=r"cannot write .*\(Read-only file system\)"):
        carried_out(plan, budget)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(InputError, match=r"cannot write .*\(Read-only file system\)"):
        predict(plan)


def test_a_disk_without_locks_is_told(tiny, store, monkeypatch) -> None:
    def refuse(*_) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(InputError, match=r"knows no locks .* on a local disk with --store"):
        take(tiny("gpt2"), store)


# Eviction


def aged(store: Store, path: Path, age: int) -> Path:
    """Used so many seconds after the beginning of time."""
    os.utime(path / "manifest.json" if path.is_dir() else path, (age, age))
    return path


def test_the_oldest_go_first_whatever_they_are(tiny, ids, store) -> None:
    model = tiny("gpt2")
    capture(model, ids, "0.resid_post", store)
    one, two = (aged(store, path, age) for path, age in zip(
        sorted(store.folder.glob("captures/*/*")), (10, 40), strict=True
    ))  # fmt: skip
    folders = [take(model, store, site)[site].folder for site in ("0.z", "1.z")]
    for folder, age in zip(folders, (20, 30), strict=True):
        aged(store, folder, age)
    sizes = {entry.path: entry.n_bytes for entry in store.entries()}
    assert set(sizes) == {one, two, *folders}
    assert store.size() == (4, sum(sizes.values()))
    freed = store.prune(store.size()[1] - 1)
    assert (freed.n_bytes, freed.entries, freed.in_use) == (sizes[one], 1, ())
    open_harvest(store, model, TEXT, "0.z").close()  # now the youngest
    freed = store.prune(sizes[two] + sizes[folders[0]])
    assert (freed.n_bytes, freed.left) == (sizes[folders[1]], sizes[two] + sizes[folders[0]])
    assert two.exists()
    store.prune(sizes[folders[0]])
    assert (two.exists(), folders[0].exists()) == (False, True)
    assert store.clear().entries == 1
    assert store.size() == (0, 0)


def test_what_is_open_stays(tiny, store) -> None:
    model = tiny("gpt2")
    with take(model, store, "0.z")["0.z"] as one:
        before = one.contexts(0, 11)
        for act in (lambda: store.prune(0), store.clear, lambda: Store(store.folder).prune(0)):
            freed = act()
            assert (freed.entries, freed.in_use) == (0, (one.folder,))
        assert torch.equal(one.contexts(0, 11), before)
    assert store.prune(0).entries == 1
    assert not one.folder.exists()


def test_a_harvest_that_is_forgotten_may_go(tiny, store) -> None:
    take(tiny("gpt2"), store, "0.z")
    assert store.prune(0).entries == 1


def test_captures_push_out_old_harvests(tiny, ids, tmp_path) -> None:
    model = tiny("gpt2")
    store = Store(tmp_path / "store", memory=0)
    folder = aged(store, take(model, store, "0.z")["0.z"].folder, 1)
    store.limit = store.size()[1]
    capture(model, ids, "0.resid_post", store)
    assert not folder.exists()


def test_a_harvest_makes_room_for_itself(tiny, store) -> None:
    model = tiny("gpt2")
    folders = [take(model, store, site)[site].folder for site in ("0.z", "1.z")]
    for folder, age in zip(folders, (1, 2), strict=True):
        aged(store, folder, age)
    store.limit = store.size()[1] + 100
    kept = take(model, store, "2.z")["2.z"]
    assert [folder.exists() for folder in folders] == [False, True]
    assert store.size()[1] <= store.limit
    one = open_harvest(store, model, TEXT, "1.z")
    told = r"leaves no room for .*: .* are of harvests in use; close them or raise --store-limit"
    with pytest.raises(InputError, match=told):
        take(model, store, "0.z")
    assert kept.folder.exists() and one.folder.exists()


def test_a_removal_that_is_cut_short_is_no_damage(tiny, store, monkeypatch) -> None:
    take(tiny("gpt2"), store)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        store.prune(0)
    assert list((store.folder / "harvests").glob(".*.gone")), "the test would show nothing"
    assert (store.size(), store.verify(), list(store.entries())) == ((0, 0), [], [])
    store.prune(0)
    assert not list((store.folder / "harvests").iterdir())


def test_a_harvest_that_is_not_finished_is_listed(tiny, store) -> None:
    with pytest.raises(Stopped):
        take(tiny("gpt2"), store, "0.z", progress=stop_after(5))
    (entry,) = store.entries()
    assert entry.is_harvest
    assert (entry.key.site, entry.shape, entry.made["missing"]) == ("0.z", (11, 10, 3, 8), 2)
    assert entry.made["corpus"] == "random 0"


def test_harvest_is_a_handle(tiny, store) -> None:
    one = take(tiny("gpt2"), store, "0.resid_post")["0.resid_post"]
    assert isinstance(one, Harvest)
    copy = one.contexts(0, 3)
    copy.zero_()
    assert float(one.contexts(0, 3).abs().max()) > 0, "what is handed out is the caller's own"
    assert np.prod(one.shape) == 11 * 10 * 24


def test_a_lost_manifest_is_told_with_its_folder(tiny, store) -> None:
    harvested = take(tiny("gpt2"), store, "1.z")["1.z"]
    harvested.close()
    (harvested.folder / "manifest.json").unlink()
    told = r"manifest.json: .*expected a manifest beside the shards, found none; delete the folder"
    with pytest.raises(DamagedError, match=told):
        take(tiny("gpt2"), store, "1.z", shard_contexts=3)


def test_open_one_harvest_at_a_time(tiny, store) -> None:
    with pytest.raises(InputError, match=r"names 3 sites; open one harvest at a time"):
        open_harvest(store, tiny("gpt2"), TEXT, "*.resid_post")

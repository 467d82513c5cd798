"""The store: whole or refused, never guessed; what is damaged is named by file and field."""

import errno
import json
import multiprocessing
import os
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from workbench.cache import DamagedError, Key, Store
from workbench.cache import store as module
from workbench.errors import InputError

KEY = Key("config", "weights", "raw", "float32", "eager", "tokens", "1.resid_post", "float32")
VALUE = torch.arange(6.0).view(2, 3)


def put(store: Store, key: Key = KEY, value: Tensor = VALUE) -> Path:
    store.put(key, value, ids=[1, 2], device="cpu")
    return store.path(key)


def get(store: Store, key: Key = KEY) -> Tensor:
    found = store.get(key)
    assert found is not None
    return found


def numbered(index: int) -> Key:
    return replace(KEY, tokens=str(index))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def on_disk(folder: Path) -> Store:
    """A store without a memory tier: every get reads the file."""
    return Store(folder, memory=0)


def test_what_was_put_is_got(folder: Path) -> None:
    put(Store(folder))
    for store in (Store(folder), Store(folder, memory=0)):
        assert torch.equal(get(store), VALUE)
        assert store.get(numbered(1)) is None
        assert store.size() == (1, store.path(KEY).stat().st_size)
        assert store.verify() == []
        (entry,) = store.entries()
        assert (entry.key, entry.shape, entry.path) == (KEY, (2, 3), store.path(KEY))
        assert entry.made["ids"] == [1, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (2, 3, 4)])
def test_every_dtype_and_shape_comes_back(on_disk: Store, dtype, shape) -> None:
    value = torch.randn(shape).to(dtype)
    put(on_disk, value=value)
    assert get(on_disk).dtype == dtype
    assert torch.equal(get(on_disk), value)


def test_a_view_is_stored_alone(on_disk: Store) -> None:
    whole = torch.randn(1000, 6)
    path = put(on_disk, value=whole[3, ::2])
    assert torch.equal(get(on_disk), whole[3, ::2])
    assert path.stat().st_size < 2000


@pytest.mark.parametrize("memory", [0, 10**6])
def test_a_tensor_handed_out_is_the_callers_own(folder: Path, memory: int) -> None:
    store = Store(folder, memory=memory)
    mine = VALUE.clone()
    put(store, value=mine)
    for taken in (mine, get(store), get(store)):
        taken.zero_()
        assert torch.equal(get(store), VALUE)
    assert torch.equal(get(Store(folder)), VALUE)


@pytest.mark.parametrize("name", [field.name for field in fields(Key)])
def test_every_field_of_the_key_makes_another_entry(on_disk: Store, name: str) -> None:
    put(on_disk)
    other = replace(KEY, **{name: "other"})
    assert on_disk.get(other) is None
    assert KEY.differences(other) == [name]


# Damage


@pytest.mark.parametrize("name", [field.name for field in fields(Key)])
def test_a_file_renamed_from_another_key_is_refused(on_disk: Store, name: str) -> None:
    other = replace(KEY, **{name: "other"})
    target = on_disk.path(other)
    target.parent.mkdir(parents=True, exist_ok=True)
    put(on_disk).rename(target)
    told = f"{target} holds another activation: field {name}: expected other, found "
    with pytest.raises(DamagedError, match=told):
        on_disk.get(other)
    (fault,) = on_disk.verify()
    assert f"{target}: field key: belongs under the name {KEY.digest}" in str(fault)


def test_every_flipped_byte_is_refused(on_disk: Store) -> None:
    path = put(on_disk)
    whole = path.read_bytes()
    slipped = []
    for position in range(len(whole)):
        for mask in (0x01, 0x80, 0xFF):
            spoilt = bytearray(whole)
            spoilt[position] ^= mask
            path.write_bytes(spoilt)
            try:
                found = on_disk.get(KEY)
            except DamagedError as error:
                assert str(path) in str(error)
            else:
                slipped.append((position, mask, found))
    assert len(whole) > 500
    assert slipped == []


def test_every_cut_is_refused(on_disk: Store) -> None:
    path = put(on_disk)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError, match=f"{path}: field file: not a whole safetensors"):
            on_disk.get(KEY)
    path.write_bytes(whole + b"\0")
    with pytest.raises(DamagedError, match="field file"):
        on_disk.get(KEY)


def rewrite(path: Path, **header: str | None) -> None:
    """Another file with sound bytes and other words in its header."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() | header
    tensors = load_file(path)
    save_file(tensors, path, metadata={k: v for k, v in metadata.items() if v is not None})


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ({"format": "2"}, "field format: expected 1, found 2; another version of lensbench wrote"),
        ({"format": None}, "field format: expected in the header, found none"),
        ({"key": None}, "field key: expected in the header"),
        ({"made": None}, "field made: expected in the header"),
        ({"checksum": None}, "field checksum: expected in the header"),
        ({"checksum": "0" * 32}, "field checksum: expected 00000"),
        ({"made": "{}"}, "field checksum: expected"),
        ({"key": "{"}, "field key: cannot be read"),
        ({"key": '{"config": "x"}'}, "field key: cannot be read"),
        ({"key": "[1]"}, "field key: cannot be read"),
    ],
)
def test_a_wrong_header_is_refused(on_disk: Store, header: dict, told: str) -> None:
    path = put(on_disk)
    rewrite(path, **header)
    with pytest.raises(DamagedError, match=f"{path}: {told}"):
        on_disk.get(KEY)
    (fault,) = on_disk.verify()
    assert told in str(fault)


def test_another_tensor_under_the_name_is_refused(on_disk: Store) -> None:
    path = put(on_disk)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({"activation": VALUE + 1}, path, metadata=metadata)
    with pytest.raises(DamagedError, match="field checksum"):
        on_disk.get(KEY)
    save_file({"other": VALUE}, path, metadata=metadata)
    with pytest.raises(DamagedError, match="field activation"):
        on_disk.get(KEY)


def test_damage_is_not_repaired_by_putting_again(on_disk: Store) -> None:
    """A file that is there is believed or refused; it is the user who deletes it."""
    path = put(on_disk)
    path.write_bytes(b"")
    put(on_disk)
    with pytest.raises(DamagedError):
        on_disk.get(KEY)


def test_listing_names_the_damaged_file(on_disk: Store) -> None:
    path = put(on_disk)
    path.write_bytes(b"x")
    with pytest.raises(DamagedError, match=str(path)):
        list(on_disk.entries())


# Whole or not at all


def test_a_crash_before_the_rename_leaves_no_entry(on_disk: Store, monkeypatch) -> None:
    class Killed(BaseException):
        pass

    def killed(self: Path, target: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "replace", killed)
        put(on_disk)
    assert on_disk.get(KEY) is None
    assert on_disk.size() == (0, 0)
    assert on_disk.verify() == []
    put(on_disk)
    assert torch.equal(get(on_disk), VALUE)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_disk_that_refuses_is_told(on_disk: Store, monkeypatch, code: int) -> None:
    def refuse(*_, **__) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("workbench.cache.files.save_file", refuse)
    told = rf"the store cannot write .*\({os.strerror(code)}\); free some space, .* --store"
    with pytest.raises(InputError, match=told):
        put(on_disk)
    assert on_disk.size() == (0, 0)
    assert not list(on_disk.folder.rglob("*.part"))


def test_a_folder_that_cannot_be_made_is_told(monkeypatch, folder: Path) -> None:
    def refuse(*_, **__) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match=r"cannot be written \(Permission denied\); .* --store or"):
        Store(folder)


def test_a_folder_of_somebody_else_is_told(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"holds files that are not a store's .*empty folder"):
        Store(folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_a_half_written_marker_is_nobodys(folder: Path) -> None:
    """Another process claims the folder just now."""
    folder.mkdir()
    (folder / f".{module.MARKER}.1-a.part").write_text("")
    put(Store(folder))
    assert torch.equal(get(Store(folder)), VALUE)


def test_a_file_in_the_folders_place_is_told(folder: Path) -> None:
    folder.write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Store(folder)


@pytest.mark.parametrize(
    ("marker", "told"),
    [
        ("{", "not a store's marker"),
        ("[]", "not a store's marker"),
        ("{}", "field format: expected 1, found None"),
        ('{"format": 2}', "field format: expected 1, found 2"),
    ],
)
def test_a_store_of_another_format_is_told(folder: Path, marker: str, told: str) -> None:
    Store(folder)
    (folder / module.MARKER).write_text(marker)
    with pytest.raises(DamagedError, match=told):
        Store(folder)


def test_the_default_folder_is_under_home(workbench_home: Path) -> None:
    assert Store().folder == workbench_home / "store"


# Limits


def test_memory_forgets_what_was_used_longest_ago(folder: Path) -> None:
    store = Store(folder, memory=3 * VALUE.nbytes)
    paths = [put(store, numbered(index)) for index in range(3)]
    get(store, numbered(0))
    paths.append(put(store, numbered(3)))  # pushes out 1
    for path in paths:
        path.unlink()
    kept = [store.get(numbered(index)) is not None for index in range(4)]
    assert kept == [True, False, True, True]


def test_what_does_not_fit_in_memory_is_read_from_disk(folder: Path) -> None:
    store = Store(folder, memory=VALUE.nbytes - 1)
    path = put(store)
    assert torch.equal(get(store), VALUE)
    path.unlink()
    assert store.get(KEY) is None


def test_disk_evicts_what_was_used_longest_ago(folder: Path) -> None:
    size = put(Store(folder / "sizing"), numbered(0)).stat().st_size
    store = Store(folder / "limited", memory=0, limit=3 * size)
    for index in range(3):
        os.utime(put(store, numbered(index)), (index, index))
    get(store, numbered(0))  # now the youngest
    put(store, numbered(3))
    kept = [store.get(numbered(index)) is not None for index in range(4)]
    assert kept == [True, False, True, True]
    assert store.size()[1] <= 3 * size


def test_a_limit_below_one_entry_keeps_the_newest(folder: Path) -> None:
    store = Store(folder, memory=0, limit=1)
    put(store, numbered(0))
    put(store, numbered(1))
    assert [store.get(numbered(index)) is not None for index in range(2)] == [False, True]


def test_clearing_forgets_everything(folder: Path) -> None:
    store = Store(folder)
    size = put(store).stat().st_size
    freed = store.clear()
    assert (freed.n_bytes, freed.entries, freed.left) == (size, 1, 0)
    assert store.get(KEY) is None
    assert store.size() == (0, 0)
    put(store)
    assert torch.equal(get(store), VALUE)


def test_the_key_is_written_in_full(on_disk: Store) -> None:
    with safe_open(put(on_disk), framework="pt") as file:
        written = json.loads(file.metadata()["key"])
    assert written == asdict(KEY)


# Two at once


def write_many(folder: Path, limit: int, offset: int) -> None:
    torch.set_num_threads(1)
    store = Store(folder, memory=0, limit=limit)
    for index in range(200):
        key = numbered((index + offset) % 30)
        if (found := store.get(key)) is not None:
            assert torch.equal(found, torch.full((64,), float(key.tokens)))
        put(store, key, torch.full((64,), float(key.tokens)))


@pytest.mark.parametrize(("limit", "at_least"), [(10**6, 30), (10_000, 1)])
def test_two_processes_leave_a_sound_store(folder: Path, limit: int, at_least: int) -> None:
    """Also while each deletes, to stay below the limit, what the other reads."""
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=write_many, args=(folder, limit, offset)) for offset in (0, 0, 15)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    store = Store(folder)
    assert store.verify() == []
    assert 30 >= store.size()[0] == len(list(store.entries())) >= at_least
    assert not list(folder.rglob("*.part"))

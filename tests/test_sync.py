"""A store and a training copied to a URL and back: whole, once, and never out of the folder."""

import json
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest

from tests.faults.children import opened, tree, write
from workbench import sync
from workbench.__main__ import main
from workbench.errors import InputError
from workbench.sync import PART, Copied, pull, push

URL = "memory://bucket/store"


@pytest.fixture(autouse=True)
def memory():
    found = fsspec.filesystem("memory")
    found.store.clear()
    return found


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write(tmp_path / "store")
    return tmp_path / "store"


def test_a_store_goes_to_a_url_and_back(store: Path, tmp_path: Path):
    there = push(store, URL)
    assert there.files == len(tree(store)) and not there.kept
    assert there.n_bytes == sum(map(len, tree(store).values()))
    pull(URL, tmp_path / "other")
    assert tree(tmp_path / "other") == tree(store)
    for harvest in opened(tmp_path / "other"):
        harvest.verify()


def test_shards_are_copied_once_and_what_says_they_are_whole_each_time(store: Path, memory):
    push(store, URL)
    heard: list[tuple[int, int]] = []
    again = push(store, URL, lambda done, total: heard.append((done, total)))
    manifests = [name for name in tree(store) if name.endswith("manifest.json")]
    assert again.files == len(manifests) and again.kept == len(tree(store)) - len(manifests)
    assert heard[-1] == (again.n_bytes, again.n_bytes)
    shard = next(path for path in memory.find("/bucket/store") if "shard-" in path)
    memory.pipe_file(shard, b"cut short")
    assert push(store, URL).files == len(manifests) + 1


def test_a_copy_that_is_cut_short_does_not_look_whole(store: Path, memory, monkeypatch):
    """Manifests come last, so a reader on the other side sees none of a harvest or all of it."""
    plain, puts = memory.put_file, []

    def full(here, there, **more):
        puts.append(there)
        if len(puts) == 5:
            raise OSError(28, "No space left on device")
        plain(here, there, **more)

    monkeypatch.setattr(sync, "_opened", lambda url: (memory, "/bucket/store"))
    monkeypatch.setattr(memory, "put_file", full)
    with pytest.raises(InputError, match=r"cannot copy .*No space left on device.* goes on"):
        push(store, URL)
    assert not [path for path in memory.find("/bucket") if path.endswith("manifest.json")]
    assert push(store, URL).kept == 4


def test_a_checkpoint_of_the_same_size_is_copied_again(tmp_path: Path):
    training = tmp_path / "training"
    training.mkdir()
    for content in (b"one", b"two"):
        (training / "state.safetensors").write_bytes(content)
        push(training, URL)
    pull(URL, tmp_path / "other")
    assert (tmp_path / "other" / "state.safetensors").read_bytes() == b"two"


def test_what_is_under_way_is_left_out(store: Path, memory):
    for name in ("shard-00001.part", ".hidden", f"x{PART}"):
        (store / name).write_bytes(b"half")
    push(store, URL)
    assert not [path for path in memory.find("/bucket") if "half" in str(memory.cat_file(path))]


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "..\\evil"])
def test_a_name_that_leads_out_of_the_folder_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    listed = SimpleNamespace(find=lambda root, detail: {f"{root}/{name}": {"size": 3}})
    monkeypatch.setattr(sync, "_opened", lambda url: (listed, "/bucket/store"))
    with pytest.raises(InputError, match="outside of itself"):
        pull(URL, tmp_path / "store")
    assert not list(tmp_path.iterdir())


def test_what_is_not_there_is_a_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="holds no files"):
        pull("memory://nothing", tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        push(tmp_path / "nothing", URL)
    with pytest.raises(InputError, match="cannot be opened"):
        push(tmp_path, "nowhere://bucket")


def test_the_command_copies_both_ways(store: Path, tmp_path: Path, capsys):
    assert main(["sync", "push", URL, "--folder", str(store)]) == 0
    assert "MB copied; 0 were there" in capsys.readouterr().out
    assert main(["sync", "pull", URL, "--folder", str(tmp_path / "other"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == len(tree(store))
    assert isinstance(push(store, URL), Copied)

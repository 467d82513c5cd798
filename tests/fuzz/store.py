"""The store: entries, harvests with their shards, its marker; what `sync` copies into it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import torch
from fsspec.implementations.memory import MemoryFileSystem

from tests.fuzz import seals
from tests.fuzz.changes import of_text
from tests.fuzz.target import Case, Files, Target, files_in, folder_target
from tests.harvests import KEY, made_of, text
from workbench.cache import Harvest, Store
from workbench.cache.manifest import damage, read_manifest
from workbench.cache.sharing import used
from workbench.corpus.packed import cards, damaged_cards, read, writing
from workbench.sync import pull

OWN = replace(KEY)  # a key remembers its digest, which `made_of` cannot have


def targets(case: Case, made: Path) -> Iterator[Target]:
    yield folder_target("store, entry", case, [_entry(made)], _entries, seal=seals.entry)
    yield folder_target("store, marker", case, [_marker(made)], Store)
    yield folder_target("harvest", case, [_harvest(made)], _harvested, seal=seals.shard)
    yield folder_target("corpus, packed", case, [_packed(made)], _corpus, seal=seals.packed)
    yield _synchronised(case)


def _entry(made: Path) -> Files:
    store = Store(made / "entry", memory=0)
    store.put(OWN, torch.arange(12.0).reshape(3, 4), ids=[1, 2, 3], device="cpu")
    return files_in(made / "entry")


def _entries(folder: Path) -> None:
    store = Store(folder, memory=0)
    store.get(OWN)
    list(store.entries())
    store.verify()


def _marker(made: Path) -> Files:
    Store(made / "marker")
    return files_in(made / "marker")


def _harvest(made: Path) -> Files:
    """Whole, in the folder that is named after its key."""
    made_of(made / "harvest", torch.randn(5, 6, 4), text(5), cut=2)
    found = files_in(made / "harvest" / "harvests")
    return {name: data for name, data in found.items() if "lock" not in name}


def _harvested(folder: Path) -> None:
    """Every byte, as `workbench cache verify` reads it, and as a training does."""
    for place in folder.iterdir():
        if (fault := damage(place)) is not None:
            raise fault
        manifest = read_manifest(place)
        if manifest is not None:
            Harvest(place, manifest.key, text(5), used(place)).close()


def _packed(made: Path) -> Files:
    with writing(made / "packed", 4) as writer:
        for row in range(3):
            ids = np.arange(4, dtype=np.int32) + row
            writer.add(ids, np.zeros(4, dtype=np.int32))
        writer.finish(_REQUEST, {"source": "text"})
    return files_in(made / "packed")


_REQUEST = {"source": {"kind": "text", "content": "c"}, "n_ctx": 4, "bos_id": None}


def _corpus(folder: Path) -> None:
    corpus = read(folder, "text", _REQUEST)
    corpus.ids.sum()
    cards()
    damaged_cards()


class Lying(MemoryFileSystem):
    """A place elsewhere that names whatever files it likes."""

    protocol = "lying"
    names: Any = ()

    def find(self, path: str, *_: Any, **__: Any) -> Any:
        return {name: {"size": 3, "name": name} for name in type(self).names}

    def get_file(self, rpath: str, lpath: str, *_: Any, **__: Any) -> None:
        Path(lpath).write_bytes(b"new")


def _synchronised(case: Case) -> Target:
    if "lying" not in fsspec.available_protocols():
        fsspec.register_implementation("lying", Lying)

    def change(draw: Any, names: list[str]) -> list[str]:
        return [of_text(draw, name) if draw.random() < 0.7 else name for name in names]

    def copied(names: list[str]) -> None:
        Lying.names = tuple(names)
        case.clear()
        pull("lying://there", case.folder)

    root = Lying()._strip_protocol("lying://there")
    seed = [
        f"{root}/{name}" for name in ("store.json", "harvests/a/manifest.json", "x/y.safetensors")
    ]
    return Target("sync, names", [seed], change, copied)

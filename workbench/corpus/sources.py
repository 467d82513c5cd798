"""Documents from local files: text, JSON Lines, Parquet. They are streamed, never held whole."""

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from workbench.errors import InputError
from workbench.models import digest

PART = 2**20  # characters; a longer document is handed on in parts, to bound memory
_LINE_END = re.compile(r"(?<=\S)\n(?=\S)")
_LINES = (".jsonl", ".ndjson")
# Text too, but not one document: refused rather than packed with its quotes and commas.
_OTHER = (".json", ".csv", ".tsv", ".xml", ".html")
SUFFIXES = (".txt", ".md", ".parquet", *_LINES, *_OTHER)  # a name that ends so means a file
_BESIDE = ("card.json", "README.md")  # what may lie beside the texts of a folder


class Piece(NamedTuple):
    """A document's text, or a part of a long one; parts follow one another.

    `document` counts the source's documents, empty ones too; `read` is the share of the source
    that was read so far.
    """

    document: int
    text: str
    read: float


@dataclass(frozen=True)
class Source:
    """Where documents come from.

    `identity()` says everything that decides what the documents are, as plain values;
    `pieces()` gives them in order. Both raise `InputError` for what cannot be read.
    """

    identity: Callable[[], Mapping[str, Any]]
    pieces: Callable[[], Iterator[Piece]]


def file_source(path: Path, column: str | None) -> Source:
    """A file: .jsonl and .parquet hold a document in each row's `column`, others are one each."""
    suffix = path.suffix.lower()
    if suffix in _OTHER:
        raise InputError(
            f"{path} is neither text, .jsonl nor .parquet; save its texts as one of these"
        )
    if suffix not in (*_LINES, ".parquet"):
        return texts_source([path], column)
    rows, kind = (_parquet, "parquet") if suffix == ".parquet" else (_jsonl, "jsonl")
    name = column or "text"
    return Source(
        identity=lambda: {"kind": kind, "column": name, "content": file_hash(path)},
        pieces=lambda: rows(path, name),
    )


def texts_source(paths: Sequence[Path], column: str | None = None) -> Source:
    """UTF-8 text files, one document each."""
    if column is not None:
        raise InputError(f"{paths[0]} is plain text: it has no field {column!r}; leave text out")
    return Source(
        identity=lambda: {"kind": "text", "content": digest({"files": [*map(file_hash, paths)]})},
        pieces=lambda: _texts(paths),
    )


def texts_in(folder: Path) -> list[Path]:
    """The text files of a folder that holds nothing else (a card and a README aside), by name."""
    files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    files = sorted(path for path in files if path.name not in _BESIDE)
    return files if all(path.suffix == ".txt" for path in files) else []


def file_hash(path: Path) -> str:
    """XXH3-128 of a file's bytes, 32 hex digits: it tells texts apart, at the disk's speed."""
    with opened(path) as file:
        return file_digest(file, xxhash.xxh3_128).hexdigest()


def text_of(row: Mapping[str, Any], column: str, where: str) -> str:
    """The text of one row; a null counts as an empty document."""
    if column not in row:
        raise no_column(where, column, row)
    text = row[column]
    if text is not None and not isinstance(text, str):
        raise InputError(
            f"{where}: field {column!r} holds {type(text).__name__}, not text; "
            "name the field with the text (text=..., --text)"
        )
    try:
        (text or "").encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: field {column!r} holds half a surrogate pair (character {error.start}), "
            "which is no text; write it anew"
        ) from error
    return text or ""


def no_column(where: str, column: str, have: Iterable[str]) -> InputError:
    """The error for a field that is not there; it names those that are."""
    return InputError(
        f"{where} has no field {column!r}, only {', '.join(map(str, have)) or 'none'}; "
        "name the one with the text (text=..., --text)"
    )


def blocks(text: str) -> Iterator[str]:
    """A text in blocks, as a file would give it."""
    return (text[start : start + PART] for start in range(0, len(text), PART))


def parts(given: Iterable[str]) -> Iterator[str]:
    """One document's blocks as parts of about `PART` characters; the last may be empty.

    They end after a single newline between two characters that are no white space, where
    byte-level BPE splits anyway, so that its tokens stay the same. Where there is none for
    three times `PART`, a part ends before a space, or anywhere.
    """
    held = ""
    for block in given:
        held += block
        while len(held) > PART:
            found = _LINE_END.search(held, PART)
            if found is None and len(held) < 4 * PART:
                break
            space = held.rfind(" ", 1, 4 * PART)
            end = found.end() if found else space if space > 0 else 4 * PART
            yield held[:end]
            held = held[end:]
    yield held


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A file open for reading; `InputError` where the machine cannot."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _texts(paths: Sequence[Path]) -> Iterator[Piece]:
    sizes = [path.stat().st_size for path in paths]
    total, before = max(sum(sizes), 1), 0
    for document, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        with opened(path) as file:
            for part in parts(_decoded(path, file)):
                yield Piece(document, part, (before + file.tell()) / total)
        before += size


def _decoded(path: Path, file: BufferedReader) -> Iterator[str]:
    """The file's text in blocks, without a byte order mark."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    first = True
    while True:
        block = file.read(PART)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            byte = file.tell() - len(error.object) + error.start
            raise InputError(
                f"{path} is not UTF-8 (byte {byte}); save it as UTF-8 and try again"
            ) from error
        yield text.removeprefix("\ufeff") if first else text
        if not block:
            return
        first = False


def _jsonl(path: Path, column: str) -> Iterator[Piece]:
    document = byte = 0
    total = max(path.stat().st_size, 1)
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path} line {number}"
                text = text_of(_record(line, where, byte), column, where)
                for part in parts(blocks(text)):
                    yield Piece(document, part, (byte + len(line)) / total)
                document += 1
            byte += len(line)


def _record(line: bytes, where: str, byte: int) -> Mapping[str, Any]:
    try:
        record = json.loads(line.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where} is not UTF-8 (byte {byte + error.start} of the file); "
            "save all of the file as UTF-8 and try again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error}); write one object on each line") from error
    if not isinstance(record, dict):
        raise InputError(f"{where} is no JSON object but {type(record).__name__}; write one there")
    return record


def _parquet(path: Path, column: str) -> Iterator[Piece]:
    import pyarrow.parquet  # heavy, and of use to few

    document = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if column not in file.schema_arrow.names:
                raise no_column(str(path), column, file.schema_arrow.names)
            total = max(file.metadata.num_rows, 1)
            for batch in file.iter_batches(batch_size=256, columns=[column]):
                for row in batch.to_pylist():
                    text = text_of(row, column, f"{path} row {document} (from 0)")
                    for part in parts(blocks(text)):
                        yield Piece(document, part, (document + 1) / total)
                    document += 1
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as Parquet beyond row {document} ({error}); write it anew"
        ) from error

"""Documents from a data set in the Hub's format: a Hub name, or a local folder. No code of its
own is ever run: the library refuses data sets that are scripts."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from workbench.corpus.packed import cards
from workbench.corpus.sources import (
    Piece,
    Source,
    blocks,
    file_hash,
    no_column,
    parts,
    text_of,
)
from workbench.errors import InputError
from workbench.models import digest, loading


def hub_source(
    name: str,
    *,
    column: str | None,
    split: str | None,
    subset: str | None,
    hint: str,
    say: Callable[[str], None],
) -> Source:
    """A data set on the Hub, pinned to the commit that its name stands for now.

    Where the Hub cannot be reached, to the one that was packed last; `say` hears of it.
    """
    revision = _revision(name, hint, say)
    asked = {"subset": subset, "split": split or "train", "column": column or "text"}
    return Source(
        identity=lambda: {"kind": "hub", "name": name, "revision": revision, **asked},
        pieces=lambda: _pieces(name, revision, **asked),
    )


def folder_source(
    folder: Path, *, column: str | None, split: str | None, subset: str | None
) -> Source:
    """A data set in a local folder: as on the Hub, known by all its files."""
    asked = {"subset": subset, "split": split or "train", "column": column or "text"}
    return Source(
        identity=lambda: {"kind": "folder", "content": _content(folder), **asked},
        pieces=lambda: _pieces(str(folder), None, **asked),
    )


def _content(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest({"files": {str(path.relative_to(folder)): file_hash(path) for path in files}})


def _revision(name: str, hint: str, say: Callable[[str], None]) -> str:
    if not loading.hub_answers():  # asked first: the Hub's client would try for long
        revision = _packed_last(name)
        if revision is None:
            raise InputError(
                f"corpus {name!r} is not built in, not a file, and the Hub cannot be reached; "
                f"{hint}"
            )
        say(f"the Hub cannot be reached: {name} as it was packed, at commit {revision[:8]}")
        return revision
    try:
        commit = HfApi().dataset_info(name, timeout=30).sha
    except RepositoryNotFoundError as error:
        raise InputError(
            f"neither built in, nor a file, nor on the Hub: corpus {name!r}; {hint}"
        ) from error
    except (HfHubHTTPError, ValueError) as error:
        raise InputError(f"the Hub refused corpus {name!r}: {_words(error)}; {hint}") from error
    assert commit is not None
    return commit


def _packed_last(name: str) -> str | None:
    """The commit of the data set that was packed last, if any was."""
    found = {
        folder.stat().st_mtime: card["request"]["source"]["revision"]
        for folder, card in cards().items()
        if card["request"]["source"].get("name") == name
    }
    return found[max(found)] if found else None


def _pieces(
    name: str, revision: str | None, *, subset: str | None, split: str, column: str
) -> Iterator[Piece]:
    import pyarrow  # heavy, and of use to few

    document = 0
    try:
        for document, row in enumerate(_rows(name, revision, subset, split, column)):
            text = text_of(row, column, f"{name} row {document} (from 0)")
            for part in parts(blocks(text)):
                yield Piece(document, part, 0.0)
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError, pyarrow.ArrowException) as error:
        raise InputError(
            f"data set {name} cannot be read beyond row {document}: {_words(error)}"
        ) from error


def _rows(
    name: str, revision: str | None, subset: str | None, split: str, column: str
) -> Iterator[Mapping[str, Any]]:
    from datasets import load_dataset  # two seconds to import

    rows = load_dataset(name, subset, split=split, revision=revision, streaming=True)
    columns = rows.column_names
    if columns is not None:
        if column not in columns:
            raise no_column(f"data set {name}", column, columns)
        rows = rows.select_columns([column])  # images and sounds are not even decoded
    yield from rows


def _words(error: Exception) -> str:
    # The library names the configurations or splits to choose from on the second line.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__

"""Corpora that come with the package: a file of texts packed by LZMA, and a card about it.

In `data/`, for each name, `NAME.jsonl.xz` and `NAME.json`. `ship` writes both; how many texts and
tokens there are, and the digest that the unpacked corpus must have, stand in the card alone.
"""

import json
import lzma
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workbench.corpus.hub import folder_source
from workbench.errors import MISFITS, InputError
from workbench.fetching import appearing

DATA = Path(__file__).parent / "data"
_TEXTS = "train.jsonl"  # so named, the folder is a data set with one split


def ship(
    name: str, rows: Iterable[Mapping[str, Any]], about: Mapping[str, Any], folder: Path = DATA
) -> None:
    """Write `rows` (each with a `text`) as a corpus of the package.

    The card holds `about`, the number of documents, the date, the version and the digest.
    """
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    packed = lzma.compress("".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME)
    with tempfile.TemporaryDirectory() as unpacked:
        _unpack(packed, Path(unpacked) / name)
        content = _content(Path(unpacked) / name)
    card = {
        "name": name,
        **about,
        "documents": len(lines),
        "content": content,
        "made": datetime.now(UTC).date().isoformat(),
        "lensbench": version("lensbench"),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _packed(name, folder).write_bytes(packed)
        (folder / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{name} cannot be written into {folder} ({error.strerror or error}); give a folder "
            "that may be written to"
        ) from error


def card_of(name: str, folder: Path = DATA) -> dict[str, Any]:
    """What a corpus of the package says about itself."""
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def installer(name: str, source: Path = DATA) -> Callable[..., None]:
    """What unpacks the corpus of that name into a folder."""
    return partial(_install, name, source)


def _install(
    name: str, source: Path, folder: Path, *, say: Callable[[str], None] = lambda stage: None
) -> None:
    if folder.exists():
        return
    path = _packed(name, source)
    with appearing(folder) as made:
        say(f"unpack {name}")
        try:
            _unpack(path.read_bytes(), made)
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise InputError(f"{path} is damaged ({error}); install lensbench again") from error
        expected, found = _expected(name, source), _content(made)
        if found != expected:
            raise InputError(
                f"{path}: field content: expected {expected}, found {found}: it is not what its "
                "card tells of; install lensbench again"
            )


def _expected(name: str, folder: Path) -> str:
    """The digest in a corpus' card."""
    try:
        return str(card_of(name, folder)["content"])
    except (OSError, *MISFITS) as error:
        raise InputError(
            f"the card {folder / name}.json is damaged ({error}); install lensbench again"
        ) from error


def _packed(name: str, folder: Path) -> Path:
    return folder / f"{name}.jsonl.xz"


def _unpack(packed: bytes, folder: Path) -> None:
    folder.mkdir()
    (folder / _TEXTS).write_bytes(lzma.decompress(packed))


def _content(folder: Path) -> str:
    """The digest that opening the folder finds."""
    source = folder_source(folder, column=None, split=None, subset=None)
    return source.identity()["content"]

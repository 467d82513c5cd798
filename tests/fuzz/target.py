"""A reader under fuzz: sound inputs, how they are changed, and the call that reads one."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.changes import of_bytes, of_json, of_text
from tests.fuzz.tensors import of_safetensors
from tests.fuzz.watch import GROWTH
from workbench.errors import InputError

Files = Mapping[str, bytes]
Change = Callable[[Random, bytes], bytes]


@dataclass(frozen=True)
class Target:
    """`change` makes a hostile input of a sound one, `read` is the reader's call on it.

    What `read` returns is dropped; `InputError` and what comes of it is a clear error. Not `open`
    is a reader behind a checksum that is written into the code: it takes no file made here.
    `growth` is what it may take of memory, where that is more than others' inputs are worth.
    """

    name: str
    seeds: Sequence[Any]
    change: Callable[[Random, Any], Any]
    read: Callable[[Any], object]
    open: bool = True
    growth: int = GROWTH

    def drawn(self, seed: int, number: int) -> Any:
        """Input `number` under a seed: a function of these and the target's name alone."""
        draw = Random(f"{seed} {self.name} {number}")
        return self.change(draw, draw.choice(self.seeds))


def of_lines(draw: Random, data: bytes) -> bytes:
    """JSON Lines: a line changed, twice there, or gone."""
    lines = data.splitlines(keepends=True)
    if not lines or draw.random() < 0.2:
        return of_bytes(draw, data)
    at = draw.randrange(len(lines))
    lines[at] = draw.choice((
        lambda: of_json(draw, lines[at]) + b"\n",
        lambda: of_json(draw, lines[at]) + b"\n",
        lambda: of_json(draw, lines[at]) + b"\n",
        lambda: lines[at] * 2,
        lambda: b"",
        lambda: b"\n",
    ))()  # fmt: skip
    return b"".join(lines)


def of_words(draw: Random, data: bytes) -> bytes:
    """A text file: as text, at times as bytes."""
    if draw.random() < 0.3:
        return of_bytes(draw, data)
    return of_text(draw, data.decode("utf-8", "replace")).encode("utf-8", "surrogatepass")


BY_SUFFIX: Mapping[str, Change] = {
    ".json": of_json,
    ".safetensors": of_safetensors,
    ".jsonl": of_lines,
    ".csv": of_words,
    ".txt": of_words,
}


def changed_files(draw: Random, files: Files) -> Files:
    """One file changed by what its name says it is; at times two, or one gone or mixed up."""
    made, names = dict(files), sorted(files)
    for _ in range(draw.choice((1, 1, 1, 2))):
        name = draw.choice(names)
        kind, luck = Path(name).suffix, draw.random()
        if luck < 0.03 and len(names) > 1:
            made.pop(name, None)
        elif luck < 0.05:
            made[name] = files[draw.choice(names)]
        else:
            made[name] = BY_SUFFIX.get(kind, of_bytes)(draw, made.get(name, b""))
    return made


@dataclass(frozen=True)
class Case:
    """The one folder into which inputs are laid; a file's inode is new each time, as a reader may
    still hold the last one mapped."""

    folder: Path
    laid: dict[str, bytes]

    def lay(self, files: Files, *, fresh: bool = False) -> Path:
        """Put `files` there; what a reader made stays, unless it has to be `fresh`."""
        if fresh:
            self.clear()
        for name in [name for name in self.laid if name not in files]:
            (self.folder / name).unlink(missing_ok=True)
            del self.laid[name]
        for name, content in files.items():
            if self.laid.get(name) != content:
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.write_bytes(content)
                self.laid[name] = content
        return self.folder

    def clear(self) -> None:
        self.laid.clear()
        for path, folders, files in os.walk(self.folder, topdown=False):
            for name in files:
                (Path(path) / name).unlink()
            for name in folders:
                (Path(path) / name).rmdir()


def folder_target(
    name: str,
    case: Case,
    seeds: Sequence[Files],
    read: Callable[[Path], object],
    *,
    seal: Callable[[Files], Files] | None = None,
    fresh: bool = False,
    open: bool = True,
) -> Target:
    """A reader of files. `seal` writes checksums anew, in half of the inputs: what only looks
    sound has to be told as well."""

    def change(draw: Random, files: Files) -> Files:
        made = changed_files(draw, files)
        return made if seal is None or draw.random() < 0.5 else seal(made)

    return Target(name, seeds, change, lambda files: read(case.lay(files, fresh=fresh)), open)


def text_target(name: str, seeds: Sequence[str], read: Callable[[str], object]) -> Target:
    """A reader of one text."""
    return Target(name, seeds, of_text, read)


def values_target(
    name: str, seeds: Sequence[Mapping[str, str]], read: Callable[[Mapping[str, str]], object]
) -> Target:
    """A reader of an address: its parameters, each a text."""

    def change(draw: Random, values: Mapping[str, str]) -> Mapping[str, str]:
        made = dict(values)
        for name in draw.sample(sorted(made), draw.randint(1, min(3, len(made)))):
            made[name] = of_text(draw, made[name])
        return made

    return Target(name, seeds, change, read)


def files_in(folder: Path) -> Files:
    """What lies in a folder, as a seed."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def no_answer(*_: object) -> None:
    raise InputError("nobody answers in a fuzz")

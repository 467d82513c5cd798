"""Lines of a user's file as fields: CSV with a header, or JSON Lines.

The fields are `clean`, `corrupted`, `answer` and, if wanted, `wrong` and places: columns
`place:NAME` in CSV, an object `places` in JSON Lines. Several answers are separated by `|` in
CSV and a list in JSON Lines. Other fields are errors: a column `places` or `Wrong` would
otherwise be read by nobody.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from workbench.errors import InputError

PLACE = "place:"
_REQUIRED = ("clean", "corrupted", "answer")


class LineError(Exception):
    """What is wrong with one line, told by field; the reader goes on, to tell all of them."""


@dataclass(frozen=True)
class Row:
    """One line's fields, before the model's vocabulary has seen them."""

    clean: str
    corrupted: str
    answer: list[str]
    wrong: list[str]
    places: Mapping[str, str | int]


Line = tuple[int, Callable[[], Row]]  # its number, and what reads it (may raise `LineError`)


def lines(path: Path) -> Iterator[Line]:
    """The lines that hold a pair; `InputError` for a file that cannot be read as a whole."""
    kinds = {".csv": _csv_lines, ".jsonl": _json_lines, ".ndjson": _json_lines}
    if path.suffix.lower() not in kinds:
        raise InputError(f"{path} is not one of {', '.join(kinds)}; save the pairs as one of these")
    return kinds[path.suffix.lower()](path, _text(path))


def known(path: Path) -> str:
    """The fields of a file, in words."""
    places = f"{PLACE}NAME" if path.suffix.lower() == ".csv" else "places"
    return f"{', '.join(_REQUIRED)} and, if wanted, wrong and {places}"


def _text(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"there is no file {path}; give a .csv or .jsonl file")
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path} is not UTF-8: line {line} holds the byte {data[error.start]:#04x}; save it "
            "as UTF-8"
        ) from error


def _amiss(fields: Sequence[str], optional: Callable[[str], bool]) -> str:
    """What is wrong with the names of the fields, in words; empty where nothing is."""
    told = {
        "lacks": [name for name in _REQUIRED if name not in fields],
        "does not know": [n for n in fields if n not in (*_REQUIRED, "wrong") and not optional(n)],
        "has twice": sorted({name for name in fields if fields.count(name) > 1}),
    }
    return ", ".join(
        f"{verb} {', '.join(map(repr, names))}" for verb, names in told.items() if names
    )


def _csv_lines(path: Path, text: str) -> Iterator[Line]:
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    header: list[str] = []
    end = 0
    try:
        for cells in reader:
            number, end = end + 1, reader.line_num
            if not any(cells):
                continue
            if header:
                yield number, lambda names=header, cells=cells: _csv_row(names, cells)
                continue
            header = cells
            amiss = _amiss(header, lambda name: name.startswith(PLACE) and name != PLACE)
            if amiss:
                raise InputError(
                    f"{path}: the header {','.join(header)!r} {amiss}; the columns are "
                    f"{known(path)}, with commas between"
                )
    except csv.Error as error:
        raise InputError(f"{path}: line {end + 1} is not CSV ({error}); mend it") from error


def _csv_row(header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        raise LineError(f"{len(cells)} fields where the header names {len(header)}: {cells}")
    fields = dict(zip(header, cells, strict=True))
    wrong = fields.get("wrong")
    return Row(
        clean=fields["clean"],
        corrupted=fields["corrupted"],
        answer=fields["answer"].split("|"),
        wrong=wrong.split("|") if wrong else [],
        places={
            name.removeprefix(PLACE): _position(cell)
            for name, cell in fields.items()
            if name.startswith(PLACE) and cell
        },
    )


def _position(cell: str) -> str | int:
    try:
        return int(cell)
    except ValueError:
        return cell


def _json_lines(path: Path, text: str) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, lambda line=line: _json_row(path, line)


def _json_row(path: Path, line: str) -> Row:
    try:
        fields = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise LineError(f"not JSON ({error})") from error
    if not isinstance(fields, dict):
        raise LineError(f"a {type(fields).__name__}, not an object with {known(path)}")
    amiss = _amiss(list(fields), lambda name: name == "places")
    if amiss:
        raise LineError(f"the object {amiss}; the fields are {known(path)}")
    return Row(
        clean=_is_text("clean", fields["clean"]),
        corrupted=_is_text("corrupted", fields["corrupted"]),
        answer=_texts("answer", fields["answer"]),
        wrong=_texts("wrong", fields.get("wrong", [])),
        places=_places(fields.get("places", {})),
    )


def _is_text(name: str, value: Any) -> str:
    # JSON can escape half of a character (\ud83d), which no tokenizer reads.
    if not isinstance(value, str) or any("\ud800" <= sign <= "\udfff" for sign in value):
        raise LineError(f"{name}: {value!r} is not a text")
    return value


def _texts(name: str, value: Any) -> list[str]:
    return [_is_text(name, text) for text in (value if isinstance(value, list) else [value])]


def _places(value: Any) -> dict[str, str | int]:
    if not isinstance(value, dict):
        raise LineError(f"places: {value!r} is not an object of names with positions or texts")
    for name, what in value.items():
        if type(what) is not int:
            _is_text(f"places, {name}", what)
    return value

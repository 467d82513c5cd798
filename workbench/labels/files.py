"""Labels from a user's file: texts with labels at chosen tokens, as CSV or JSON Lines.

Each line labels one place of a `text`: the text's last token, or a `word` of it (any part of the
text that stands there once; else `occurrence`, from 1, says which), or its characters `start` to
`end` (from 0, `end` left out). In JSON Lines, `labels` may hold several places of one text. Texts
of one `group` (or `document`) are kept together when samples are split; by default each text is
its own. Tagged text is told in `tagged`.
"""

import re
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.corpus.fields import Fields, LineError, csv_lines, every, is_text, json_lines
from workbench.errors import InputError
from workbench.home import typed
from workbench.labels.labelled import Labelled
from workbench.labels.tagged import read_tagged
from workbench.labels.texts import End, Mark, Text, of_texts
from workbench.models import Model

_PLACE = ("word", "occurrence", "start", "end")
_GROUP = ("group", "document")
_CSV = Fields(("text", "label"), (*_PLACE, *_GROUP))
_JSON = Fields(("text",), ("label", *_PLACE, *_GROUP, "labels"))
_LABEL = Fields(("label",), _PLACE)
_JSONL = (".jsonl", ".ndjson")
_TAGGED = (".txt", ".tagged")


def read_labels(
    path: Path | str, model: Model, *, bos: bool | None = None, at: End = "last"
) -> Labelled:
    """The labels of a .csv, .jsonl or tagged .txt file, named after it; `bos` as in `tokenize`.

    A word of several tokens is labelled at its last one, where a causal model has read all of it
    (Nanda et al. 2023, "Fact Finding"), or at the first. Raises `InputError` with the lines that
    do not serve.
    """
    path = typed(path)
    kind = path.suffix.lower()
    known = (".csv", *_JSONL, *_TAGGED)
    if kind not in known:
        raise InputError(
            f"{path} is not one of {', '.join(known)}; save the labels as one of these"
        )
    task = "tag" if kind in _TAGGED else "label"
    texts = read_tagged(path) if kind in _TAGGED else _texts(path, kind)
    return of_texts(path, model, texts, task=task, bos=bos, at=at)


def _texts(path: Path, kind: str) -> list[Text]:
    """The texts of a file; one that stands on several lines has the marks of all of them."""
    lines = _csv_texts(path) if kind == ".csv" else _json_texts(path)
    found: dict[tuple[Hashable, str], list[Mark]] = {}
    for text in every(path, lines):
        found.setdefault((text.group, text.text), []).extend(text.marks)
    return [Text(text, group, marks) for (group, text), marks in found.items()]


def _csv_texts(path: Path) -> Iterator[tuple[int, Any]]:
    for number, read in csv_lines(path, _CSV):

        def made(number=number, read=read) -> Text:
            # An empty cell is a field that is not there, but the text and the label are.
            row = {k: v for k, v in read().items() if v or k in _CSV.required}
            row |= {name: _number(name, row[name]) for name in _PLACE[1:] if name in row}
            text = is_text("text", row["text"])
            return Text(text, _group(row, text), [_mark(row, text, number)])

        yield number, made


def _json_texts(path: Path) -> Iterator[tuple[int, Any]]:
    for number, read in json_lines(path, _JSON):

        def made(number=number, read=read) -> Text:
            row = read()
            text = is_text("text", row["text"])
            return Text(text, _group(row, text), _marks(row, text, number))

        yield number, made


def _marks(row: Mapping[str, Any], text: str, line: int) -> list[Mark]:
    if "labels" not in row:
        if "label" not in row:
            raise LineError("neither label nor labels; give one of them")
        return [_mark(row, text, line)]
    beside = [name for name in ("label", *_PLACE) if name in row]
    labels = row["labels"]
    if beside or not isinstance(labels, list) or not labels:
        raise LineError(
            f"labels should be a list of objects with {_LABEL}"
            + (f", without {', '.join(beside)} beside it" if beside else "")
        )
    for entry in labels:
        amiss = _LABEL.amiss(list(entry)) if isinstance(entry, dict) else "is no object"
        if amiss:
            raise LineError(f"labels: an entry {amiss}; each is an object with {_LABEL}")
    return [_mark(entry, text, line) for entry in labels]


def _mark(row: Mapping[str, Any], text: str, line: int) -> Mark:
    label = row["label"]
    label = str(label).lower() if isinstance(label, int) else is_text("label", label)
    if not label.strip():
        raise LineError("label: empty; leave the line out where there is no label")
    return Mark(label, _span(row, text), line)


def _span(row: Mapping[str, Any], text: str) -> tuple[int, int] | None:
    start, end = row.get("start"), row.get("end")
    if "word" in row:
        if start is not None or end is not None:
            raise LineError("word: given beside start and end; give one or the other")
        return _word_span(is_text("word", row["word"]), row.get("occurrence"), text)
    if "occurrence" in row:
        raise LineError("occurrence: of no word; give the word, or leave it out")
    if start is None and end is None:
        return None
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        raise LineError(
            f"start {start!r} and end {end!r} are no part of the text; give whole numbers with "
            f"0 <= start < end <= {len(text)}"
        )
    return start, end


def _word_span(word: str, occurrence: Any, text: str) -> tuple[int, int]:
    starts = [one.start() for one in re.finditer(f"(?={re.escape(word)})", text)] if word else []
    if not starts:
        raise LineError(f"word: {word!r} does not stand in the text")
    if occurrence is None and len(starts) > 1:
        raise LineError(
            f"word: {word!r} stands {len(starts)} times in the text; say which with occurrence "
            "(from 1), or give start and end"
        )
    which = 1 if occurrence is None else occurrence
    if type(which) is not int or not 1 <= which <= len(starts):
        raise LineError(
            f"occurrence {which!r} of {word!r}, which stands {len(starts)} times in the text; "
            f"give 1 to {len(starts)}"
        )
    return starts[which - 1], starts[which - 1] + len(word)


def _group(row: Mapping[str, Any], text: str) -> Hashable:
    given = [row[name] for name in _GROUP if name in row]
    if len(given) > 1:
        raise LineError("group and document mean the same; give one of them")
    if not given:
        return None, text
    return given[0] if type(given[0]) is int else is_text("group", given[0])


def _number(name: str, cell: str) -> int:
    try:
        return int(cell)
    except ValueError as error:
        raise LineError(f"{name}: {cell!r} is no whole number") from error

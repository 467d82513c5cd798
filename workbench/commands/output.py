"""What commands leave behind: tables or JSON on stdout, HTML pages, run records.

Of several ranks the first one does; the others are silent.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from workbench import ranks, runs
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load for --help
    from workbench.models import Model

console = Console()


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; cells are shown as they are, markup in them is not read."""
    if ranks.rank():
        return
    shown = Table(title=Text(title), title_justify="left", header_style="bold")
    for column in columns:
        shown.add_column(Text(column), overflow="fold")
    for row in rows:
        shown.add_row(*(Text(str(cell)) for cell in row))
    console.print(shown)


def say(text: str) -> None:
    """Print a plain line."""
    if ranks.rank():
        return
    console.print(Text(text))


def say_raw(text: str) -> None:
    """Print text as it is, lines unbroken: for a file."""
    if ranks.rank():
        return
    print(text)  # noqa: T201


def dump(value: Any) -> None:
    """Print JSON; what is not a number (NaN) is null."""
    say_raw(json.dumps(_finite(value), ensure_ascii=False))


def write_html(path: Path, text: str) -> None:
    """Write a page, or say in one sentence why not."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def record(
    kind: str,
    model: Model,
    tokens: Sequence[Sequence[int]],
    arguments: Namespace,
    seconds: float,
    files: Sequence[Path] = (),
) -> None:
    """Leave the run record of a command."""
    if ranks.rank():
        return
    plain = {k: v for k, v in vars(arguments).items() if k not in ("run", "command", "verbose")}
    runs.keep(
        runs.Record(
            kind=kind,
            model={"name": model.name, **asdict(model.identity)},
            tokens=[list(row) for row in tokens],
            arguments={k: str(v) if isinstance(v, Path) else v for k, v in plain.items()},
            device=str(model.device),
            seconds=round(seconds, 4),
            files=[str(file.resolve()) for file in files],
        )
    )


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and value != value else value

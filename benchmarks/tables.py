"""The table: shown beside the one saved last, saved as JSON, written as a page of the docs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.ratios import Row

FALL = 0.15  # of a ratio, from which on it is flagged

About = Mapping[str, Any]


def save(path: Path, rows: Sequence[Row], about: About) -> None:
    """As JSON; a case that is there already is replaced, others are kept."""
    before = read(path)[0] if path.exists() else {}
    kept = before | {name(row): row for row in rows}
    content = {"about": about, "rows": [asdict(row) for row in kept.values()]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> tuple[dict[str, Row], dict[str, Any]]:
    """The rows of a saved table by name, and what it was measured on."""
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = [Row(**row) for row in content["rows"]]
    return {name(row): row for row in rows}, content["about"]


def name(row: Row) -> str:
    """By which a row is found again."""
    return f"{row.case}: {row.what}"


def fallen(rows: Sequence[Row], before: Mapping[str, Row]) -> list[str]:
    """Sentences on the ratios that are worse than they were by more than `FALL`."""
    return [
        f"{name(row)} was {_short(before[name(row)].ratio)}, is {_short(row.ratio)}"
        for row in rows
        if name(row) in before and row.change(before[name(row)]) < -FALL
    ]


def show(rows: Sequence[Row], about: About, before: Mapping[str, Row], console: Console) -> None:
    """The table, with what it was measured on."""
    table = Table(title="lensbench against its peers", title_justify="left")
    for heading in ("case", "ratio of"):
        table.add_column(heading)
    for heading in ("ratio", "range", "fastest", "medians", "target", "met", "last"):
        table.add_column(heading, justify="right", no_wrap=True)
    case = ""
    for row in rows:
        if row.case != case:
            table.add_section()
        first, case = row.case if row.case != case else "", row.case
        met = {None: "", True: "[green]yes[/]", False: "[bold red]NO[/]"}[row.met]
        once = row.low == row.high
        spread = "" if once else f"{_short(row.low)}-{_short(row.high)}"
        fastest = "" if once else _short(row.fastest)
        last = _short(before[name(row)].ratio) if name(row) in before else ""
        if fallen([row], before):
            last = f"[bold red]{last}[/]"
        table.add_row(
            first, row.what, _short(row.ratio), spread, fastest, row.detail, row.target, met, last
        )
    console.print(table)
    for heading, value in about.items():
        console.print(f"{heading}: {value}", highlight=False)
    for sentence in fallen(rows, before):
        console.print(f"[bold red]fell by more than {FALL:.0%}:[/] {sentence}", highlight=False)


def page(path: Path) -> str:
    """A saved table as Markdown."""
    rows, about = read(path)
    lines = [
        "# The bench table",
        "",
        "Written by `make bench`; [what it measures](benchmarks.md).",
        "",
        *(f"- {heading}: {value}" for heading, value in about.items()),
        "",
        "| case | ratio of | ratio | range | medians | target | met |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows.values():
        met = {None: "", True: "yes", False: "**no**"}[row.met]
        spread = "" if row.low == row.high else f"{_short(row.low)}-{_short(row.high)}"
        cells = (row.case, row.what, _short(row.ratio), spread, row.detail, row.target, met)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"

"""`workbench runs`: what was computed, what opens it again, what differs, what makes it again."""

from __future__ import annotations

import socket
import webbrowser
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workbench import reproduction, runs
from workbench.commands import output
from workbench.errors import InputError
from workbench.registry import Command


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "show", "open", "compare", "export"))
    parser.add_argument("name", nargs="*", help="of a run, or a part that only its name holds")
    parser.add_argument("--kind", help="list: only these (patch, lens, ...)")
    parser.add_argument("--limit", type=int, default=20, help="list: how many (20)")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="export: a new folder")
    parser.add_argument("--port", type=int, default=8501, help="open: the dashboard's (8501)")
    parser.add_argument("--no-browser", action="store_true", help="open: only print the address")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(arguments: Namespace) -> int:
    wanted = {"list": 0, "compare": 2}.get(arguments.action, 1)
    if len(arguments.name) != wanted:
        raise InputError(
            f"runs {arguments.action} takes {wanted or 'no'} "
            f"name{'' if wanted == 1 else 's'}, {len(arguments.name)} were given"
        )
    actions = {
        "list": _list,
        "show": _show,
        "open": _open,
        "compare": _compare,
        "export": _export,
    }
    return actions[arguments.action](arguments)


def _list(arguments: Namespace) -> int:
    every = [one for one in runs.kept() if arguments.kind in (None, one[1].kind)]
    shown = every[: arguments.limit]
    if arguments.json:
        output.dump([{"name": path.stem, **asdict(record)} for path, record in shown])
        return 0
    if not every:
        output.say("no run is kept; every command and every page that computes leaves one")
        return 0
    title = f"{len(shown):,} of {len(every):,} runs, newest first (--limit, --kind)"
    rows = [
        [path.stem, record.model.get("name", ""), runs.told(record), f"{record.seconds:.2f}"]
        for path, record in shown
    ]
    output.table(title, ["name", "model", "what", "seconds"], rows)
    return 0


def _show(arguments: Namespace) -> int:
    path, record = runs.found(arguments.name[0])
    if arguments.json:
        output.dump({"name": path.stem, **asdict(record)})
        return 0
    rows = [[name, _short(value)] for name, value in runs.flat(asdict(record)).items()]
    output.table(path.stem, ["field", "value"], rows)
    return 0


def _open(arguments: Namespace) -> int:
    path, record = runs.found(arguments.name[0])
    page = runs.address(record)
    if page is None:
        output.say(f"{path.stem} was a command; this runs it again:")
        output.say_raw(f"    {runs.told(record)}")
        return 0
    address = f"http://127.0.0.1:{arguments.port}/{page}"
    output.say_raw(address)
    if not _answers(arguments.port):
        output.say(f"nothing answers there: `workbench dashboard --port {arguments.port}` first")
    elif not arguments.no_browser:
        webbrowser.open(address)
    return 0


def _compare(arguments: Namespace) -> int:
    (one, first), (other, second) = (runs.found(name) for name in arguments.name)
    apart = runs.differences(first, second)
    if arguments.json:
        output.dump({name: list(values) for name, values in apart.items()})
        return 0
    rows = [[name, *map(_short, values)] for name, values in apart.items()]
    output.table("what differs", ["field", one.stem, other.stem], rows)
    return 0


def _export(arguments: Namespace) -> int:
    path, record = runs.found(arguments.name[0])
    folder = arguments.to or Path(path.stem)
    names = reproduction.export(path, record, folder)
    output.say(f"{folder}: {', '.join(names)}; `python {folder / 'reproduce.py'}` runs it again")
    return 0


def _answers(port: int) -> bool:
    with socket.socket() as asked:
        asked.settimeout(1)
        return asked.connect_ex(("127.0.0.1", port)) == 0


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


COMMAND = Command("list, show, open, compare or export what was computed", configure, run)

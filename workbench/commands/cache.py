"""`workbench cache`: what the store holds, whether it is sound, and making room in it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands import options, output
from workbench.errors import InputError
from workbench.registry import Command

if TYPE_CHECKING:  # torch must not load for --help
    from workbench.cache import Entry, Freed


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "info", "verify", "prune", "clear"))
    parser.add_argument("--yes", action="store_true", help="clear without asking")
    parser.add_argument("--limit", type=int, default=50, help="entries listed (50)")
    parser.add_argument(
        "--to",
        type=float,
        metavar="GIB",
        help="prune: remove what was used longest ago until no more is left (--store-limit)",
    )
    options.add_store(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(arguments: Namespace) -> int:
    actions = {"list": _list, "info": _info, "verify": _verify, "prune": _prune, "clear": _clear}
    store = options.open_store(arguments)  # torch loads here, not for --help
    return actions[arguments.action](arguments, store)


def _list(arguments: Namespace, store) -> int:
    entries = list(store.entries())
    if arguments.json:
        output.dump([_row(entry) for entry in entries])
        return 0
    if not entries:
        output.say(
            f"{store.folder} is empty; `workbench capture` and `workbench harvest` fill it, "
            "and so does every view of a prompt"
        )
        return 0
    shown = entries[: arguments.limit]
    title = f"{store.folder}: {len(entries)} entries" + (
        f", the first {len(shown)} shown (--limit)" if len(shown) < len(entries) else ""
    )
    columns = ["of", "site", "shape", "dtype", "weights", "MB", "file"]
    output.table(title, columns, [_cells(entry) for entry in shown])
    return 0


def _row(entry: Entry) -> dict[str, Any]:
    made, contexts = entry.made, entry.shape[0]
    about = {
        "site": entry.key.site,
        "shape": list(entry.shape),
        "dtype": entry.key.dtype,
        "processing": entry.key.processing,
        "weights": entry.key.weights[:8],
        "tokens": contexts * made["n_ctx"] if entry.is_harvest else len(made["ids"]),
        "bytes": entry.n_bytes,
        "file": entry.path.name,
    }
    names = ("corpus", "shards", "missing")
    return about | {name: made[name] for name in names if entry.is_harvest}


def _cells(entry: Entry) -> list[str]:
    row = _row(entry)
    whole = f", {row['missing']} of {row['shards']} shards missing" if row.get("missing") else ""
    return [
        f"{Path(row['corpus']).name}{whole}"
        if entry.is_harvest
        else f"prompt of {row['tokens']} tokens",
        row["site"],
        "x".join(map(str, entry.shape)),
        row["dtype"],
        f"{row['weights']} {row['processing']}",
        f"{entry.n_bytes / 1e6:,.2f}",
        row["file"][:8],
    ]


def _info(arguments: Namespace, store) -> int:
    entries, n_bytes = store.size()
    about = {
        "folder": str(store.folder),
        "entries": entries,
        "MB": round(n_bytes / 1e6, 3),
        "limit GiB": arguments.store_limit,
    }
    if arguments.json:
        output.dump(about)
    else:
        output.table("store", ["what", "value"], list(about.items()))
    return 0


def _verify(arguments: Namespace, store) -> int:
    faults = [str(fault) for fault in store.verify()]
    entries, _ = store.size()
    if arguments.json:
        output.dump({"entries": entries, "faults": faults})
    else:
        for fault in faults:
            output.say(fault)
        output.say(f"{entries - len(faults)} of {entries} entries are sound")
    return 1 if faults else 0


def _prune(arguments: Namespace, store) -> int:
    to = arguments.store_limit if arguments.to is None else arguments.to
    if not 0 <= to < 2**20:
        raise InputError(f"--to {to:g} is no size; give GiB from 0")
    _tell(arguments, store.prune(int(to * options.GIB)))
    return 0


def _clear(arguments: Namespace, store) -> int:
    entries, n_bytes = store.size()
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise InputError(f"would delete {entries} entries of {store.folder}; say so with --yes")
        answer = input(f"delete {entries} entries ({n_bytes / 1e6:.1f} MB)? [y/N] ")
        if answer.strip().lower() != "y":
            return 0
    _tell(arguments, store.clear())
    return 0


def _tell(arguments: Namespace, freed: Freed) -> None:
    in_use = [str(path) for path in freed.in_use]
    if arguments.json:
        output.dump(
            {
                "freed": freed.n_bytes,
                "entries": freed.entries,
                "left": freed.left,
                "in_use": in_use,
            }
        )
        return
    output.say(
        f"freed {freed.n_bytes / 1e6:.1f} MB in {freed.entries} entries; "
        f"{freed.left / 1e6:.1f} MB are left"
    )
    for path in in_use:
        output.say(f"kept {path}: a process reads or writes it")


COMMAND = Command("list, check, shrink or empty the activation store", configure, run)

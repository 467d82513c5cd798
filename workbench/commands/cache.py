"""`workbench cache`: what the store holds, whether it is sound, and emptying it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from workbench.commands import options, output
from workbench.errors import InputError
from workbench.registry import Command


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "info", "verify", "clear"))
    parser.add_argument("--yes", action="store_true", help="clear without asking")
    parser.add_argument("--limit", type=int, default=50, help="entries listed (50)")
    options.add_store(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(arguments: Namespace) -> int:
    store = options.open_store(arguments)  # torch loads here, not for --help
    return {"list": _list, "info": _info, "verify": _verify, "clear": _clear}[arguments.action](
        arguments, store
    )


def _list(arguments: Namespace, store) -> int:
    rows = [
        {
            "site": entry.key.site,
            "shape": list(entry.shape),
            "dtype": entry.key.dtype,
            "processing": entry.key.processing,
            "weights": entry.key.weights[:8],
            "tokens": len(entry.made["ids"]),
            "bytes": entry.n_bytes,
            "file": entry.path.name,
        }
        for entry in store.entries()
    ]
    if arguments.json:
        output.dump(rows)
        return 0
    shown = rows[: arguments.limit]
    columns = list(shown[0]) if shown else ["site"]
    title = f"{store.folder}: {len(rows)} entries" + (
        f", the first {len(shown)} shown (--limit)" if len(shown) < len(rows) else ""
    )
    output.table(title, columns, [list(row.values()) for row in shown])
    return 0


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


def _clear(arguments: Namespace, store) -> int:
    entries, n_bytes = store.size()
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise InputError(f"would delete {entries} entries of {store.folder}; say so with --yes")
        answer = input(f"delete {entries} entries ({n_bytes / 1e6:.1f} MB)? [y/N] ")
        if answer.strip().lower() != "y":
            return 0
    freed = store.clear()
    if arguments.json:
        output.dump({"freed": freed})
    else:
        output.say(f"freed {freed / 1e6:.1f} MB")
    return 0


COMMAND = Command("list, check or empty the activation store", configure, run)

"""`workbench sync`: a store, or a training's folder, copied to and from any fsspec URL."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from workbench.commands import options, output
from workbench.home import home
from workbench.registry import Command


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("direction", choices=("push", "pull"), help="to the URL, or from it")
    parser.add_argument("url", help="such as s3://bucket/store, or a folder on a shared disk")
    parser.add_argument("--folder", type=Path, help="a training's folder (default: the store)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a line")


def run(arguments: Namespace) -> int:
    from workbench.sync import pull, push  # fsspec loads here, not for --help

    folder = arguments.folder or home() / "store"
    with options.bar(f"{arguments.direction}, bytes") as progress:
        if arguments.direction == "push":
            copied = push(folder, arguments.url, progress)
        else:
            copied = pull(arguments.url, folder, progress)
    if arguments.json:
        output.dump(vars(copied))
        return 0
    output.say(
        f"{copied.files:,} files, {copied.n_bytes / 1e6:,.1f} MB copied; {copied.kept:,} were there"
    )
    return 0


COMMAND = Command("copy a store or a training to and from an fsspec URL", configure, run)

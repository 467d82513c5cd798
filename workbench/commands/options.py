"""Arguments that commands share, and what they become: a model, a store, a prompt's tokens."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from workbench import ranks
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load for --help
    from workbench.cache import Store
    from workbench.models import Model

GIB = 1024**3


def add_model(parser: ArgumentParser) -> None:
    """--model and how to load it."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default="smollm2-135m",
        help="built-in name, folder in the Hub's format, or Hub name (default: %(default)s)",
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    group.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16")
    group.add_argument(
        "--processing", default="raw", help="raw, or folded (LayerNorm folded, weights centred)"
    )
    group.add_argument("--threads", type=int, help="CPU threads (default: the free cores)")


def add_store(parser: ArgumentParser) -> None:
    """--store and its limit."""
    group = parser.add_argument_group("store")
    group.add_argument("--store", type=Path, help="folder of the activation store")
    group.add_argument(
        "--store-limit", type=float, default=20, metavar="GIB", help="its size limit (20)"
    )


def add_prompt(parser: ArgumentParser) -> None:
    """--chat and --no-bos."""
    group = parser.add_argument_group("prompt")
    group.add_argument("--chat", action="store_true", help="set the prompt into the chat template")
    group.add_argument(
        "--bos",
        choices=("auto", "on", "off"),
        default="auto",
        help="a BOS token in front (auto: where the vocabulary has one and --chat is off)",
    )


def add_output(parser: ArgumentParser) -> None:
    """--json and --html."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print JSON instead of tables")
    group.add_argument("--html", type=Path, help="write a self-contained HTML page")


def open_model(arguments: Namespace) -> Model:
    """The model that the arguments name, with its stages told on stderr."""
    from workbench.models import load, use_free_cores

    if arguments.threads is not None and arguments.threads < 1:
        raise InputError("--threads takes a whole number from 1")
    html = getattr(arguments, "html", None)
    if html is not None and (html.is_dir() or not html.resolve().parent.is_dir()):
        raise InputError(f"cannot write {html}: give a file in a folder that exists")
    use_free_cores(arguments.threads)
    with stages() as say:
        return load(
            arguments.model,
            device=arguments.device,
            dtype=arguments.dtype,
            processing=arguments.processing,
            say=say,
        )


def open_store(arguments: Namespace) -> Store:
    """The store that the arguments name."""
    from workbench.cache import Store

    if not 0 < arguments.store_limit < 2**20:
        raise InputError(
            f"--store-limit {arguments.store_limit:g} is no size; give GiB above 0, such as 20"
        )
    return Store(arguments.store, limit=int(arguments.store_limit * GIB))


def bos(arguments: Namespace) -> bool | None:
    """The BOS policy: True, False, or None for the vocabulary's own."""
    return {"auto": None, "on": True, "off": False}[arguments.bos]


@contextmanager
def stages(*, lines: bool = False) -> Iterator:
    """A spinner on stderr whose text is the present stage; with `lines`, one each in a log too."""
    console = Console(file=sys.stderr)
    if ranks.rank():
        yield lambda *_: None
        return
    if lines and not console.is_terminal:
        yield console.print
        return
    with console.status("starting") as status:
        yield status.update


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with the time left, on stderr; hears how many are done, of how many."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(file=sys.stderr)
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal or ranks.rank() > 0,
    ) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)

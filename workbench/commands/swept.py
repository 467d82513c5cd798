"""What is patched, as the commands `patch` and `attribute` take it."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from workbench.commands.pairs import add_metric, place_of
from workbench.errors import InputError
from workbench.sites import KINDS

if TYPE_CHECKING:  # torch must not load for --help
    from workbench.tasks import Pairs


def add_swept(parser: ArgumentParser) -> None:
    swept = parser.add_argument_group("what is patched")
    swept.add_argument("--site", default="resid_pre", help="what to patch (default: %(default)s)")
    swept.add_argument(
        "--places",
        metavar="P,P",
        help="each position, all together, or names and numbers: IO,S2,end (default: each; all "
        "for heads and neurons; what pairs of several lengths share)",
    )
    swept.add_argument("--layers", metavar="N,N-N", help="only these, such as 0-5,7 (all)")
    swept.add_argument("--components", metavar="N,N-N", help="only these heads or neurons (all)")
    swept.add_argument(
        "--direction",
        choices=("denoising", "noising"),
        default="denoising",
        help="clean into corrupted, or corrupted into clean (default: %(default)s)",
    )
    add_metric(swept)
    parser.add_argument("--top", type=int, default=12, help="effects listed (12)")


def numbers(arguments: Namespace, name: str) -> list[int] | None:
    """The numbers of `--NAME 0-5,7`, each once; None where it is not given."""
    text = getattr(arguments, name)
    if text is None:
        return None
    found: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        last = int(match[2] or match[1]) if match else -1
        if match is None or last < int(match[1]):
            raise InputError(f"--{name} {text!r} should be numbers and ranges, such as 0-5,7")
        if last >= 2**20:
            raise InputError(f"--{name} {text!r}: there is no number {last:,}")
        found.update(dict.fromkeys(range(int(match[1]), last + 1)))
    return list(found)


def open_places(arguments: Namespace, pairs: Pairs) -> tuple[Any, str]:
    """Where to patch, and a word about it where nobody asked for that."""
    if arguments.places in ("each", "all"):
        return arguments.places, ""
    if arguments.places is not None:
        return [place_of(text.strip()) for text in arguments.places.split(",")], ""
    kind = KINDS.get(arguments.site)
    if kind is not None and (kind.head_axis is not None or kind.name == "mlp_post"):
        return "all", "all positions patched together; --places each takes them apart"
    if len(pairs.by_length) == 1:
        return "each", ""
    lengths = ", ".join(map(str, pairs.by_length))
    return pairs.places, (
        f"prompts of {lengths} tokens have no positions in common: patched at the places that all "
        "of them name; --places chooses"
    )

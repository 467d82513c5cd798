"""Tensors and a card in one safetensors file: written whole, with a checksum over both."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import xxhash
from jaxtyping import Int, Integer
from safetensors import SafetensorError, safe_open
from torch import Tensor

from workbench.cache import DamagedError
from workbench.cache.files import check_refusal, write_whole
from workbench.errors import MISFITS, InputError

_HEADER = 100_000_000  # bytes: safetensors' own limit


def write_carded(
    path: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any], *, what: str
) -> None:
    """Write `tensors` and `card`, whole or not at all; `what` names the thing in messages.

    Date, version and checksum are put into the card. Raises `InputError` where the disk refuses.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    told = {
        **{name: value for name, value in card.items() if name != "checksum"},
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "lensbench": version("lensbench"),
    }
    told["checksum"] = checksum(told, plain)
    content = safetensors.torch.save(plain, metadata={"card": json.dumps(told)})
    try:
        write_whole(path, content)
    except OSError as error:
        raise InputError(
            f"the {what} cannot be written to {path} ({error.strerror or error}); give a file in a "
            "folder that exists and has room"
        ) from error


def read_carded(path: Path, *, what: str, fmt: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The card and the tensors of a file that `write_carded` wrote, in format `fmt`.

    Raises `InputError` where there is none, `DamagedError` for one that was changed on disk.
    """
    if not path.is_file():
        raise InputError(f"there is no {what} at {path}; give a file that this workbench wrote")
    try:
        with safe_open(path, framework="pt") as file:
            card: dict[str, Any] = dict(json.loads((file.metadata() or {})["card"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found, expected = card["format"], card.pop("checksum")
    except (SafetensorError, OSError, *MISFITS) as error:
        check_refusal(path, error)
        raise damaged(path, what, "file", f"safetensors with a {what}'s card", error) from error
    if found != fmt:
        raise DamagedError(
            f"{path}: field format: expected {fmt}, found {found}; another version of lensbench "
            f"wrote it: use that one, or make the {what} again"
        )
    if (found := checksum(card, tensors)) != expected:
        raise damaged(path, what, "checksum", expected, found)
    return card, tensors


def read_card(path: Path, *, what: str) -> dict[str, Any]:
    """Only the card, however large the tensors are; the checksum is over both and not looked at.

    Raises as `read_carded`.
    """
    if not path.is_file():
        raise InputError(f"there is no {what} at {path}; give a file that this workbench wrote")
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = file.read(min(size, _HEADER))
        return dict(json.loads(json.loads(header)["__metadata__"]["card"]))
    except (OSError, *MISFITS) as error:
        check_refusal(path, error)
        raise damaged(path, what, "file", f"safetensors with a {what}'s card", error) from error


def fewest_bytes(numbers: Int[Tensor, "*shape"]) -> Integer[Tensor, "*shape"]:
    """Whole numbers from -1, plus 1, in the smallest type that holds them; `.int() - 1` undoes."""
    largest = int(numbers.max()) + 1 if numbers.numel() else 0
    fits = torch.uint8 if largest < 2**8 else torch.uint16 if largest < 2**16 else torch.int32
    return (numbers + 1).to(fits)


def expect_fields(path: Path, what: str, card: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Raise `DamagedError` for a field of the card that is missing or of another type."""
    for name, kind in kinds.items():
        if not isinstance(card.get(name), kind):
            raise damaged(path, what, name, getattr(kind, "__name__", kind), card.get(name))


def damaged(path: Path, what: str, field: str, expected: object, found: object) -> DamagedError:
    """What is wrong with a file, in the words of all of them."""
    return DamagedError(
        f"{path}: field {field}: expected {expected}, found {found}; make the {what} again"
    )


def checksum(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """XXH3-128 over both, against mix-ups and damage."""
    state = xxhash.xxh3_128(json.dumps(card, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        state.update(f"|{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        state.update(value.flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()

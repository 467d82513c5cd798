"""Toy models in a folder or a file, ours and other people's."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from workbench.cache.files import write_whole
from workbench.errors import InputError

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "card.json"
NAMES = {"weight": "weight", "bias": "bias"}


@dataclass(frozen=True)
class Toys:
    """ReLU output models of one size: x' = ReLU(W^T W x + b)."""

    weight: Float[Tensor, "instance m n"]
    bias: Float[Tensor, "instance n"]


def save_tensors(
    folder: Path,
    tensors: Mapping[str, Tensor],
    card: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights by name, their shapes, and a card."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: one.detach().to("cpu", dtype).contiguous() for name, one in tensors.items()}
    shapes = {name: list(one.shape) for name, one in plain.items()}
    write_whole(folder / WEIGHTS, safetensors.torch.save(plain))
    for name, content in ((CONFIG, shapes), (CARD, dict(card))):
        write_whole(folder / name, (json.dumps(content, indent=1) + "\n").encode())


def toy_from(
    path: Path | str,
    *,
    names: Mapping[str, str] = NAMES,
    features: int | None = None,
    hidden: int | None = None,
) -> Toys:
    """Toy models from a safetensors file, or a folder that holds `model.safetensors`.

    `names` says what a file calls `weight` and `bias` (without a bias there is none: zeros). The
    weight may be [m, n] or [n, m], with or without an axis of instances in front; which of the two
    is told by the bias, by `features` or `hidden`, else by there being more features than
    dimensions. Raises `InputError` for a tensor that is missing or does not fit, with its name,
    the shape found and the shape expected.
    """
    path = Path(path).expanduser()
    file = path / WEIGHTS if path.is_dir() else path
    if unknown := [name for name in names if name not in NAMES]:
        raise InputError(f"names maps {', '.join(unknown)}; it can map {' and '.join(NAMES)}")
    tensors = _read(file)
    called = {**NAMES, **names}
    if called["weight"] not in tensors:
        raise InputError(
            f"{file} has no tensor {called['weight']!r}; it has {', '.join(sorted(tensors))}: "
            "give names={'weight': ..., 'bias': ...}"
        )
    weight = tensors[called["weight"]].float()
    bias = tensors.get(called["bias"])
    n = features if features is not None else None if bias is None else bias.shape[-1]
    weight = _upright(called["weight"], weight, n, hidden)
    instances, _, n = weight.shape
    if bias is None:
        return Toys(weight, torch.zeros(instances, n))
    if bias.shape not in ((n,), (instances, n)):
        raise _misfit(called["bias"], bias, f"({instances}, {n}) or ({n},)")
    return Toys(weight, bias.float().expand(instances, n).contiguous())


def _upright(name: str, weight: Tensor, n: int | None, m: int | None) -> Tensor:
    """As [instance m n]."""
    expected = f"[m, n] or [n, m] with n = {n or 'features'}, m = {m or 'dimensions'}"
    if weight.ndim not in (2, 3) or 0 in weight.shape:
        raise _misfit(name, weight, f"{expected}, with or without instances in front")
    stacked = weight if weight.ndim == 3 else weight[None]
    sides = stacked.shape[1:]
    for found, turned in ((sides, stacked), (sides[::-1], stacked.mT)):
        told = (m is None or found[0] == m) and (n is None or found[1] == n)
        if told and (m is not None or n is not None or found[0] <= found[1]):
            return turned.contiguous()
    raise _misfit(name, weight, expected)


def _misfit(name: str, tensor: Tensor, expected: str) -> InputError:
    return InputError(
        f"tensor {name!r} has shape {tuple(tensor.shape)}, expected {expected}; this checkpoint "
        "is of no ReLU output model of that size"
    )


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise InputError(f"there is no checkpoint at {file}; give a safetensors file or its folder")
    try:
        found = safetensors.torch.load_file(file)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file} is no safetensors file ({error}); give one") from error
    if broken := [name for name, value in found.items() if not value.isfinite().all()]:
        raise InputError(f"{file}: {', '.join(broken)} has values that are no numbers (NaN, inf)")
    return found

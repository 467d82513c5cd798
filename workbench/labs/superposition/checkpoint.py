"""Toy models in a folder or a file, ours and other people's."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor

from workbench.cache.files import write_whole
from workbench.errors import InputError
from workbench.home import typed
from workbench.labs.tensors import read_tensors

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
    names: Mapping[str, str] | None = None,
    features: int | None = None,
    hidden: int | None = None,
) -> Toys:
    """Toy models from a safetensors file, or a folder that holds `model.safetensors`.

    `names` says what a file calls `weight` and `bias`; one without any bias has zeros for it, and
    nothing may be left over. The weight may be [m, n] or [n, m], with or without an axis of
    instances in front; which of the two is told by the bias, by `features` or `hidden`, else by
    there being more features than dimensions. Raises `InputError` for a tensor that is missing,
    left over or does not fit, with its name, the shape found and the shape expected.
    """
    path = typed(path)
    file = path / WEIGHTS if path.is_dir() else path
    names = names or {}
    if unknown := [name for name in names if name not in NAMES]:
        raise InputError(f"names maps {', '.join(unknown)}; it can map {' and '.join(NAMES)}")
    tensors = read_tensors(file)
    called = {**NAMES, **names}
    _expect_names(file, tensors, called, ("weight", *(("bias",) if "bias" in names else ())))
    weight, bias = tensors[called["weight"]], tensors.get(called["bias"])
    weight = _upright(called["weight"], weight, _features(weight, bias, features), hidden)
    instances, _, n = weight.shape
    if bias is None:
        return Toys(weight, torch.zeros(instances, n))
    if bias.shape not in ((n,), (instances, n)):
        raise _misfit(called["bias"], bias, f"({instances}, {n}) or ({n},)")
    return Toys(weight, bias.expand(instances, n).contiguous())


def _expect_names(
    file: Path, tensors: Mapping[str, Tensor], called: Mapping[str, str], needed: Sequence[str]
) -> None:
    """A bias that was named and is not there would be zeros that nobody asked for."""
    hint = "give names={'weight': ..., 'bias': ...}"
    for one in needed:
        if called[one] not in tensors:
            has = ", ".join(sorted(tensors)) or "none"
            raise InputError(f"{file} has no tensor {called[one]!r}; it has {has}: {hint}")
    if left := sorted(set(tensors) - set(called.values())):
        raise InputError(f"{file} holds {', '.join(left)}, which nothing asked for: {hint}")


def _features(weight: Tensor, bias: Tensor | None, told: int | None) -> int | None:
    """As told, else by the bias where it fits a side of the weight."""
    if told is not None or bias is None or not bias.ndim:
        return told
    return bias.shape[-1] if bias.shape[-1] in weight.shape[-2:] else None


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

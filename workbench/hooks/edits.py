"""Edits: changes of the activation at a site, checked when they are made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from workbench.errors import InputError
from workbench.hooks.padding import fill_padding
from workbench.sites import Site


@dataclass(frozen=True)
class Edit:
    """A change of the activation at one site, or at one head of it.

    `function` gets the activation (its own copy, so it may write in place) and returns one of
    the same shape, dtype and device. At `L5H1.z` it gets and returns head 1 alone, the head
    axis dropped.
    """

    site: Site | str
    function: Callable[[Tensor], Tensor]


def edited(
    place: Site, edit: Edit, tensor: Tensor, real: Bool[Tensor, "batch pos"] | None
) -> tuple[Tensor, float]:
    """The tensor of the whole site with one edit made at `place`, and how far it moved.

    How far is counted on `real` positions alone.
    """
    axis = place.kind.head_axis
    part = tensor if place.head is None else tensor.select(axis or 0, place.head)
    new = edit.function(part.clone())
    _check_edit(place, part, new)
    change = _change(new.detach(), part.detach())
    change = fill_padding(change, place, real, 0.0)
    moved = float(torch.linalg.vector_norm(change, dtype=torch.float32))
    if place.head is None:
        return new, moved
    whole = tensor.clone()
    whole.select(axis or 0, place.head).copy_(new)
    return whole, moved


def _change(new: Tensor, old: Tensor) -> Tensor:
    """What moved; scores masked before and after have not."""
    least = torch.finfo(old.dtype).min  # the mask's value: this or -inf
    return (new - old).masked_fill((new <= least) & (old <= least), 0)


def _check_edit(place: Site, old: Tensor, new: Any) -> None:
    if not isinstance(new, Tensor):
        raise InputError(
            f"the edit at {place} returned {type(new).__name__}; it must return the new tensor"
        )
    for what in ("shape", "dtype", "device"):
        given, expected = getattr(new, what), getattr(old, what)
        if given != expected:
            given, expected = (tuple(x) if what == "shape" else x for x in (given, expected))
            raise InputError(f"the edit at {place} returned {what} {given}; expected {expected}")

"""Which part of a site an edit changes: positions of the prompt, units of the last axis.

An edit's function has no state and sees tensors alone, so one that is generated with is handed
the prompt first and then each new token, `[batch, 1, ...]`. What is at a single position is
therefore taken as a new token.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from workbench.errors import InputError
from workbench.sites import KINDS, Kind, Site

Positions = int | Sequence[int] | Bool[Tensor, "batch pos"] | Literal["new"] | None
"""Where an edit acts.

None is every position, of the prompt and of what is generated after it. Whole numbers are
columns of the prompt, negative ones counted from its end, and a mask `[batch, pos]` is True where
the edit acts; both leave new tokens as they are. "new" is new tokens alone.

A prompt of one token looks like a new token: numbers leave it as it is, "new" changes it; None
and a mask `[batch, 1]` change it and all that follow. In a padded batch columns are not positions
of the prompts: take `within`.
"""

_ALLOWED = (
    "should be whole numbers (at least one), a mask [batch, pos], 'new' for new tokens, or None "
    "for all"
)


@dataclass(frozen=True, eq=False)
class Part:
    """The part of a site's tensor that an edit changes."""

    site: Site | str
    positions: tuple[int, ...] | Tensor | Literal["new"] | None
    units: tuple[int, ...] | None
    axis: int
    """The axis of positions (a pattern's: of queries) in what the edit's function gets."""

    def put(self, old: Tensor, new: Tensor) -> Tensor:
        """`old`, with `new` where the edit acts; what `new` holds elsewhere does not matter."""
        here = self.chosen(old)
        return new if here is None else torch.where(here, new, old)

    def chosen(self, tensor: Tensor) -> Bool[Tensor, "..."] | None:
        """A mask that broadcasts against `tensor`, None for all of it."""
        parts = [
            part for part in (self._positions(tensor), self._units(tensor)) if part is not None
        ]
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else parts[0] & parts[1]

    def _positions(self, tensor: Tensor) -> Bool[Tensor, "..."] | None:
        if self.positions is None:
            return None
        length = tensor.shape[self.axis]
        if isinstance(self.positions, Tensor):
            rows = _mask(self.positions, len(tensor), length, self.site)
        else:
            rows = torch.zeros(1, length, dtype=torch.bool)
            if self.positions == "new":
                rows[:] = length == 1
            elif length > 1:
                rows[:, _inside(self.positions, length, self.site)] = True
        shape = [len(rows), *([1] * (tensor.ndim - 1))]
        shape[self.axis] = length
        return rows.reshape(shape).to(tensor.device)

    def _units(self, tensor: Tensor) -> Bool[Tensor, "..."] | None:
        if self.units is None:
            return None
        width = tensor.shape[-1]
        if outside := [unit for unit in self.units if not 0 <= unit < width]:
            raise InputError(
                f"unit {outside[0]} is outside {self.site}, whose units are 0 to {width - 1}"
            )
        chosen = torch.zeros(width, dtype=torch.bool, device=tensor.device)
        chosen[list(self.units)] = True
        return chosen


def part(site: Site | str, positions: Positions, units: Sequence[int] | None) -> Part:
    """The part that the arguments of an intervention name.

    Raises `InputError` for no position or unit at all, positions that are no whole numbers, and
    a glob of sites whose positions lie along different axes.
    """
    if units is not None and not (units := tuple(units)):
        raise InputError("no unit is named; give at least one, or leave them out for all")
    return Part(site, _whole(positions), units, 1 if positions is None else _axis(site))


def within(
    mask: Bool[Tensor, "batch pos"], positions: int | Sequence[int]
) -> Bool[Tensor, "batch pos"]:
    """A mask of the positions counted in each prompt of a padded batch, from its own ends.

    `mask` is True on real tokens. Raises `InputError` for a position that a prompt lacks.
    """
    wanted = (positions,) if isinstance(positions, int) else tuple(positions)
    chosen = torch.zeros_like(mask)
    for row, real in enumerate(mask):
        columns = real.nonzero().flatten()
        chosen[row, columns[_inside(wanted, len(columns), f"row {row}")]] = True
    return chosen


def _whole(positions: Positions) -> tuple[int, ...] | Tensor | Literal["new"] | None:
    if positions is None or isinstance(positions, str):
        if positions in (None, "new"):
            return positions
        raise InputError(f"positions {positions!r} {_ALLOWED}")
    if isinstance(positions, Tensor):
        if positions.dtype != torch.bool or positions.ndim != 2:
            raise InputError(
                f"positions as a tensor are a mask, torch.bool [batch, pos]; given "
                f"{positions.dtype} {tuple(positions.shape)}"
            )
        return positions
    wanted = (positions,) if isinstance(positions, int) else tuple(positions)
    if not wanted or not all(type(one) is int for one in wanted):
        raise InputError(f"positions {positions!r} {_ALLOWED}")
    return wanted


def _mask(mask: Tensor, n_rows: int, length: int, site: Site | str) -> Bool[Tensor, "batch pos"]:
    if tuple(mask.shape) == (n_rows, length):
        return mask
    if length == 1 and len(mask) == n_rows:  # a new token
        return mask.new_zeros(n_rows, 1)
    raise InputError(
        f"positions at {site} are a mask of shape {tuple(mask.shape)}; these prompts need "
        f"{(n_rows, length)}"
    )


def _inside(positions: Sequence[int], length: int, where: Site | str) -> list[int]:
    if outside := [at for at in positions if not -length <= at < length]:
        raise InputError(
            f"position {outside[0]} at {where} is outside the prompt of {length} tokens; give "
            f"{-length} to {length - 1}"
        )
    return [at % length for at in positions]


def _axis(site: Site | str) -> int:
    """The axis of positions in the tensor of a site, or of the head that it names."""
    axes = {
        kind.position_axes[0] - (headed and _before(kind)) for kind, headed in _kinds_named(site)
    }
    if len(axes) > 1:
        raise InputError(
            f"{str(site)!r} names sites of several shapes; with positions, give an edit for each "
            "name, such as *.resid_post"
        )
    return axes.pop() if axes else 1  # none: a typo, which the run tells


def _before(kind: Kind) -> bool:
    return kind.head_axis is not None and kind.head_axis < kind.position_axes[0]


def _kinds_named(site: Site | str) -> list[tuple[Kind, bool]]:
    """The kinds of site that a request can name, and whether it names a head."""
    if isinstance(site, str) and not re.search(r"[*?\[]|\d-\d", site):
        site = Site.parse(site)
    if isinstance(site, Site):
        return [(site.kind, site.head is not None)]
    last = site.rpartition(".")[2]
    return [
        (kind, False)
        for kind in KINDS.values()
        if fnmatchcase(kind.name, last) or fnmatchcase(kind.long.rpartition(".")[2], last)
    ]

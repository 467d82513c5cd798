"""Which positions of each pair are patched."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from workbench.errors import InputError
from workbench.tasks import Pairs

Places = Literal["each", "all"] | Sequence[str | int]


def positions_of(pairs: Pairs, places: Places) -> tuple[tuple[str, ...], Int[Tensor, "pair place"]]:
    """Names of the places, and each pair's position there; -1 for all positions together."""
    if isinstance(places, str):
        if places not in ("each", "all"):
            raise InputError(f"places {places!r} are not one of each, all, or a list of places")
        if places == "all":
            return ("all",), torch.full((len(pairs), 1), -1)
        if len(pairs.by_length) > 1:
            raise InputError(
                f"prompts of {', '.join(map(str, pairs.by_length))} tokens have no positions in "
                f"common; name places, such as {', '.join(pairs.places)}, or patch all together"
            )
        length = next(iter(pairs.by_length))
        return tuple(map(str, range(length))), torch.arange(length).repeat(len(pairs), 1)
    if not places:
        raise InputError("no place is named; give at least one, or each, or all")
    positions = torch.tensor([[pair.at(place) for place in places] for pair in pairs])
    return tuple(map(str, places)), positions

"""What an exact sweep runs, told before it is run."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from workbench.models import Model
from workbench.patching.places import Places, positions_of
from workbench.patching.rows import rows_of
from workbench.patching.variants import variant_of
from workbench.tasks import Pairs


@dataclass(frozen=True)
class Cost:
    """Patched runs, and the tokens that they compute at the least."""

    runs: int
    tokens: int


def cost(
    model: Model,
    pairs: Pairs,
    site: str,
    *,
    places: Places = "each",
    layers: Sequence[int] | None = None,
    components: Sequence[int] | None = None,
) -> Cost:
    """Of `sweep` with the same arguments, its metric at the end. Raises `InputError` as it does."""
    patched = variant_of(model, site, layers, components)
    _, positions = positions_of(pairs, places)
    runs = tokens = 0
    for length, index in pairs.by_length.items():
        rows = rows_of(
            positions[index],
            torch.tensor([pairs.rows[i].first for i in index]),
            torch.full((len(index),), length - 1),
            len(patched.layers),
            len(patched.components),
        )
        runs += len(rows)
        tokens += int((length - rows.start).sum())
    return Cost(runs, tokens)

"""One patched run is a row; rows go through the model together and join it at their layers.

What stands before a patch is not changed by it, so a row is computed from its first changed
position on, with the base run's keys and values for what came before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

_WASTE = 0.25  # of a forward's tokens: earlier positions than a row needs, to join a larger batch
_ENOUGH = 128  # tokens from which on a forward is not made larger at the price of waste


@dataclass(frozen=True)
class Rows:
    """Patched runs: of pair `pair`, at layer number `layer`, place number `place` (position
    `position`, -1 for all) and component number `component`; `start` is the first position that
    can change."""

    layer: Int[Tensor, " row"]
    pair: Int[Tensor, " row"]
    place: Int[Tensor, " row"]
    component: Int[Tensor, " row"]
    position: Int[Tensor, " row"]
    start: Int[Tensor, " row"]

    def __len__(self) -> int:
        return len(self.pair)

    def of(self, index: Tensor | slice) -> "Rows":
        """Some of them."""
        return Rows(*(getattr(self, name)[index] for name in vars(self)))


def rows_of(
    positions: Int[Tensor, "pair place"],
    first: Int[Tensor, " pair"],
    last: Int[Tensor, " pair"] | None,
    n_layers: int,
    n_components: int,
) -> Rows:
    """A row for every layer, pair, place and component that can change the metric.

    Before position `first` the two prompts of a pair are alike, and so is what is patched there;
    what comes after `last`, where the metric is taken, does not reach it.
    """
    n_pairs, n_places = positions.shape
    sizes = (n_layers, n_pairs, n_places, n_components)
    grid = torch.meshgrid(*map(torch.arange, sizes), indexing="ij")
    layer, pair, place, component = (axis.flatten() for axis in grid)
    position = positions[pair, place]
    start = torch.where(position < 0, first[pair], position)
    kept = start >= first[pair]
    if last is not None:
        kept &= start <= last[pair]
    order = start[kept].argsort(stable=True)
    return Rows(*(x[kept][order] for x in (layer, pair, place, component, position, start)))


def batches(rows: Rows, length: int, most: int, *, reuse: bool) -> Iterator[tuple[int, Rows]]:
    """Rows that go together, lowest layer first, with the position they begin at.

    At most `most` tokens at once. `reuse` says whether earlier positions can be left out;
    otherwise all begin at 0.
    """
    starts = rows.start.tolist() if reuse else [0] * len(rows)
    first = 0
    while first < len(starts):
        begin = starts[first]
        width = length - begin
        last, wasted = first + 1, 0
        while last < len(starts) and (last - first + 1) * width <= most:
            wasted += starts[last] - begin
            tokens = (last - first + 1) * width
            if wasted > _WASTE * tokens and tokens > _ENOUGH:
                break
            last += 1
        some = rows.of(slice(first, last))
        yield begin, some.of(some.layer.argsort(stable=True))
        first = last

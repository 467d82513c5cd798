"""The Patching page's map: effects of a sweep, or of an estimate, and the cells of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dashboards.patching_sweeps import EXACT, Asked, Source, is_held, place_of, swept
from dashboards.progress import Progress
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.patching import Interval, Sweep


@dataclass(frozen=True)
class Cell:
    """A row and a column of the map, and what is patched there; `place` is the sweep's name."""

    row: int
    column: int
    layer: int
    place: str
    component: int | None

    @property
    def at(self) -> str | int:
        """The place as `sweep` takes it."""
        return place_of(self.place)


@dataclass(frozen=True)
class PatchingView:
    """Effects `[layer, place]`, or `[layer, component]` at one place, of `found`.

    `exact` is the sweep that an estimate is held against.
    """

    source: Source
    asked: Asked
    method: str
    found: Sweep
    effects: Interval
    exact: Sweep | None
    note: str

    @property
    def by_head(self) -> bool:
        return self.found.components != ("",)

    @property
    def layers(self) -> list[str]:
        return [f"L{layer}" for layer in self.found.layers]

    @cached_property
    def labels(self) -> list[str]:
        """What stands at each place."""
        if self.found.places == ("all",):
            return ["all positions"]
        return self.source.pairs.labels(self.found.places)

    @property
    def columns(self) -> Sequence[str]:
        """What an address calls the columns."""
        return self.found.components if self.by_head else self.found.places

    @property
    def shown(self) -> Sequence[str]:
        """What the map calls them."""
        return self.found.components if self.by_head else self.labels

    @cached_property
    def names(self) -> list[list[str]]:
        """Every cell's hook, and its place."""
        sizes = (len(self.layers), len(self.columns))
        cells = [
            [self._parts(row, column) for column in range(sizes[1])] for row in range(sizes[0])
        ]
        return [
            [
                f"{self.found.name(row, part, long=True)} at {self.labels[place]}"
                for row, part, place in line
            ]
            for line in cells
        ]

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """The map's means, and the ends of their intervals; one pair has none."""
        mean, low, high = map(self.flat, (self.effects.mean, self.effects.low, self.effects.high))
        return (mean, low, high) if len(self.source.pairs) > 1 else (mean, None, None)

    @cached_property
    def exact_mean(self) -> np.ndarray | None:
        """The exact sweep's means beside those of an estimate."""
        return None if self.exact is None else self.flat(self.exact.effects().mean)

    def flat(self, values: Any) -> np.ndarray:
        """`[layer, component, place]` as rows and columns of the map."""
        return (values[:, :, 0] if self.by_head else values[:, 0]).numpy()

    @property
    def what(self) -> str:
        """What the map shows, in words."""
        at = f" at {self.labels[0]}" if self.by_head else ""
        by = "" if self.method == EXACT else f", estimated by {self.method}"
        return f"{self.found.direction} {self.found.site}{at}{by}"

    @property
    def anchors(self) -> str:
        """The metric's mean in both runs, which are 1 and 0 of the effect."""
        clean, corrupted = float(self.found.clean.mean()), float(self.found.corrupted.mean())
        n = len(self.source.pairs)
        what = "1 pair" if n == 1 else f"mean of {n} pairs"
        return (
            f"{self.found.metric} ({what}): clean run {clean:.4f} = effect 1, "
            f"corrupted run {corrupted:.4f} = effect 0"
        )

    @cached_property
    def agreement(self) -> str:
        """How near the estimate comes to the exact sweep: Pearson's r over means of the pairs."""
        from workbench.patching import correlation

        assert self.exact is not None
        try:
            found = correlation(self.exact, self.found, of_means=True)
        except InputError as error:
            return str(error)
        one = len(self.source.pairs) == 1
        interval = "" if one else f" [{found.low:.3f}, {found.high:.3f}]"
        return f"{self.method} against exact: r = {found.r:.3f}{interval}, {found.cells} cells"

    def cell(self, text: str | None) -> Cell:
        """The cell that an address names (L5.end, L5.H1), else the one with the largest effect."""
        if text is None:
            change = np.abs(self.bounds[0] - self.found.nothing)
            row, column = np.unravel_index(int(np.nanargmax(change)), change.shape)
            return self._cell(int(row), int(column))
        layer, _, name = text.partition(".")
        if layer not in self.layers or name not in self.columns:
            raise InputError(
                f"the address asks for cell {text!r}; it should read LAYER.PLACE with "
                f"{self.layers[0]} to {self.layers[-1]} and one of {', '.join(self.columns)}"
            )
        return self._cell(self.layers.index(layer), list(self.columns).index(name))

    def _cell(self, row: int, column: int) -> Cell:
        _, part, place = self._parts(row, column)
        return Cell(
            row,
            column,
            self.found.layers[row],
            self.found.places[place],
            part if self.by_head else None,
        )

    def _parts(self, row: int, column: int) -> tuple[int, int, int]:
        """Layer, component and place, counted in the sweep."""
        return (row, column, 0) if self.by_head else (row, 0, column)


def patching_view(
    source: Source, asked: Asked, method: str, *, compare: bool, progress: Callable[[str], Progress]
) -> PatchingView:
    """Compute the view, or take its sweeps from this process' last ones."""
    started = time.perf_counter()
    known = is_held(source, asked, method)
    found = swept(source, asked, method, progress)
    exact = swept(source, asked, EXACT, progress) if compare and method != EXACT else None
    seconds = time.perf_counter() - started
    return PatchingView(
        source=source,
        asked=asked,
        method=method,
        found=found,
        effects=found.effects(),
        exact=exact,
        note="cached" if known else f"computed, {seconds:.2f} s",
    )

"""What a section of the table measures with: a model opened by everybody, rounds, a clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from benchmarks import ratios
from benchmarks.peers import Trees, open_trees
from benchmarks.ratios import Seconds


@dataclass(frozen=True)
class Bench:
    """One model and how to time it; `quick` asks for sizes that show only that all runs.

    The trees are opened when they are first asked for: not every section needs them.
    """

    name: str
    folder: Path
    rounds: int
    clock: Callable[[], float]
    quick: bool = False

    @cached_property
    def trees(self) -> Trees:
        """Everybody's, in float32."""
        return open_trees(self.folder)

    @cached_property
    def half(self) -> Trees:
        """Everybody's, in bfloat16."""
        return open_trees(self.folder, torch.bfloat16)

    def tokens(self, batch: int, length: int) -> Int[Tensor, "batch pos"]:
        """Random tokens, the same each time."""
        seeded = torch.Generator().manual_seed(0)
        d_vocab = self.trees.ours.architecture.d_vocab
        return torch.randint(1, d_vocab, (batch, length), generator=seeded)

    def race(
        self,
        contestants: Mapping[str, Callable[[], object]],
        *,
        rounds: int | None = None,
        before: Callable[[], object] = lambda: None,
    ) -> Seconds:
        """Their times; see `ratios.race`."""
        return ratios.race(
            contestants, rounds=rounds or self.rounds, clock=self.clock, before=before
        )

"""Activations of a corpus at one site, or at several as one vector, and what is counted of them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from workbench.cache import Harvest, Live
from workbench.corpus import Corpus
from workbench.errors import InputError
from workbench.sites import Site

Source = Harvest | Live
_CONTEXTS, _FEW = 256, 16  # read at a time; and where each row becomes a row of latents


@dataclass(frozen=True, eq=False)
class Joined:
    """Activations of a corpus at one site, or at several as one vector for each token."""

    sources: tuple[Source, ...]

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(source.site for source in self.sources)

    @property
    def site(self) -> Site:
        """The only one. Raises `InputError` where there are several."""
        first, *others = self.sources
        if others:
            raise InputError(f"these are activations of {len(self.sources)} sites; take one")
        return first.site

    @property
    def corpus(self) -> Corpus:
        return self.sources[0].corpus

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(source.shape[2] for source in self.sources)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(contexts, positions, dimensions in all)."""
        return (len(self.corpus), self.corpus.n_ctx, sum(self.widths))

    @property
    def stored(self) -> bool:
        return all(isinstance(source, Harvest) for source in self.sources)

    def contexts(self, first: int, last: int) -> Float[Tensor, "context pos d"]:
        """Contexts `first` to `last` (not included), in float32."""
        return self.joined({one.site: one.contexts(first, last) for one in self.sources})

    def joined(self, found: Mapping[Site, Tensor]) -> Float[Tensor, "*batch d"]:
        """Activations by site as one vector."""
        parts = [found[site].float() for site in self.sites]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def check_site(site: Site) -> None:
    """Raise `InputError` for a site that has no vector for each token."""
    if site.head is not None or not re.fullmatch(r"batch pos d_(model|mlp)", site.kind.axes):
        raise InputError(
            f"{site} has no one vector for each token (its axes are '{site.kind.axes}'); give a "
            "site such as 12.resid_post or 12.mlp_out"
        )


def read_rows(
    rows: Joined, kept: Bool[np.ndarray, "context pos"], contexts: int = _FEW
) -> Iterator[Float[Tensor, "row d"]]:
    """Only the `kept` rows, in order, in float32; contexts without any are not read."""
    for first in range(0, len(kept), contexts):
        mask = kept[first : first + contexts]
        if mask.any():
            yield rows.contexts(first, first + len(mask))[torch.from_numpy(mask)]


def moments(
    rows: Joined, kept: Bool[np.ndarray, "context pos"]
) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """The mean of the `kept` rows, and their variance, by dimension."""
    total = torch.zeros(rows.shape[2], dtype=torch.double)
    squares = torch.zeros_like(total)
    for found in read_rows(rows, kept, _CONTEXTS):
        total += found.sum(0, dtype=torch.double)
        squares += found.square().sum(0, dtype=torch.double)
    mean = total / int(kept.sum())
    return mean.float(), (squares / int(kept.sum()) - mean.square()).float()

"""Where each latent was active in a corpus: every entry kept, by latent, in one file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae.dictionary import SAE
from sae.joined import read_rows
from sae.samples import Samples
from workbench.cache import Progress
from workbench.carded import damaged, expect_fields, read_carded, write_carded
from workbench.errors import misfit

FORMAT = 1
_WHAT = "activity of an SAE"
_CARD = {"corpus": str, "n_rows": int, "n_ctx": int}


@dataclass(frozen=True, eq=False)
class Activity:
    """Entries of latent `i` lie from `offsets[i]` to `offsets[i + 1]`, in the order of the text.

    `places` is `context * n_ctx + pos` in the corpus whose digest is `corpus`; `n_rows` is how
    many rows were looked at. Values are rounded to float16.
    """

    offsets: Int[Tensor, " latents_and_one"]
    places: Int[Tensor, " active"]
    values: Float[Tensor, " active"]
    corpus: str
    n_rows: int
    n_ctx: int

    @property
    def counts(self) -> Int[Tensor, " latent"]:
        """In how many rows each latent was active."""
        return self.offsets.diff()

    def of(self, latent: int) -> tuple[Int[Tensor, " active"], Float[Tensor, " active"]]:
        """Places and values of one latent."""
        here = slice(int(self.offsets[latent]), int(self.offsets[latent + 1]))
        return self.places[here].long(), self.values[here].float()


def activity(sae: SAE, samples: Samples, progress: Progress | None = None) -> Activity:
    """Encode every row of text in a harvest, training and held out: one pass."""
    harvest, kept = samples.harvest, samples.train | samples.held_out
    where = np.flatnonzero(kept.ravel())
    latents, places, values, done = [], [], [], 0
    for rows in read_rows(harvest, kept):
        codes = sae.codes(rows)
        latents.append(codes.latents.int())
        places.append(torch.from_numpy(where[done : done + len(rows)]).int()[codes.rows])
        values.append(codes.values.half())
        done += len(rows)
        if progress is not None:
            progress(done, len(where))
    numbers = torch.cat(latents)
    order = numbers.argsort(stable=True)
    counts = torch.bincount(numbers, minlength=sae.n_latents)
    return Activity(
        offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        places=torch.cat(places)[order],
        values=torch.cat(values)[order],
        corpus=harvest.corpus.digest,
        n_rows=len(where),
        n_ctx=harvest.corpus.n_ctx,
    )


def save_activity(found: Activity, path: Path) -> None:
    """Write one file, whole or not at all."""
    tensors = {name: getattr(found, name) for name in ("offsets", "places", "values")}
    card = {"format": FORMAT, **{name: getattr(found, name) for name in _CARD}}
    write_carded(path, tensors, card, what=_WHAT)


def load_activity(path: Path) -> Activity:
    """Raises `InputError` where there is none, `DamagedError` for one that was changed on disk."""
    card, tensors = read_carded(path, what=_WHAT, fmt=FORMAT)
    expect_fields(path, _WHAT, card, _CARD)
    with misfit(lambda fault: damaged(path, _WHAT, "file", "places and values", fault)):
        made = Activity(**tensors, **{name: card[name] for name in _CARD})
        n, ends = len(made.places), made.offsets.tolist()
        whole = not (made.places.is_floating_point() or made.offsets.is_floating_point())
        if made.places.shape != (n,) or made.values.shape != (n,) or not whole:
            raise ValueError("places are not one for each value")
        if ends[:1] != [0] or ends[-1] != n or ends != sorted(ends):
            raise ValueError("offsets do not lead through the places")
    return made


def each(found: Activity) -> Iterator[tuple[int, Int[Tensor, " active"], Float[Tensor, " active"]]]:
    """Latent by latent: its number, places and values."""
    for latent in range(len(found.offsets) - 1):
        yield latent, *found.of(latent)

"""A dictionary as Edits: one latent ablated, clamped or steered, or all of it spliced in.

Never touched are BOS and attention sinks, on which no dictionary is trained. What an edit leaves
alone it leaves exactly: the dictionary's own error stays in the activation.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae.dictionary import SAE
from sae.samples import SINK
from workbench.errors import InputError
from workbench.hooks import Edit
from workbench.interventions.positions import Part, Positions, part

Rows = Float[Tensor, "row d"]


def clamp(
    sae: SAE, latent: int, value: float, positions: Positions = None, *, bos: bool = True
) -> Edit:
    """Set what a latent says to `value` at every position that may be touched; 0 ablates it.

    `bos` tells that the prompt begins with one. Raises `InputError` for a latent that there is
    not, a value below 0, which no latent says, and for what does not write where it reads.
    """
    _check_place(sae)
    row = _row(sae, latent)
    if not 0 <= value < float("inf"):
        raise InputError(f"a latent cannot say {value:g}; clamp it to 0 or a number above")

    def clamped(rows: Rows) -> Rows:
        return rows + (value - said(sae, rows, latent))[:, None] * row.to(rows)

    return _edit(sae, clamped, positions, bos)


def steer(
    sae: SAE, latent: int, amount: float, positions: Positions = None, *, bos: bool = True
) -> Edit:
    """Add `amount` times a latent's decoder row, whatever the latent says itself.

    Raises `InputError` for a latent that there is not, one that writes at several sites, and an
    amount that is not finite.
    """
    row = _row(sae, latent)
    if not abs(amount) < float("inf"):
        raise InputError(f"an amount of {amount:g} is not finite; give one such as 4")
    return _edit(sae, lambda rows: rows + amount * row.to(rows), positions, bos)


def splice(sae: SAE, positions: Positions = None, *, error: bool = False, bos: bool = True) -> Edit:
    """Put the reconstruction in the activation's place.

    With `error`, what it misses is added again: the run is the clean one, to rounding. Raises
    `InputError` for what does not write where it reads.
    """
    _check_place(sae)

    def spliced(rows: Rows) -> Rows:
        made = sae(rows)
        return made + (rows - made) if error else made

    return _edit(sae, spliced, positions, bos)


def said(sae: SAE, rows: Rows, latent: int) -> Float[Tensor, " row"]:
    """What one latent says at each row."""
    codes = sae.codes(rows)
    here = codes.latents == latent
    return rows.new_zeros(len(rows)).index_put((codes.rows[here],), codes.values[here])


def readable(found: Float[Tensor, "batch pos d"], *, bos: bool) -> Bool[Tensor, "batch pos"]:
    """The rows that a dictionary is asked about: neither BOS nor attention sinks.

    A sink is longer than four times the median of the rows beside it. What stands alone is a new
    token.
    """
    norms = found.float().norm(dim=-1)
    first = int(bos and norms.shape[1] > 1)
    here = norms <= SINK * norms[:, first:].median()
    here[:, :first] = False
    return here


def random_row(sae: SAE, latent: int, *, seed: int = 0) -> SAE:
    """A control: the same dictionary, but the latent writes along a direction drawn at random."""
    drawn = torch.randn(len(sae.b_dec), generator=torch.Generator().manual_seed(seed))
    W_dec = sae.W_dec.clone()
    W_dec[latent] = (drawn * sae.W_dec[latent].norm().cpu() / drawn.norm()).to(W_dec)
    return replace(sae, W_dec=W_dec)


def _row(sae: SAE, latent: int) -> Float[Tensor, " d"]:
    sae.direction(latent)  # refuses one that there is not
    return sae.W_dec[latent]


def _check_place(sae: SAE) -> None:
    if sae.out is not None or sae.others:
        raise InputError(
            f"{sae.name} does not write where it reads; steer by a latent, or give an SAE of one "
            "site"
        )


def _edit(sae: SAE, new: Callable[[Rows], Rows], positions: Positions, bos: bool) -> Edit:
    site = sae.writes[0]
    return Edit(site, partial(_changed, sae, part(site, positions, None), bos, new))


def _changed(
    sae: SAE, where: Part, bos: bool, new: Callable[[Rows], Rows], tensor: Tensor
) -> Tensor:
    here = readable(tensor, bos=bos)
    if (chosen := where.chosen(tensor)) is not None:
        here = here & chosen.squeeze(-1)
    if bool(here.any()):
        # In float32 and on the dictionary's device; rounded once.
        tensor[here] = new(tensor[here].to(sae.W_dec)).to(tensor)
    return tensor

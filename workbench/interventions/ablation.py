"""Ablation without a reference: zero, and the activations of another prompt."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from workbench.errors import InputError
from workbench.hooks import Edit
from workbench.interventions.positions import Part, Positions, part
from workbench.sites import Site


def zero(
    site: Site | str, positions: Positions = None, *, units: Sequence[int] | None = None
) -> Edit:
    """Set a site, a head of it (`L5H1.z`) or all sites of a glob to zero.

    `units` are indices of the last axis: neurons of `mlp_post`. Zero is seldom where a model has
    been; `mean` and `resample` keep it nearer to its own states (Wang et al. 2022).
    """
    return Edit(site, partial(_zeroed, part(site, positions, units)))


def resample(
    site: Site | str,
    donor: Tensor,
    positions: Positions = None,
    *,
    units: Sequence[int] | None = None,
) -> Edit:
    """Put in the activations of other prompts, row by row (Chan et al. 2022: resampling ablation).

    `donor` is what a run of as many prompts with as many tokens read at `site`; for several sites,
    `[resample(s, t) for s, t in ran.activations.items()]`. New tokens stay as they are. Raises
    `InputError`, in the run, for a donor of another shape and for one that is NaN where it is
    put in: in padded batches, `positions` say which are real.
    """
    return Edit(site, partial(_replaced, part(site, positions, units), _axis(site), donor))


def _axis(site: Site | str) -> int:
    """The axis along which a donor's positions run: also known where all are put in."""
    return part(site, -1, None).axis


def _zeroed(where: Part, tensor: Tensor) -> Tensor:
    # Masked scores stay masked: at 0 a query would look at later tokens.
    masked = tensor <= torch.finfo(tensor.dtype).min
    return where.put(tensor, torch.where(masked, tensor, 0))


def _replaced(where: Part, axis: int, donor: Tensor, tensor: Tensor) -> Tensor:
    if tensor.shape[axis] == 1 != donor.shape[axis] and len(donor) == len(tensor):
        return tensor  # a new token: the donor speaks of the prompt
    if donor.shape != tensor.shape:
        raise InputError(
            f"the donor at {where.site} has shape {tuple(donor.shape)}; the activation there has "
            f"{tuple(tensor.shape)}: give as many prompts, with as many tokens"
        )
    new = where.put(tensor, donor.to(tensor))
    if bool((new.isnan() & ~tensor.isnan()).any()):
        raise InputError(
            f"the donor at {where.site} is NaN where it is put in; if its prompts are padded, "
            "give their mask as positions"
        )
    return new

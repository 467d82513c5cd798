"""Steering: a direction added to a site, so many units long."""

import math
from functools import partial

from jaxtyping import Float
from torch import Tensor

from workbench.cache import Store
from workbench.corpus import Corpus
from workbench.directions import Direction, Prompts
from workbench.errors import InputError
from workbench.hooks import Edit, sites
from workbench.interventions.means import reference_rows
from workbench.interventions.positions import Part, Positions, part
from workbench.models import Model
from workbench.sites import Site, expand


def add(
    direction: Direction,
    strength: float,
    positions: Positions = None,
    *,
    scale: float = 1.0,
    site: Site | str | None = None,
) -> Edit:
    """Add `strength * scale` times the unit vector, at the direction's site or at others.

    Absolute by default: strength 4 moves each position by a length of 4. With
    `scale=mean_norm(...)` strengths are in units of the activations' own length, with
    `scale=direction.norm` in units of the difference that the direction was made from. Strength 0
    hands the activation on as it is. Raises `InputError` for a number that is not finite and, in
    the run, for a site of another width.
    """
    if not (math.isfinite(strength) and math.isfinite(scale)):
        raise InputError(
            f"strength {strength:g} (scale {scale:g}) is not a finite number; give one such as 4"
        )
    where = part(direction.site if site is None else site, positions, None)
    return Edit(where.site, partial(_added, where, direction, strength * scale))


def mean_norm(
    model: Model, site: Site | str, reference: Corpus | Prompts, *, store: Store | None = None
) -> float:
    """The mean length of the activations at a site over a reference, for `scale` of `add`.

    Over all positions but BOS put in by packing or in front of a prompt, which in many models is
    far longer than all others.
    """
    place, *others = expand(site, sites(model))
    if others or len(place.kind.position_axes) > 1:
        raise InputError(f"{str(site)!r} has no single length; name one site, such as 3.resid_post")
    total, rows = 0.0, 0
    for found, counted in reference_rows(model, (place,), reference, store=store):
        norms: Float[Tensor, " row"] = found[place][counted].float().flatten(1).norm(dim=1)
        total, rows = total + float(norms.sum()), rows + len(norms)
    if rows == 0:
        raise InputError("the reference holds no token but BOS; give text to measure on")
    return total / rows


def _added(where: Part, direction: Direction, length: float, tensor: Tensor) -> Tensor:
    width = tensor.shape[-1]
    if len(direction.unit) != width:
        raise InputError(
            f"direction {direction.name!r} has {len(direction.unit)} values; the activation at "
            f"{where.site} has {width}: steer at a site of the direction's width"
        )
    if length == 0:
        return where.put(tensor, tensor)  # positions are checked at any strength
    # In float32 up to the sum, so that a half-precision model rounds once.
    return where.put(
        tensor, (tensor.float() + length * direction.unit.to(tensor.device)).to(tensor.dtype)
    )

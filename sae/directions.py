"""A latent as a direction, by name: `workbench steer --direction sae:NAME/123`."""

from dataclasses import replace
from pathlib import Path

from sae.atlas import atlas_of
from sae.saved import load_sae
from workbench.directions import Direction
from workbench.errors import InputError
from workbench.models import Model


def direction(name: str, model: Model) -> Direction:
    """What a latent writes; NAME/123 is latent 123 of a shipped SAE, one of the home, or a folder.

    Its norm is the latent's largest activation where the SAE has an atlas, so that a strength of 1
    is as much as the latent ever said; else the length of its decoder row. Raises `InputError` for
    another form, for no such SAE or latent, and for an SAE of another model.
    """
    which, _, number = name.rpartition("/")
    if not which or not number.isdecimal():
        raise InputError(f"sae:{name} should read sae:NAME/123, an SAE and the number of a latent")
    latent = int(number)
    row = load_sae(which, model).direction(latent, model)
    row = replace(row, name=f"{Path(which).name}/{latent}")
    atlas = atlas_of(which)
    if atlas is None or not atlas.largest[latent]:
        return row
    return replace(
        row,
        norm=row.norm * float(atlas.largest[latent]),
        made=f"{row.made}, times its largest activation",
    )

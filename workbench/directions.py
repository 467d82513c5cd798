"""A direction: a named unit vector at a site, made from prompts or given, kept in one file.

From prompts it is a difference of means: Turner et al. (2023, arXiv:2308.10248) take two prompts,
Rimsky et al. (2023, arXiv:2312.06681) two sets. A file is safetensors; its metadata is the card.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from workbench.cache import Capture, Progress, Store, capture
from workbench.carded import damaged, expect_fields, read_carded, write_carded
from workbench.errors import InputError
from workbench.hooks import sites
from workbench.models import Model, Tokens, pad
from workbench.sites import Request, Site, expand

FORMAT = 2
Prompts = str | Tokens | Sequence[str | Tokens]


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector at a site; `norm` is how long it was as made, `made` says how, in words.

    `model` is the name and identity of the model that it was made in, None for a direction that
    goes with every model of its width.
    """

    name: str
    site: Site
    unit: Float[Tensor, " d"]
    norm: float
    made: str
    model: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def vector(self) -> Float[Tensor, " d"]:
        """The direction as long as it was made."""
        return self.norm * self.unit


def from_tensor(
    vector: Float[Tensor, "..."], site: Site | str, *, name: str, made: str, model: Model | None
) -> Direction:
    """A probe's column, a latent's decoder row or any other vector, as a direction at `site`.

    With `model`, it is that model's and refused by others. Raises `InputError` for what is no
    vector, for one with no length or with values that are not finite, and (with `model`) for
    another width than the site's.
    """
    place = Site.parse(site) if isinstance(site, str) else site
    if vector.ndim != 1:
        heads = "; name one head, such as L5H1.z" if place.kind.head_axis is not None else ""
        raise InputError(
            f"a direction is one vector; at {place} this has shape {tuple(vector.shape)}{heads}"
        )
    exact = vector.detach().double().cpu()
    norm = float(exact.norm())
    if not math.isfinite(norm) or norm == 0:
        what = "no length: all values are 0" if norm == 0 else "values that are not finite"
        raise InputError(f"direction {name!r} has {what}; give another vector")
    whose = None if model is None else {"name": model.name, **asdict(model.identity)}
    direction = Direction(name, place, (exact / norm).float(), norm, made, whose)
    if model is not None:
        check_direction(direction, model)
    return direction


def between(
    model: Model,
    wanted: Prompts,
    against: Prompts,
    site: Site | str,
    *,
    position: int | None = -1,
    name: str | None = None,
    bos: bool | None = None,
    store: Store | None = None,
) -> Direction:
    """From the mean over `against` to the mean over `wanted`: the difference of means.

    `position` counts in each prompt (default: its last token); None takes all positions, each
    counting the same, but for a BOS that was put in front. Raises `InputError` for a name of
    several sites, a position that a prompt lacks, and sets whose means are the same.
    """
    place, *others = expand(site, sites(model))
    if others:
        raise InputError(
            f"a direction lies at one site; {str(site)!r} names {1 + len(others)} ({place}, "
            f"{others[0]}, ...)"
        )
    if len(place.kind.position_axes) > 1:
        raise InputError(f"{place} has no vector at a position; give a site such as 3.resid_post")
    means = [_mean(model, place, prompts, position, bos, store) for prompts in (wanted, against)]
    if not bool((means[0] - means[1]).any()):
        raise InputError(
            f"the two sets of prompts have the same mean at {place}; give prompts that differ "
            "there, or another position"
        )
    told = [_told(prompts) for prompts in (wanted, against)]
    where = "all positions" if position is None else f"position {position}"
    return from_tensor(
        means[0] - means[1],
        place,
        name=name or f"{told[0]} - {told[1]}",
        made=f"mean of {told[0]} minus mean of {told[1]}, at {where}",
        model=model,
    )


def prompt_batches(
    model: Model,
    places: Request | Sequence[Request],
    prompts: Prompts,
    *,
    batch: int = 8,
    bos: bool | None = None,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Capture, Bool[Tensor, "batch pos"], Bool[Tensor, "batch pos"]]]:
    """Activations of prompts, padded on the right: with the mask of real tokens and of rows.

    Rows are the real tokens without a BOS that was put in front: its activations are the same
    before every prompt, and in many models far larger than all others.
    """
    rows = tokenized(model, prompts, bos)
    for first in range(0, len(rows), batch):
        some = rows[first : first + batch]
        padded = pad([row.ids for row in some], device=model.device)
        counted = padded.mask.clone()
        counted[:, 0] &= torch.tensor([not row.bos for row in some], device=model.device)
        mask = None if bool(padded.mask.all()) else padded.mask
        taken = capture(model, padded.ids, places, store, mask=mask)
        yield taken, padded.mask, counted
        if progress is not None:
            progress(first + len(some), len(rows))


def tokenized(model: Model, prompts: Prompts, bos: bool | None = None) -> list[Tokens]:
    """One prompt or several, as tokens. Raises `InputError` for none."""
    given = [prompts] if isinstance(prompts, str | Tokens) else list(prompts)
    if not given:
        raise InputError("no prompt is given; give at least one")
    return [model.tokenize(one, bos=bos) if isinstance(one, str) else one for one in given]


def check_direction(direction: Direction, model: Model) -> None:
    """Raise `InputError` unless the direction is of this model: its site, width and identity."""
    what = f"direction {direction.name!r}"
    check_made_for(model, what, direction.site, len(direction.unit), direction.model)


def check_made_for(
    model: Model,
    what: str,
    site: Site,
    width: int,
    whose: Mapping[str, str] | None,
    *,
    flat: bool = False,
) -> None:
    """Raise `InputError` unless `what` fits `site` of this model.

    `whose` is the name and identity of the model that it was made in, None for any. With `flat`,
    it takes all heads of a site in one row.
    """
    expand(site, sites(model))
    sizes, axis = model.architecture, site.kind.axes.split()[-1]
    expected = {"d_model": sizes.d_model, "d_head": sizes.d_head, "d_vocab": sizes.d_vocab}
    expected["d_mlp"] = sizes.d_mlp
    if flat and site.head is None and site.kind.head_axis is not None:
        expected = {name: size * sites(model)[site] for name, size in expected.items()}
    if expected.get(axis, width) != width:
        raise InputError(
            f"{what} is {width} wide; at {site} this model ({model.name}) is {expected[axis]} wide"
        )
    if whose is None:
        return
    told = "; ".join(
        f"field {name}: this one has {here}, the other {whose.get(name)}"
        for name, here in asdict(model.identity).items()
        if whose.get(name) != here
    )
    if told:
        raise InputError(
            f"{what} is of another model ({whose.get('name')}): {told}; load that model, or make "
            "it again in this one"
        )


def save_direction(direction: Direction, path: Path) -> None:
    """Write a direction into one file, whole or not at all."""
    card = {
        "format": FORMAT,
        "name": direction.name,
        "site": str(direction.site),
        "norm": direction.norm,
        "how": direction.made,
        "model": None if direction.model is None else dict(direction.model),
    }
    write_carded(path, {"unit": direction.unit.float()}, card, what="direction")


_CARD = {"name": str, "site": str, "norm": float, "how": str, "model": dict | None}


def load_direction(path: Path, model: Model | None = None) -> Direction:
    """The direction kept in a file; with `model`, refused where it is of another one.

    Raises `InputError` where there is none, `DamagedError` for a file that was changed on disk.
    """
    card, tensors = read_carded(path, what="direction", fmt=FORMAT)
    expect_fields(path, "direction", card, _CARD)
    unit = tensors.get("unit")
    if unit is None or unit.ndim != 1 or unit.dtype != torch.float32 or not unit.isfinite().all():
        raise damaged(path, "direction", "unit", "a vector of numbers", unit)
    direction = Direction(
        card["name"], Site.parse(card["site"]), unit, card["norm"], card["how"], card.get("model")
    )
    if model is not None:
        check_direction(direction, model)
    return direction


def _mean(
    model: Model,
    place: Site,
    prompts: Prompts,
    position: int | None,
    bos: bool | None,
    store: Store | None,
) -> Float[Tensor, "..."]:
    """The mean over prompts at one position of each, or over all their rows."""
    taken: list[Tensor] = []
    for found, mask, counted in prompt_batches(model, place, prompts, bos=bos, store=store):
        rows = counted if position is None else _at(mask, position)
        taken.append(found[place][rows].double().cpu())
    together = torch.cat(taken)
    if not len(together):
        raise InputError("these prompts hold no token but BOS; write at least one")
    return together.mean(0)


def _at(mask: Bool[Tensor, "batch pos"], position: int) -> Bool[Tensor, "batch pos"]:
    lengths = mask.sum(1)
    shortest = int(lengths.min())
    if not -shortest <= position < shortest:
        raise InputError(
            f"position {position} is outside a prompt of {shortest} tokens; give {-shortest} to "
            f"{shortest - 1}"
        )
    chosen = torch.zeros_like(mask)
    at = lengths + position if position < 0 else torch.full_like(lengths, position)
    return chosen.scatter(1, at[:, None], True)


def _told(prompts: Prompts) -> str:
    given = [prompts] if isinstance(prompts, str | Tokens) else list(prompts)
    texts = [one if isinstance(one, str) else one.text for one in given]
    return repr(texts[0]) if len(texts) == 1 else f"{len(texts)} prompts ({texts[0]!r}, ...)"

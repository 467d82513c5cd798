"""Mean ablation: a site set to its mean over a stated reference, a corpus or prompts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.cache import Progress, Store, stream
from workbench.corpus import PUT_IN, Corpus
from workbench.directions import Prompts, prompt_batches, tokenized
from workbench.errors import InputError
from workbench.hooks import Edit, sites
from workbench.interventions.positions import Part, Positions, part
from workbench.models import Model, positions_of
from workbench.sites import Request, Site, named


@dataclass(frozen=True, eq=False)
class Mean:
    """Edits to the mean, and what it stands on: `rows` positions of `reference`.

    `values` has each site's mean; taken per position, `[pos, ...]`, and `rows_at` says on how
    many rows each stands (0: there is none, its value is 0 and the edit leaves it as it is).
    """

    edits: tuple[Edit, ...]
    values: Mapping[Site, Float[Tensor, "..."]]
    rows: int
    rows_at: Int[Tensor, " pos"] | None
    reference: str


def mean(
    model: Model,
    site: Request | Iterable[Request],
    reference: Corpus | Prompts,
    positions: Positions = None,
    *,
    units: Sequence[int] | None = None,
    per_position: bool = False,
    mask: Bool[Tensor, "batch pos"] | None = None,
    batch: int = 8,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Mean:
    """Set sites or heads to their means over `reference`; `units` are indices of the last axis.

    The mean is over all positions of the reference but for BOS put in by packing or in front of
    a prompt. With `per_position`, each position gets the mean of that position over contexts or
    prompts, counted from their starts; new tokens stay as they are, and where the batch that is
    run is padded, `mask` (True on real tokens) says where its prompts start.

    Prompts may come from `store`; a corpus is streamed and not kept. Raises `InputError` for
    sites without a vector at each position, a reference without rows, means that are not finite
    and, in the run, for a prompt longer than the reference.
    """
    places = named(site, sites(model))
    if pairs := [str(place) for place in places if len(place.kind.position_axes) > 1]:
        raise InputError(
            f"{', '.join(pairs)} has a value for each pair of positions, whose mean over prompts "
            "is no pattern; take the mean of z instead"
        )
    if isinstance(reference, Corpus):
        length = reference.n_ctx
        told = f"{len(reference)} x {length} tokens of {reference.name} ({reference.digest[:8]})"
    else:
        reference = tokenized(model, reference)
        length = max(map(len, reference))
        told = f"{len(reference)} prompts"
    batches = reference_rows(model, places, reference, batch=batch, store=store, progress=progress)
    totals, rows_at = _sums(batches, length)
    rows = int(rows_at.sum())
    if rows == 0:
        raise InputError("the reference holds no token but BOS; give text to take the mean of")
    values = {
        place: (_per_row(total, rows_at) if per_position else total.sum(0) / rows).float()
        for place, total in totals.items()
    }
    if wrong := [str(place) for place, value in values.items() if not value.isfinite().all()]:
        raise InputError(f"the mean at {', '.join(wrong)} is not finite; load the model in float32")
    edits = []
    for place, value in values.items():
        where = part(place, positions, units)
        edit = partial(_at_mean, where, value)
        if per_position:
            edit = partial(_at_own_mean, where, value, rows_at > 0, mask)
        edits.append(Edit(place, edit))
    return Mean(tuple(edits), values, rows, rows_at if per_position else None, told)


def reference_rows(
    model: Model,
    places: Sequence[Site],
    reference: Corpus | Prompts,
    *,
    batch: int = 8,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Mapping[Site, Tensor], Bool[Tensor, "batch pos"]]]:
    """Batches of a reference's activations, and a mask of the positions that count as rows."""
    if isinstance(reference, Corpus):
        for chunk in stream(model, reference, places, batch=batch, progress=progress):
            owners = torch.from_numpy(
                reference.documents[chunk.contexts.start : chunk.contexts.stop] != PUT_IN
            )
            yield chunk.activations, owners.to(model.device)
        return
    for taken, _, counted in prompt_batches(
        model, places, reference, batch=batch, store=store, progress=progress
    ):
        yield taken.activations, counted


def _sums(
    batches: Iterable[tuple[Mapping[Site, Tensor], Bool[Tensor, "batch pos"]]], length: int
) -> tuple[dict[Site, Float[Tensor, "pos ..."]], Int[Tensor, " pos"]]:
    """Sums over rows at each position, in float64 on the CPU, and how many rows there are."""
    totals: dict[Site, Tensor] = {}
    rows_at = torch.zeros(length, dtype=torch.long)
    for found, counted in batches:
        n = counted.shape[1]
        rows_at[:n] += counted.sum(0).cpu()
        for place, tensor in found.items():
            tensor = tensor.float()
            here = counted.view(*counted.shape, *([1] * (tensor.ndim - 2)))
            total = torch.where(here, tensor, 0).sum(0).cpu().double()
            if place not in totals:
                totals[place] = total.new_zeros(length, *total.shape[1:])
            totals[place][:n] += total
    return totals, rows_at


def _per_row(
    total: Float[Tensor, "pos ..."], rows_at: Int[Tensor, " pos"]
) -> Float[Tensor, "pos ..."]:
    return total / rows_at.clamp_min(1).view(-1, *([1] * (total.ndim - 1)))


def _at_mean(where: Part, value: Tensor, tensor: Tensor) -> Tensor:
    return where.put(tensor, value.to(tensor).expand_as(tensor))


def _at_own_mean(
    where: Part,
    value: Float[Tensor, "mean_pos ..."],
    known: Bool[Tensor, " mean_pos"],
    mask: Bool[Tensor, "batch pos"] | None,
    tensor: Tensor,
) -> Tensor:
    n_rows, length = tensor.shape[:2]
    if length == 1 and len(value) > 1:
        return tensor  # a new token
    if mask is not None and tuple(mask.shape) != (n_rows, length):
        raise InputError(
            f"the mask of the mean at {where.site} has shape {tuple(mask.shape)}; these prompts "
            f"need {(n_rows, length)}"
        )
    real = torch.ones(n_rows, length, dtype=torch.bool) if mask is None else mask.cpu()
    own = positions_of(real)
    if int(own.max()) >= len(value):
        raise InputError(
            f"the mean at {where.site} is known for {len(value)} positions, the prompt has "
            f"{int(own.max()) + 1}; take a longer reference, or the mean over all positions"
        )
    here = (known[own] & real).view(n_rows, length, *([1] * (tensor.ndim - 2)))
    new = torch.where(here.to(tensor.device), value[own].to(tensor), tensor)
    return where.put(tensor, new)

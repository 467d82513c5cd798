"""`capture`: activations of clean runs, read through a store; misses come from one forward."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from workbench.cache.keys import Key, keys_of
from workbench.cache.store import Store
from workbench.errors import InputError
from workbench.hooks import check_tokens, of_head, run, sites
from workbench.models import DTYPES, Model, check_mask
from workbench.sites import Request, Site, look_up, named


@dataclass(frozen=True)
class Capture:
    """Activations `[batch, ...]` by site; `cached` of `asked` (prompt, site) pairs were stored."""

    activations: Mapping[Site, Tensor]
    cached: int
    asked: int
    seconds: float

    def __getitem__(self, site: Site | str) -> Tensor:
        return look_up(self.activations, site)

    @property
    def whole(self) -> bool:
        """Whether the model did not have to run."""
        return self.cached == self.asked


def capture(
    model: Model,
    tokens: Int[Tensor, "batch pos"],
    wanted: Request | Iterable[Request],
    store: Store | None = None,
    *,
    mask: Bool[Tensor, "batch all"] | None = None,
    dtype: str | None = None,
) -> Capture:
    """The activations of `tokens` at the sites `wanted`, from `store` where it has them.

    All that is missing comes from one forward pass and is kept, prompt by prompt and without
    its padding. `dtype` (default: the model's) is that of the tensors stored and returned.
    Without a store, nothing is kept. Where prompts are padded, `mask` is True on real tokens;
    what is returned for padded positions is NaN.
    """
    started = time.perf_counter()
    check_tokens(model, tokens)
    if mask is not None:
        check_mask(mask, tokens, 0)
    places = named(wanted, sites(model))
    name = dtype or str(model.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(f"dtype {name!r} is not one of {', '.join(DTYPES)}")
    whole = tuple(dict.fromkeys(site.whole for site in places))
    if store is None:
        ran = run(model, tokens, read=places, mask=mask)
        activations = {site: ran[site].to(DTYPES[name]) for site in places}
        return Capture(activations, 0, len(tokens) * len(whole), time.perf_counter() - started)
    real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask.to(tokens.device)
    rows = [row[here].tolist() for row, here in zip(tokens, real, strict=True)]
    keys = keys_of(model, rows, whole, name)
    found = {place: tensor for place, key in keys.items() if (tensor := store.get(key)) is not None}
    cached = len(found)
    _fill(model, tokens, real, keys, found, store, DTYPES[name], rows)
    activations = {
        site: of_head(
            _together([found[row, site.whole] for row in range(len(rows))], site, real), site
        ).to(model.device)
        for site in places
    }
    return Capture(activations, cached, len(keys), time.perf_counter() - started)


def _fill(
    model: Model,
    tokens: Int[Tensor, "batch pos"],
    real: Bool[Tensor, "batch pos"],
    keys: Mapping[tuple[int, Site], Key],
    found: dict[tuple[int, Site], Tensor],
    store: Store,
    dtype: torch.dtype,
    rows: Sequence[list[int]],
) -> None:
    """Run what is missing, once, and keep it without padding."""
    missing = [place for place in keys if place not in found]
    if not missing:
        return
    lacking = sorted({row for row, _ in missing})
    read = list(dict.fromkeys(site for _, site in missing))
    # No mask where nothing is padded: it would change last bits and cost time.
    mask = None if bool(real.all()) else real[lacking]
    ran = run(model, tokens[lacking], read=read, mask=mask)
    for row, site in missing:
        tensor = ran[site][lacking.index(row)]
        tensor = tensor[_stretch(real[row], site)].to("cpu", dtype)
        store.put(keys[row, site], tensor, ids=rows[row], device=str(model.device))
        found[row, site] = tensor


def _stretch(real: Bool[Tensor, " pos"], site: Site) -> tuple[slice, ...]:
    """The index of one prompt's own positions in its row of a padded tensor."""
    first, length = int(real.int().argmax()), int(real.sum())
    axes = [axis - 1 for axis in site.kind.position_axes]  # within a row: no batch axis
    here = slice(first, first + length)
    return tuple(here if axis in axes else slice(None) for axis in range(max(axes) + 1))


def _together(tensors: Sequence[Tensor], site: Site, real: Bool[Tensor, "batch pos"]) -> Tensor:
    """The prompts' own tensors as one, padded as `real` says: NaN, and 0 for padded keys."""
    if bool(real.all()):
        return torch.stack(list(tensors))
    axes = [axis - 1 for axis in site.kind.position_axes]
    rows = []
    for tensor, here in zip(tensors, real, strict=True):
        shape = [real.shape[1] if axis in axes else n for axis, n in enumerate(tensor.shape)]
        row = tensor.new_full(shape, torch.nan)
        index = _stretch(here, site)
        row[index[: axes[0] + 1]] = 0
        row[index] = tensor
        rows.append(row)
    return torch.stack(rows)

"""`capture`: activations of clean runs, read through a store; misses come from one forward."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from workbench.cache.keys import Key, keys_of
from workbench.cache.store import Store
from workbench.errors import InputError
from workbench.hooks import check_tokens, of_head, run, sites
from workbench.models import DTYPES, Model
from workbench.sites import Request, Site, expand


@dataclass(frozen=True)
class Capture:
    """Activations `[batch, ...]` by site; `cached` of `asked` (prompt, site) pairs were stored."""

    activations: Mapping[Site, Tensor]
    cached: int
    asked: int
    seconds: float

    def __getitem__(self, site: Site | str) -> Tensor:
        return self.activations[Site.parse(site) if isinstance(site, str) else site]

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
    dtype: str | None = None,
) -> Capture:
    """The activations of `tokens` at the sites `wanted`, from `store` where it has them.

    All that is missing comes from one forward pass and is kept, prompt by prompt. `dtype`
    (default: the model's) is that of the tensors stored and returned. Without a store,
    nothing is kept. Rows must be unpadded prompts of one length.
    """
    started = time.perf_counter()
    check_tokens(model, tokens)
    places = expand(wanted, sites(model))
    name = dtype or str(model.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(f"dtype {name!r} is not one of {', '.join(DTYPES)}")
    whole = tuple(dict.fromkeys(site.whole for site in places))
    if store is None:
        ran = run(model, tokens, read=places)
        activations = {site: ran[site].to(DTYPES[name]) for site in places}
        return Capture(activations, 0, len(tokens) * len(whole), time.perf_counter() - started)
    rows = [[int(token) for token in row] for row in tokens]
    keys = keys_of(model, rows, whole, name)
    found = {place: tensor for place, key in keys.items() if (tensor := store.get(key)) is not None}
    cached = len(found)
    _fill(model, tokens, keys, found, store, DTYPES[name], rows)
    activations = {
        site: of_head(torch.stack([found[row, site.whole] for row in range(len(rows))]), site).to(
            model.device
        )
        for site in places
    }
    return Capture(activations, cached, len(keys), time.perf_counter() - started)


def _fill(
    model: Model,
    tokens: Int[Tensor, "batch pos"],
    keys: Mapping[tuple[int, Site], Key],
    found: dict[tuple[int, Site], Tensor],
    store: Store,
    dtype: torch.dtype,
    rows: Sequence[list[int]],
) -> None:
    """Run what is missing, once, and keep it."""
    missing = [place for place in keys if place not in found]
    if not missing:
        return
    lacking = sorted({row for row, _ in missing})
    ran = run(model, tokens[lacking], read=list(dict.fromkeys(site for _, site in missing)))
    for row, site in missing:
        tensor = ran[site][lacking.index(row)].to("cpu", dtype)
        store.put(keys[row, site], tensor, ids=rows[row], device=str(model.device))
        found[row, site] = tensor

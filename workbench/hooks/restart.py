"""A forward that begins at a later layer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from workbench.errors import InputError
from workbench.hooks.padding import fill_padding
from workbench.models import Model, Road
from workbench.sites import Site


@dataclass(frozen=True)
class Start:
    """Begin at block `layer` with `resid` as the residual that flows into it."""

    layer: int
    resid: Float[Tensor, "batch pos d_model"]

    @property
    def site(self) -> Site:
        return Site("resid_pre", self.layer)


def check_starts(starts: Sequence[Start], tokens: Tensor, model: Model) -> None:
    """Raise `InputError` unless the residuals fit the tokens and the model, lowest layer first."""
    layers = [start.layer for start in starts]
    if layers != sorted(set(layers)):
        raise InputError(f"rows start at layers {layers}; give each layer once, the lowest first")
    first = 0
    for start in starts:
        rows = len(start.resid) if len(starts) > 1 else len(tokens)
        _check_start(start, tokens[first : first + rows], model)
        first += rows
    if first != len(tokens):
        raise InputError(f"{first} rows start somewhere, there are {len(tokens)} rows of tokens")


def _check_start(start: Start, tokens: Tensor, model: Model) -> None:
    n_layers = model.architecture.n_layers
    if not 0 <= start.layer < n_layers:
        raise InputError(
            f"cannot start at layer {start.layer}: layers run from 0 to {n_layers - 1}"
        )
    given = (tuple(start.resid.shape), start.resid.dtype, start.resid.device)
    expected = ((*tokens.shape, model.architecture.d_model), model.dtype, model.device)
    wrong = [
        f"{what} {found}, expected {wanted}"
        for what, found, wanted in zip(("shape", "dtype", "device"), given, expected, strict=True)
        if found != wanted
    ]
    if wrong:
        raise InputError(f"the residual to start from has {'; '.join(wrong)}")


def check_above(start: Start, sites: list[Site]) -> None:
    """Raise `InputError` for sites that a forward from `start` never comes to."""
    below = [str(site) for site in sites if site.order < start.site.order]
    if below:
        raise InputError(
            f"{', '.join(below)} lies below the start at layer {start.layer} and is not computed; "
            "start lower or leave it out"
        )


def cleaned(starts: Sequence[Start], real: Bool[Tensor, "batch pos"] | None) -> list[Start]:
    """The starts with 0 for the NaN that a padded capture leaves: attention would carry it on."""
    clean = [Start(one.layer, fill_padding(one.resid, one.site, real, 0.0)) for one in starts]
    if any(bool(start.resid.isnan().any()) for start in clean):
        raise InputError(
            "the residual to start from holds NaN; give the mask of the padded batch it is of"
        )
    return clean


@contextmanager
def started(road: Road, starts: Sequence[Start]) -> Iterator[None]:
    """Blocks below the first start hand their input on; residuals enter, or join, at their layers.

    The model's own forward still makes its masks and rotary tables, so that those are right
    for every family.
    """
    if not starts:
        yield
        return

    def hand_on(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        return road.passing(hidden)

    handles = [
        road.blocks[start.layer].register_forward_pre_hook(
            partial(_enter, start.resid, joins=number > 0), with_kwargs=True
        )
        for number, start in enumerate(starts)
    ]
    try:
        with standing_in(road.blocks[: starts[0].layer], hand_on):
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def standing_in(modules: Sequence[nn.Module], forward: Callable[..., Any]) -> Iterator[None]:
    """Another `forward` for some modules; their own is hidden, not replaced."""
    try:
        for module in modules:
            object.__setattr__(module, "forward", forward)
        yield
    finally:
        for module in modules:
            if "forward" in vars(module):
                object.__delattr__(module, "forward")


def _enter(
    resid: Tensor, module: Any, args: tuple, kwargs: dict[str, Any], *, joins: bool
) -> tuple[tuple, dict[str, Any]]:
    """What a block gets: the residual alone, or below the rows that are there already."""
    before = args[0] if args else next(iter(kwargs.values()))
    given = torch.cat([before, resid]) if joins else resid
    if args:
        return (given, *args[1:]), kwargs
    return args, {**kwargs, next(iter(kwargs)): given}

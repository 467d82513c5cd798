"""One forward pass down a road, with hooks on the modules that the sites name and no others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from jaxtyping import Bool
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from workbench.hooks.edits import Edit, edited
from workbench.models import Point, Road
from workbench.sites import Site


class _Stop(BaseException):
    """Ends a forward from inside; no Exception, so that no library on the way swallows it."""


@dataclass
class State:
    """One run while it goes: what to read and edit, and what has happened."""

    reads: dict[Site, bool]  # whole site -> has fired
    edits: dict[Site, list[tuple[int, Site, Edit]]]
    stop: bool
    moved: list[float]
    real: Bool[Tensor, "batch pos"] | None = None  # None where nothing is padded
    kept: dict[Site, Tensor] = field(default_factory=dict)
    fired: dict[Site, int] = field(default_factory=dict)
    carried: dict[Site, Tensor] = field(default_factory=dict)


def forward(road: Road, state: State, tokens: Tensor, **more: Any) -> tuple[Tensor | None, bool]:
    """The logits, or None where the forward was stopped, and whether it was."""
    with _hooked(road, state):
        try:
            return road.forward(tokens, **more), False
        except _Stop:
            return None, True


@contextmanager
def _hooked(road: Road, state: State) -> Iterator[None]:
    handles: list[RemovableHandle] = []
    try:
        # Carries first: a block's own sites must see the change that was carried to them.
        for site in state.edits:
            if (carry := road.points[site].carry) is not None:
                handles.append(_attach(carry, lambda x, site=site: x + state.carried.pop(site)))
        for site in {**state.reads, **state.edits}:
            handles.append(_attach(road.points[site], lambda x, site=site: _met(state, site, x)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _attach(point: Point, on_tensor: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Call `on_tensor` with the site's tensor; what it returns takes the tensor's place."""
    changed = partial(_changed, point, on_tensor)
    if point.end == "input":
        hook = partial(_on_input, changed)
        return point.module.register_forward_pre_hook(hook, with_kwargs=True)
    return point.module.register_forward_hook(partial(_on_output, changed, point.item))


# Partials, not closures: the tests' shape checks would compile a closure anew at every hook.
def _changed(
    point: Point, on_tensor: Callable[[Tensor], Tensor | None], tensor: Tensor
) -> Tensor | None:
    new = on_tensor(point.to_site(tensor) if point.to_site else tensor)
    return point.from_site(new) if new is not None and point.from_site else new


def _on_output(
    changed: Callable[[Tensor], Tensor | None], item: int, module: Any, args: Any, output: Any
) -> Any:
    if not isinstance(output, tuple):
        return changed(output)
    new = changed(output[item])
    return None if new is None else (*output[:item], new, *output[item + 1 :])


def _on_input(
    changed: Callable[[Tensor], Tensor | None], module: Any, args: tuple, kwargs: dict[str, Any]
) -> Any:
    if args:
        new = changed(args[0])
        return None if new is None else ((new, *args[1:]), kwargs)
    name = next(iter(kwargs))
    new = changed(kwargs[name])
    return None if new is None else (args, {**kwargs, name: new})


def _met(state: State, site: Site, tensor: Tensor) -> Tensor | None:
    """The forward has come to `site`: edit, keep, and stop if nothing more is wanted."""
    state.fired[site] = state.fired.get(site, 0) + 1
    old = tensor
    for number, place, edit in state.edits.get(site, ()):
        tensor, moved = edited(place, edit, tensor, state.real)
        state.moved[number] += moved
    if site in state.edits:
        state.carried[site] = tensor - old
    if site in state.reads:
        state.kept[site] = tensor
        state.reads[site] = True
        if state.stop and all(state.reads.values()):
            raise _Stop
    return tensor if site in state.edits else None

"""Run a model with activations read and edited: the only place where a hook is registered."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from workbench.errors import InputError
from workbench.models import Model, Point, Road
from workbench.sites import Request, Site, expand


@dataclass(frozen=True)
class Edit:
    """A change of the activation at one site, or at one head of it.

    `function` gets the activation (its own copy, so it may write in place) and returns one of
    the same shape, dtype and device. At `L5H1.z` it gets and returns head 1 alone, the head
    axis dropped.
    """

    site: Site | str
    function: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Receipt:
    """What happened: the road taken, how often each site fired, how far each edit moved it.

    `moved[i]` is the Frobenius norm of the change that the i-th edit made.
    """

    road: str
    fired: Mapping[Site, int]
    moved: tuple[float, ...]
    stopped_early: bool


@dataclass(frozen=True)
class Run:
    """Activations by site, logits where the forward reached them, and the receipt."""

    activations: Mapping[Site, Tensor]
    logits: Float[Tensor, "batch pos d_vocab"] | None
    receipt: Receipt

    def __getitem__(self, site: Site | str) -> Tensor:
        return self.activations[Site.parse(site) if isinstance(site, str) else site]


class _Stop(BaseException):
    """Ends a forward from inside; no Exception, so that no library on the way swallows it."""


@dataclass
class _State:
    """One run while it goes."""

    reads: dict[Site, bool]  # whole site -> has fired
    edits: dict[Site, list[tuple[int, Site, Edit]]]
    stop: bool
    moved: list[float]
    kept: dict[Site, Tensor] = field(default_factory=dict)
    fired: dict[Site, int] = field(default_factory=dict)
    carried: dict[Site, Tensor] = field(default_factory=dict)


_SITES: "WeakKeyDictionary[Model, Mapping[Site, int]]" = WeakKeyDictionary()


def sites(model: Model) -> Mapping[Site, int]:
    """Every site the model has, in forward order -> its number of heads (0 without heads).

    Found once per model by running two tokens, because a hook point that exists need not
    fire. Where the plain tree serves too, its values are held against the bridge's: a module
    that a new release of the model library moved or re-ordered raises `RuntimeError`.
    """
    with model.lock:
        if model not in _SITES:
            found = _fired(model, model.bridge_road)
            if model.plain_road is not None:
                _agree(_fired(model, model.plain_road), found)
            heads = {site: _n_heads(site, tensor) for site, tensor in found.items()}
            n_heads = model.architecture.n_heads
            heads |= {Site("result", s.layer): n_heads for s in found if s.name == "z"}
            _SITES[model] = dict(sorted(heads.items(), key=lambda item: item[0].order))
        return _SITES[model]


def run(
    model: Model,
    tokens: Int[Tensor, "batch pos"],
    *,
    read: Request | Iterable[Request] = (),
    edit: Edit | Sequence[Edit] = (),
    stop: Literal["auto", "never"] = "auto",
    grad: bool = False,
) -> Run:
    """One forward pass; reads see the activation after the edits made there.

    With `stop="auto"` the forward ends once every site in `read` has fired; without reads, or
    with `"never"`, it goes on to the logits. Rows are taken as they are: no mask, no padding.
    Raises `InputError` for a site that the model lacks, tokens outside the vocabulary or the
    context, an edit that lies above the stop, and one that returns another shape, dtype,
    device or nothing. Hooks are gone afterwards, whatever happens.
    """
    check_tokens(model, tokens)
    edits = (edit,) if isinstance(edit, Edit) else tuple(edit)
    available = sites(model)
    wanted = expand(read, available)
    places = [expand(one.site, available) for one in edits]
    with model.lock, torch.set_grad_enabled(grad):
        state = _plan(wanted, list(zip(edits, places, strict=True)), stop)
        road = _road(model, state)
        _check_editable(road, state)
        logits, stopped = _forward(road, state, tokens.to(model.device))
        _check_fired(state)
        return Run(
            {site: _value(model, site, state.kept) for site in wanted},
            logits,
            Receipt(road.name, dict(state.fired), tuple(state.moved), stopped),
        )


def check_tokens(model: Model, tokens: Tensor) -> None:
    """Raise `InputError` unless `tokens` are ids of the vocabulary within the context."""
    sizes = model.architecture
    if tokens.ndim != 2 or tokens.is_floating_point() or tokens.numel() == 0:
        raise InputError(
            f"tokens must be integer ids of shape [batch, pos], not {tokens.dtype} "
            f"{tuple(tokens.shape)}"
        )
    if tokens.shape[1] > sizes.n_ctx:
        raise InputError(
            f"{tokens.shape[1]:,} tokens, the model's context holds {sizes.n_ctx:,}; shorten them"
        )
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= sizes.d_vocab:
        wrong = low if low < 0 else high
        raise InputError(f"token id {wrong} is outside the vocabulary of {sizes.d_vocab:,}")


def _plan(
    wanted: Sequence[Site], edits: Sequence[tuple[Edit, tuple[Site, ...]]], stop: str
) -> _State:
    placed: dict[Site, list[tuple[int, Site, Edit]]] = {}
    number = 0
    for edit, places in edits:
        for site in places:
            if site.name == "result":
                raise InputError(
                    f"{site} is computed from z and cannot be edited; edit {site.layer}.z instead"
                )
            placed.setdefault(site.whole, []).append((number, site, edit))
            number += 1
    reads = {_source(site): False for site in wanted}
    return _State(reads, placed, stop == "auto" and bool(reads), [0.0] * number)


def _source(site: Site) -> Site:
    """The site whose tensor a read needs: z for the per-head result, itself otherwise."""
    return Site("z", site.layer) if site.name == "result" else site.whole


def _road(model: Model, state: _State) -> Road:
    """The plain tree if it has all that is asked for (and may be edited there), else the bridge."""
    plain = model.plain_road
    if plain is not None and all(
        site in plain.points and (site not in state.edits or plain.points[site].editable)
        for site in {*state.reads, *state.edits}
    ):
        return plain
    return model.bridge_road


def _check_editable(road: Road, state: _State) -> None:
    fixed = [str(site) for site in state.edits if not road.points[site].editable]
    if fixed:
        raise InputError(
            f"{', '.join(fixed)} cannot be edited in this model: the hook fires after its use; "
            "edit z, or q, k and v"
        )


def _forward(road: Road, state: _State, tokens: Tensor) -> tuple[Tensor | None, bool]:
    with _hooked(road, state):
        try:
            return road.forward(tokens), False
        except _Stop:
            return None, True


@contextmanager
def _hooked(road: Road, state: _State) -> Iterator[None]:
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

    def changed(tensor: Tensor) -> Tensor | None:
        new = on_tensor(point.to_site(tensor) if point.to_site else tensor)
        return point.from_site(new) if new is not None and point.from_site else new

    def on_output(module: Any, args: Any, output: Any) -> Any:
        if not isinstance(output, tuple):
            return changed(output)
        new = changed(output[point.item])
        if new is None:
            return None
        return (*output[: point.item], new, *output[point.item + 1 :])

    def on_input(module: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        if args:
            new = changed(args[0])
            return None if new is None else ((new, *args[1:]), kwargs)
        name = next(iter(kwargs))
        new = changed(kwargs[name])
        return None if new is None else (args, {**kwargs, name: new})

    if point.end == "input":
        return point.module.register_forward_pre_hook(on_input, with_kwargs=True)
    return point.module.register_forward_hook(on_output)


def _met(state: _State, site: Site, tensor: Tensor) -> Tensor | None:
    """The forward has come to `site`: edit, keep, and stop if nothing more is wanted."""
    state.fired[site] = state.fired.get(site, 0) + 1
    old = tensor
    for number, place, edit in state.edits.get(site, ()):
        tensor = _edited(state, number, place, edit, tensor)
    if site in state.edits:
        state.carried[site] = tensor - old
    if site in state.reads:
        state.kept[site] = tensor
        state.reads[site] = True
        if state.stop and all(state.reads.values()):
            raise _Stop
    return tensor if site in state.edits else None


def _edited(state: _State, number: int, place: Site, edit: Edit, tensor: Tensor) -> Tensor:
    axis = place.kind.head_axis
    part = tensor if place.head is None else tensor.select(axis or 0, place.head)
    new = edit.function(part.clone())
    _check_edit(place, part, new)
    state.moved[number] += _distance(new.detach(), part.detach())
    if place.head is None:
        return new
    whole = tensor.clone()
    whole.select(axis or 0, place.head).copy_(new)
    return whole


def _distance(new: Tensor, old: Tensor) -> float:
    """Frobenius norm of the change; scores masked before and after have not moved."""
    least = torch.finfo(old.dtype).min  # the mask's value: this or -inf
    change = (new - old).masked_fill((new <= least) & (old <= least), 0)
    return float(torch.linalg.vector_norm(change, dtype=torch.float32))


def _check_edit(place: Site, old: Tensor, new: Any) -> None:
    if not isinstance(new, Tensor):
        raise InputError(
            f"the edit at {place} returned {type(new).__name__}; it must return the new tensor"
        )
    for what in ("shape", "dtype", "device"):
        given, expected = getattr(new, what), getattr(old, what)
        if given != expected:
            given, expected = (tuple(x) if what == "shape" else x for x in (given, expected))
            raise InputError(f"the edit at {place} returned {what} {given}; expected {expected}")


def _check_fired(state: _State) -> None:
    silent = [str(site) for site in state.edits if site not in state.fired]
    if silent:
        raise InputError(
            f"the edit at {', '.join(silent)} lies above the stop (the last site read) and never "
            "fired; read a later site or pass stop='never'"
        )
    missed = [str(site) for site, fired in state.reads.items() if not fired]
    assert not missed, f"sites {missed} are known to this model but did not fire"


def _value(model: Model, site: Site, kept: Mapping[Site, Tensor]) -> Tensor:
    """The tensor a read returns: a head is cut out, the per-head result computed."""
    tensor = kept[_source(site)]
    if site.name == "result":
        assert site.layer is not None
        output = model.output_matrix(site.layer)
        if site.head is None:
            return einsum(
                tensor,
                output,
                "batch pos head d_head, head d_head d_model -> batch pos head d_model",
            )
        return tensor[:, :, site.head] @ output[site.head]
    if site.head is None:
        return tensor
    axis = site.kind.head_axis
    assert axis is not None, f"{site} names a head of a site without heads"
    # Cloned: a view would keep all the other heads in memory.
    return tensor.select(axis, site.head).clone()


def _fired(model: Model, road: Road) -> dict[Site, Tensor]:
    tokens = torch.zeros((1, 2), dtype=torch.long, device=model.device)
    tokens[0, 1] = min(1, model.architecture.d_vocab - 1)
    state = _plan(list(road.points), [], "never")
    with torch.no_grad():
        _forward(road, state, tokens)
    return state.kept


def _agree(plain: Mapping[Site, Tensor], bridge: Mapping[Site, Tensor]) -> None:
    for site, value in plain.items():
        other = bridge.get(site)
        # 5 %: far above rounding in half precision, far below another tensor's difference.
        if (
            other is None
            or other.shape != value.shape
            or bool((value - other).norm() > 0.05 * other.norm())
        ):
            raise RuntimeError(
                f"{site} read from the model's own modules differs from TransformerLens' value; "
                "the model library has changed: update workbench.models.roads"
            )


def _n_heads(site: Site, tensor: Tensor) -> int:
    axis = site.kind.head_axis
    return 0 if axis is None else tensor.shape[axis]

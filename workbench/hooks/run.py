"""`run`: one forward pass with activations read and edited, and a receipt of what happened."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from workbench.errors import InputError
from workbench.hooks.discovery import sites
from workbench.hooks.edits import Edit
from workbench.hooks.forward import State, forward
from workbench.models import Model, Road
from workbench.sites import Request, Site, expand


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
        logits, stopped = forward(road, state, tokens.to(model.device))
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
) -> State:
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
    return State(reads, placed, stop == "auto" and bool(reads), [0.0] * number)


def _source(site: Site) -> Site:
    """The site whose tensor a read needs: z for the per-head result, itself otherwise."""
    return Site("z", site.layer) if site.name == "result" else site.whole


def _road(model: Model, state: State) -> Road:
    """The plain tree if it has all that is asked for (and may be edited there), else the bridge."""
    plain = model.plain_road
    if plain is not None and all(
        site in plain.points and (site not in state.edits or plain.points[site].editable)
        for site in {*state.reads, *state.edits}
    ):
        return plain
    return model.bridge_road


def _check_editable(road: Road, state: State) -> None:
    fixed = [str(site) for site in state.edits if not road.points[site].editable]
    if fixed:
        raise InputError(
            f"{', '.join(fixed)} cannot be edited in this model: the hook fires after its use; "
            "edit z, or q, k and v"
        )


def _check_fired(state: State) -> None:
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
    return of_head(tensor, site)


def of_head(tensor: Tensor, site: Site) -> Tensor:
    """The head that `site` names, cut out of the whole site's tensor; all of it without one."""
    if site.head is None:
        return tensor
    axis = site.kind.head_axis
    assert axis is not None, f"{site} names a head of a site without heads"
    # Cloned: a view would keep all the other heads in memory.
    return tensor.select(axis, site.head).clone()

"""`run`: one forward pass with activations read and edited, and a receipt of what happened."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from workbench.errors import InputError
from workbench.hooks.discovery import sites
from workbench.hooks.edits import Edit
from workbench.hooks.forward import State, forward
from workbench.hooks.padding import fill_padding
from workbench.hooks.past import Past, as_cache, check_past, from_cache
from workbench.hooks.restart import (
    Start,
    check_above,
    check_starts,
    cleaned,
    started,
)
from workbench.hooks.unembedding import check_few, columns_of, last_mlp, unembedding
from workbench.models import Model, Road, check_mask, positions_of
from workbench.sites import Request, Site, expand, look_up


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
    """Activations by site, logits where the forward reached them, and the receipt.

    `past` holds keys and values of all positions, where they were asked for.
    """

    activations: Mapping[Site, Tensor]
    logits: Float[Tensor, "batch kept d_vocab"] | None
    receipt: Receipt
    past: Past | None = None

    def __getitem__(self, site: Site | str) -> Tensor:
        return look_up(self.activations, site)


def run(
    model: Model,
    tokens: Int[Tensor, "batch pos"],
    *,
    read: Request | Iterable[Request] = (),
    edit: Edit | Sequence[Edit] = (),
    mask: Bool[Tensor, "batch all"] | None = None,
    start: Start | Sequence[Start] = (),
    past: Past | None = None,
    keep_past: bool = False,
    logits_at: int | Int[Tensor, "rows kept"] | None = None,
    logits_of: Int[Tensor, " token"] | None = None,
    stop: Literal["auto", "never"] = "auto",
    grad: bool = False,
) -> Run:
    """One forward pass; reads see the activation after the edits made there.

    With `stop="auto"` the forward ends once every site in `read` has fired; without reads, or
    with `"never"`, it goes on to the logits.

    `mask` is True on real tokens, padding may stand to their left or right: a row then gives
    what it gives alone, and padded positions read NaN. `start` begins at a later block from a
    given residual; with several, rows join the batch at their layers, in the order given, and
    `read` has the rows that are there. `past` holds keys and values of earlier positions
    (`keep_past` returns them), `tokens` are then the later ones alone, `mask` covers both.
    `logits_at` unembeds only these columns of `tokens`, negative ones counted from the end;
    `logits_of` only these tokens of the vocabulary.

    Raises `InputError` for a site that the model lacks or that lies below `start`, tokens
    outside the vocabulary or the context, a mask with gaps, and an edit that lies above the
    stop, runs the model itself, or returns another shape, dtype, device or nothing. Hooks are
    gone afterwards, whatever happens.
    """
    check_tokens(model, tokens, before=past.length if past else 0)
    edits = (edit,) if isinstance(edit, Edit) else tuple(edit)
    starts = (start,) if isinstance(start, Start) else tuple(start)
    available = sites(model)
    wanted = expand(read, available)
    places = [expand(one.site, available) for one in edits]
    _check_settings(model, tokens, wanted, places, starts, mask, past)
    columns = columns_of(tokens, logits_at, mask)
    few = columns is not None or logits_of is not None
    check_few(few, logits_of, model.architecture.d_vocab, wanted)
    with model.lock, _alone(model), torch.set_grad_enabled(grad):
        real = None if mask is None else mask[:, -tokens.shape[1] :].to(model.device)
        state = _plan(wanted, list(zip(edits, places, strict=True)), stop, real)
        road = _road(model, state)
        _check_editable(road, state)
        _check_caches(road, past is not None or keep_past)
        cache = as_cache(past, grows=keep_past) if past is not None or keep_past else None
        here, some = (x if x is None else x.to(model.device) for x in (columns, logits_of))
        # Rows that join later must fit masks and positions made before: those of one row fit all.
        begun = tokens[:1] if len(starts) > 1 else tokens
        mlp = last_mlp(model, road, [*state.reads, *state.edits])
        # Logits with gaps between their rows are for sweeps, which start at a layer.
        whole = not starts or _LOGITS in state.reads or _LOGITS in state.edits
        with (
            started(road, cleaned(starts, real)),
            unembedding(road, here, some, mlp, whole=whole),
        ):
            logits, stopped = forward(
                road, state, begun.to(model.device), **_masks(mask, tokens, model, cache)
            )
        _check_fired(state)
        if logits is not None and here is None:
            logits = fill_padding(logits, _LOGITS, real, torch.nan)
        return Run(
            {
                site: fill_padding(_value(model, site, state.kept), site, real, torch.nan)
                for site in wanted
            },
            logits,
            Receipt(road.name, dict(state.fired), tuple(state.moved), stopped),
            from_cache(cache) if cache is not None and keep_past and not stopped else None,
        )


_LOGITS = Site("logits")
_RUNNING: set[int] = set()


@contextmanager
def _alone(model: Model) -> Iterator[None]:
    """Refuses a forward inside another: the outer one's hooks would fire in it, and its edits."""
    if id(model) in _RUNNING:
        told = f"{model.name} is run inside an edit of the same model"
        raise InputError(f"{told}; compute what the edit needs before, and hand it in")
    _RUNNING.add(id(model))
    try:
        yield
    finally:
        _RUNNING.remove(id(model))


def _check_settings(
    model: Model,
    tokens: Tensor,
    wanted: Sequence[Site],
    places: Sequence[Sequence[Site]],
    starts: Sequence[Start],
    mask: Tensor | None,
    past: Past | None,
) -> None:
    if starts:
        check_starts(starts, tokens, model)
        check_above(starts[0], [*wanted, *(site for found in places for site in found)])
    if len(starts) > 1 and mask is not None:
        raise InputError("rows that start at several layers take no mask; give prompts of a length")
    if mask is not None:
        check_mask(mask, tokens, past.length if past else 0)
    if past is not None:
        alike = len(starts) < 2 or past.rows is not None
        check_past(past, tokens if alike else tokens[: len(starts[0].resid)], model)


def _masks(
    mask: Tensor | None, tokens: Tensor, model: Model, cache: DynamicCache | None
) -> dict[str, Any]:
    """What the forward is told beside the tokens."""
    told: dict[str, Any] = {}
    if mask is not None:
        here = mask.to(model.device)
        told["attention_mask"] = here.long()
        told["position_ids"] = positions_of(here)[:, -tokens.shape[1] :]
    if cache is not None:
        told |= {"past_key_values": cache, "use_cache": True}
    return told


def check_tokens(model: Model, tokens: Tensor, *, before: int = 0) -> None:
    """Raise `InputError` unless `tokens` are ids of the vocabulary within the context.

    `before` positions were computed already.
    """
    sizes = model.architecture
    if tokens.ndim != 2 or tokens.is_floating_point() or tokens.numel() == 0:
        raise InputError(
            f"tokens must be integer ids of shape [batch, pos], not {tokens.dtype} "
            f"{tuple(tokens.shape)}"
        )
    length = before + tokens.shape[1]
    if length > sizes.n_ctx:
        raise InputError(
            f"{length:,} tokens, the model's context holds {sizes.n_ctx:,}; shorten them"
        )
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= sizes.d_vocab:
        wrong = low if low < 0 else high
        raise InputError(f"token id {wrong} is outside the vocabulary of {sizes.d_vocab:,}")


def _plan(
    wanted: Sequence[Site],
    edits: Sequence[tuple[Edit, tuple[Site, ...]]],
    stop: str,
    real: Bool[Tensor, "batch pos"] | None,
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
    return State(reads, placed, stop == "auto" and bool(reads), [0.0] * number, real)


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


def _check_caches(road: Road, needed: bool) -> None:
    if needed and not road.caches:
        raise InputError(
            "this model keeps no keys and values (its library's forward has no cache); run all "
            "positions without `past` and `keep_past`"
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

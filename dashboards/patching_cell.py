"""What is inside one cell of the Patching page's map: heads, attention, what would be said next."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboards.patching_sweeps import Source
from dashboards.patching_view import Cell, PatchingView
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.models import Model, Tokens
    from workbench.patching import Sweep

TOKENS = 8  # of each run, by logit


@dataclass(frozen=True)
class Heads:
    """Effects of one layer's heads at the cell's place, by denoising or noising each one's z."""

    names: Sequence[str]
    mean: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None


@dataclass(frozen=True)
class Said:
    """The likeliest next tokens of one run, with logits and probabilities, best first."""

    run: str
    tokens: Sequence[str]
    logits: np.ndarray
    probs: np.ndarray


@dataclass(frozen=True)
class Inside:
    """The chosen cell: its heads, the head whose attention is shown, and what would be said."""

    cell: Cell
    name: str
    heads: Heads | None
    head: int
    attention: np.ndarray
    number: int
    said: Sequence[Said]


def inside_of(
    view: PatchingView, cell: Cell, heads: Heads | None, head: int, number: int
) -> Inside:
    """All of it, for one of the pairs."""
    part = 0 if cell.component is None else cell.component
    place = view.labels[0 if view.by_head else cell.column]
    return Inside(
        cell=cell,
        name=f"{view.found.name(cell.row, part)} at {place}",
        heads=heads,
        head=head,
        attention=attention_of(view.source, number, cell.layer, head),
        number=number,
        said=said_of(view, cell, number),
    )


def heads_of(view: PatchingView, cell: Cell) -> Heads | None:
    """An exact sweep of the heads of the cell's layer at its place; None on a map of heads."""
    if view.by_head:
        return None
    found = _heads(view.source.key, view.asked.metric, view.asked.direction, cell, view.source)
    moved = found.effects()
    mean, low, high = (x[0, :, 0].numpy() for x in (moved.mean, moved.low, moved.high))
    bounds = (low, high) if len(view.source.pairs) > 1 else (None, None)
    return Heads(found.components, mean, *bounds)


@st.cache_resource(max_entries=64, show_spinner=False)
def _heads(key: Hashable, metric: str, direction: str, cell: Cell, _source: Source) -> Sweep:
    from workbench.patching import sweep

    return sweep(
        _source.model,
        _source.pairs,
        "z",
        metric=metric,
        direction=direction,  # pyright: ignore[reportArgumentType]
        places="all" if cell.place == "all" else [cell.at],
        layers=[cell.layer],
        store=_source.store,
    )


def choices(view: PatchingView, cell: Cell, heads: Heads | None) -> list[int]:
    """The heads whose attention belongs to the cell, the strongest first."""
    if heads is not None:
        return np.argsort(-np.abs(heads.mean - view.found.nothing), kind="stable").tolist()
    assert cell.component is not None
    group = view.source.model.architecture.n_heads // len(view.found.components)
    return list(range(cell.component * group, (cell.component + 1) * group))


def head_named(text: str | None, known: Sequence[int]) -> int:
    """The head that an address names, else the first."""
    if text is None:
        return known[0]
    if text not in {f"H{head}" for head in known}:
        raise InputError(
            f"the address asks for head {text!r}; give one of "
            f"{', '.join(f'H{head}' for head in sorted(known))}"
        )
    return int(text[1:])


def attention_of(source: Source, number: int, layer: int, head: int) -> np.ndarray:
    """The attention `[query, key]` of a head in a pair's clean prompt."""
    from workbench.cache import capture
    from workbench.sites import Site

    site, clean = Site("pattern", layer), source.pairs.rows[number].clean
    ids = clean.tensor(source.model.device)
    return capture(source.model, ids, [site], source.store)[site][0, head].float().cpu().numpy()


def said_of(view: PatchingView, cell: Cell, number: int) -> list[Said]:
    """What one pair's runs would say next: as it was, patched, and the run patched from."""
    return _said(view.source.key, view.asked.site, view.asked.direction, cell, number, view.source)


@st.cache_resource(max_entries=64, show_spinner=False)
def _said(
    key: Hashable, site: str, direction: str, cell: Cell, number: int, _source: Source
) -> list[Said]:
    from workbench.patching import patched_logits

    found = patched_logits(
        _source.model,
        _source.pairs.rows[number],
        site,
        cell.layer,
        cell.at,
        component=cell.component,
        direction=direction,  # pyright: ignore[reportArgumentType]
        store=_source.store,
    )
    names = ["corrupted run", "with the patch", "clean run"]
    if direction == "noising":
        names.reverse()
    logits = (found.base, found.patched, found.source)
    return [_likeliest(_source.model, *one) for one in zip(names, logits, strict=True)]


def _likeliest(model: Model, name: str, logits) -> Said:
    best = logits.float().topk(min(TOKENS, len(logits)))
    probs = logits.float().softmax(-1)[best.indices]
    tokens = [model.vocabulary.string(token) for token in best.indices.tolist()]
    return Said(name, tokens, best.values.cpu().numpy(), probs.cpu().numpy())


def as_typed(model: Model, tokens: Tokens, bos: bool | None) -> bool:
    """Whether the prompt box of another page makes the same tokens of the text."""
    try:
        return model.tokenize(tokens.text, bos=bos).ids == tokens.ids
    except InputError:
        return False

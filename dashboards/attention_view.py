"""The numbers behind the Attention page: patterns and scores, ready for the canvas."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboards.components import TokenLabel
from workbench.errors import InputError
from workbench.sites import Head

if TYPE_CHECKING:  # torch must not load before it is needed
    from dashboards.prompts import Asked
    from workbench.cache import Store
    from workbench.models import Model

KINDS = ("attention", "value-weighted")
SHOWN = ("the head", "mean over heads", "max over heads")


@dataclass(frozen=True)
class AttentionView:
    """Patterns `[layer, head, query, key]` of the first prompt, scores `[layer, head]` by name."""

    weights: np.ndarray
    scores: Mapping[str, np.ndarray]
    thumbnails: np.ndarray
    labels: Sequence[TokenLabel]
    strings: Sequence[str]
    kind: str
    signed: bool
    limit: float
    what: str
    note: str
    made: float

    def head(self, text: str | None, score: str) -> Head:
        """The head that the address names, else the one that leads the score."""
        if text is None:
            order = self._order(score)
            return order[0] if order else Head(0, 0)
        head = Head.parse(text)
        layers, heads = self.weights.shape[:2]
        if head.layer >= layers or head.head >= heads:
            raise InputError(
                f"the address asks for head {head}; this model has layers 0 to {layers - 1} "
                f"and heads 0 to {heads - 1}"
            )
        return head

    def pattern(self, head: Head, shown: str) -> np.ndarray:
        """What the zoom shows: the head, or its layer's mean or maximum."""
        layer = self.weights[head.layer]
        if shown == SHOWN[1]:
            return layer.mean(0)
        if shown == SHOWN[2]:
            return layer.max(0)
        return layer[head.head]

    def title(self, head: Head, shown: str) -> str:
        """What the zoom shows, in words."""
        place = str(head) if shown == SHOWN[0] else f"L{head.layer}, {shown}"
        return f"{place}: {self.what}"

    def limits(self, score: str) -> tuple[float, float]:
        """Bounds of a score's colours: shares run over 0..1, entropy over its range."""
        values = self.scores[score]
        most = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
        return 0.0, max(1.0, most)

    def top(self, score: str, n: int = 5) -> str:
        """The leading heads with their scores."""
        values = self.scores[score]
        found = [f"{h} {values[h.layer, h.head]:.2f}" for h in self._order(score)[:n]]
        return ", ".join(found) if found else "not defined here (no token occurs twice)"

    def _order(self, score: str) -> list[Head]:
        values = self.scores[score]
        if not np.isfinite(values).all():
            return []
        order = np.argsort(-values, axis=None, kind="stable")
        return [Head(int(i) // values.shape[1], int(i) % values.shape[1]) for i in order]


def attention_view(
    model: Model, store: Store, asked: Asked, kind: str, other: str, *, bos: bool | None, chat: bool
) -> AttentionView:
    """Compute the view, or take it from this process' few last ones."""
    ids = tuple(tuple(row) for row in asked.ids.tolist())
    minus: tuple[int, ...] = ()
    if other.strip():
        minus = model.tokenize(other, bos=bos, chat=chat).ids
        if len(minus) != len(asked.tokens):
            raise InputError(
                f"the other prompt has {len(minus)} tokens, this one {len(asked.tokens)}; "
                "a difference needs the same number"
            )
        minus = minus[: len(ids[0])]
    opened = time.time()
    view = _view(model.identity.fingerprint, ids, kind, minus, model, store, asked)
    return view if view.made >= opened else replace(view, note="cached")


@st.cache_resource(max_entries=6, show_spinner=False)
def _view(
    fingerprint: str,
    ids: tuple[tuple[int, ...], ...],
    kind: str,
    minus: tuple[int, ...],
    _model: Model,
    _store: Store,
    _asked: Asked,
) -> AttentionView:
    import torch

    from workbench import runs
    from workbench.attention import SCORES, patterns, thumbnails

    started = time.perf_counter()
    found = patterns(_model, torch.tensor(ids, device=_model.device), _store)
    scores = {name: found.scores(name).cpu().numpy() for name in SCORES}
    weights = _weights(_model, _store, found.ids[:1], kind, found.weights[:, :1])[:, 0]
    if minus:
        there = torch.tensor([minus], device=_model.device)
        weights = weights - _weights(_model, _store, there, kind, None)[:, 0]
    limit = max(0.05, float(weights.abs().max())) if minus else 1.0
    seconds = time.perf_counter() - started
    runs.keep(
        runs.Record(
            kind="attention",
            model={"name": _model.name, **asdict(_model.identity)},
            tokens=[list(row) for row in ids],
            arguments={"weights": kind, "minus": list(minus)},
            device=str(_model.device),
            seconds=round(seconds, 4),
        )
    )
    return AttentionView(
        weights=weights.float().cpu().numpy(),
        scores=scores,
        thumbnails=thumbnails(weights, limit=limit).numpy(),
        labels=_asked.labels,
        strings=_asked.strings,
        kind=kind,
        signed=bool(minus) and bool((weights < 0).any()),
        limit=limit,
        what=f"{kind}{', minus the other prompt' if minus else ''}",
        note=f"{'cached' if found.capture.whole else 'computed'}, {seconds:.2f} s",
        made=time.time(),
    )


def _weights(model: Model, store: Store, ids, kind: str, known):
    """`[layer, batch, head, query, key]` of the kind asked for."""
    import torch

    from workbench.attention import patterns, value_weighted
    from workbench.cache import capture

    weights = known if known is not None else patterns(model, ids, store).weights
    if kind == KINDS[0]:
        return weights
    values = capture(model, ids, "*.v", store).activations.values()
    return torch.stack([value_weighted(w, v) for w, v in zip(weights, values, strict=True)])

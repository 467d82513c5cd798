"""The next tokens before and after an edit, and what ablating a head does to them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from workbench.sites import Head

if TYPE_CHECKING:  # torch must not load before it is needed
    from dashboards.prompts import Asked
    from workbench.hooks import Edit
    from workbench.interventions import Change
    from workbench.models import Model, Tokens

HOW = ("zero", "mean over the prompt")
TOP = 10  # tokens
WHEN = ("before", "after")


@dataclass(frozen=True)
class NextTokens:
    """The likeliest tokens after the last position, `[rank]` before and after an edit.

    `kl` is KL(before || after) in nats at the last position, `mean_kl` over all of them.
    """

    tokens: Mapping[str, Sequence[str]]
    logits: Mapping[str, np.ndarray]
    probabilities: Mapping[str, np.ndarray]
    kl: float
    mean_kl: float
    still: bool

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """A table's columns by name, tokens exact."""
        return {
            name: column
            for when in WHEN
            for name, column in {
                when: np.array(self.tokens[when], dtype=object),
                f"logit {when}": self.logits[when],
                f"probability {when}": self.probabilities[when],
            }.items()
        }

    @property
    def shown(self) -> dict[str, list[str]]:
        """The same as text, white space made visible."""
        from workbench.models import visible

        def text(cell: object) -> str:
            return visible(cell) if isinstance(cell, str) else f"{cell:.3f}"

        rank = {"rank": [str(1 + i) for i in range(len(self.tokens["before"]))]}
        return rank | {name: [*map(text, column)] for name, column in self.columns.items()}


@dataclass(frozen=True)
class AblationView:
    """The next tokens without a head, and what was put in its place."""

    next: NextTokens
    head: Head
    how: str
    note: str
    made: float


def shown_tokens(model: Model, asked: Asked) -> Tokens:
    """The first row of what was asked, as it was cut."""
    from workbench.models import from_ids

    return from_ids(model.vocabulary, asked.ids[0].tolist(), bos=asked.tokens.bos)


def next_tokens(model: Model, change: Change) -> NextTokens:
    """The top of a change's last position."""
    from workbench.metrics import top_tokens

    tops = {
        when: top_tokens(logits[0, -1], TOP)
        for when, logits in zip(WHEN, (change.before, change.after), strict=True)
    }
    return NextTokens(
        tokens={w: [*map(model.vocabulary.string, top.ids.tolist())] for w, top in tops.items()},
        logits={when: top.logits.cpu().numpy() for when, top in tops.items()},
        probabilities={when: top.probabilities.cpu().numpy() for when, top in tops.items()},
        kl=float(change.kl[0, -1]),
        mean_kl=change.mean_kl,
        still=not any(far for _, far in change.moved),
    )


def ablation_view(model: Model, asked: Asked, head: Head, how: str) -> AblationView:
    """Compute the view, or take it from this process' last ones."""
    opened = time.time()
    ids = tuple(asked.ids[0].tolist())
    view = _view(model.identity.fingerprint, ids, asked.tokens.bos, head, how, model, asked)
    return view if view.made >= opened else replace(view, note="cached")


@st.cache_resource(max_entries=64, show_spinner=False)
def _view(
    fingerprint: str,
    ids: tuple[int, ...],
    bos: bool,
    head: Head,
    how: str,
    _model: Model,
    _asked: Asked,
) -> AblationView:
    from workbench import runs
    from workbench.interventions import changed

    started = time.perf_counter()
    tokens = shown_tokens(_model, _asked)
    change = changed(_model, tokens.tensor(_model.device), _edits(_model, tokens, head, how))
    seconds = time.perf_counter() - started
    runs.keep(
        runs.Record(
            kind="ablate",
            model={"name": _model.name, **asdict(_model.identity)},
            tokens=[list(ids)],
            arguments={"site": [f"{head}.z"], "how": how},
            device=str(_model.device),
            seconds=round(seconds, 4),
        )
    )
    return AblationView(
        next_tokens(_model, change), head, how, f"computed, {seconds:.2f} s", time.time()
    )


def _edits(model: Model, tokens: Tokens, head: Head, how: str) -> Sequence[Edit]:
    from workbench.interventions import mean, zero

    return [zero(f"{head}.z")] if how == HOW[0] else mean(model, f"{head}.z", tokens).edits

"""The numbers behind the Attribution page: who wrote a logit difference, and from where."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboards.components import TokenLabel
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load before it is needed
    from dashboards.prompts import Asked
    from workbench.attribution import Question
    from workbench.cache import Store
    from workbench.models import Model

HEADS, MLPS, REST = "attention heads", "MLP", "embedding and biases"
NEURONS = 20  # of an MLP, by weight


_PART = re.compile(r"L(\d{1,9})(?:H(\d{1,9})|( MLP)| heads)")


def has_inside(name: str) -> bool:
    """Whether a component of that name is a head, an MLP or a layer's heads."""
    return _PART.fullmatch(name) is not None


@dataclass(frozen=True)
class Part:
    """What can be looked into: a head `L5H1`, a layer's heads `L5 heads`, an MLP `L5 MLP`."""

    layer: int
    head: int | None
    mlp: bool

    @classmethod
    def parse(cls, text: str) -> Part:
        """The part that a name means. Raises `InputError` for others: a bias has no inside."""
        match = _PART.fullmatch(text)
        if match is None:
            raise InputError(f"component {text!r} should read L5H1, L5 heads or L5 MLP")
        return cls(int(match[1]), None if match[2] is None else int(match[2]), bool(match[3]))

    def __str__(self) -> str:
        inside = " MLP" if self.mlp else " heads" if self.head is None else f"H{self.head}"
        return f"L{self.layer}{inside}"


@dataclass(frozen=True)
class Inside:
    """A component's share, taken apart by source position or by neuron."""

    title: str
    axis: str
    names: Sequence[str]
    columns: Mapping[str, Sequence[object]]
    values: np.ndarray


@dataclass(frozen=True)
class AttributionView:
    """A logit difference as a sum: `bars` [column] by sort, `heads` [layer, head], all `parts`."""

    bars: Mapping[str, np.ndarray]
    columns: Sequence[str]
    heads: np.ndarray
    parts: Mapping[str, float]
    difference: float
    remainder: float
    labels: Sequence[TokenLabel]
    strings: Sequence[str]
    pair: tuple[int, int]
    position: int
    note: str
    made: float
    model: Model
    store: Store
    question: Question

    @property
    def words(self) -> tuple[str, str]:
        """The answer and the wrong token, exactly."""
        answer, wrong = (self.model.vocabulary.string(token) for token in self.pair)
        return answer, wrong

    @property
    def about(self) -> str:
        """The two tokens and the place, in words."""
        answer, wrong = self.words
        return f"logit of {answer!r} less that of {wrong!r} after position {self.position}"

    @property
    def sum(self) -> str:
        """The sum and what it leaves over, in words."""
        total = self.difference - self.remainder
        return (
            f"logit difference {self.difference:.4f} = sum of the components {total:.4f}, "
            f"remainder {self.remainder:.1e}"
        )

    @property
    def names(self) -> Mapping[str, Sequence[str]]:
        """What a click on a bar asks for; nothing is inside embeddings and biases."""
        layers = self.columns[-len(self.heads) :]
        before = [""] * (len(self.columns) - len(layers))
        return {
            HEADS: [*before, *(f"{layer} heads" for layer in layers)],
            MLPS: [*before, *(f"{layer} MLP" for layer in layers)],
            REST: list(self.columns),
        }

    @property
    def choices(self) -> list[str]:
        """Every part that can be looked into, the weightiest first."""
        found = [name for name in self.parts if has_inside(name)]
        ordered = sorted(found, key=lambda name: -abs(self.parts[name]))
        return [*ordered, *(f"L{layer} heads" for layer in range(len(self.heads)))]

    def inside(self, part: Part) -> Inside:
        """A head or a layer's heads by source position, an MLP by neuron."""
        return _inside(self.made, str(part), self)


def position_of(text: str, asked: Asked) -> int:
    """The position asked for, negative ones counted from the end; the last without a text."""
    length = asked.ids.shape[1]
    word = text.strip()
    if not word:
        return length - 1
    if not re.fullmatch(r"-?\d{1,6}", word) or not -length <= int(word) < length:
        raise InputError(f"position {text!r} should be a whole number from 0 to {length - 1}")
    return int(word) % length


def likely(model: Model, store: Store, asked: Asked, position: int) -> list[int]:
    """The model's own top two tokens after a position."""
    from workbench.cache import capture
    from workbench.sites import Site

    last = Site("resid_post", model.architecture.n_layers - 1)
    resid = capture(model, asked.ids[:1], [last], store)[last]
    return model.unembed(resid[0, position]).topk(2).indices.tolist()


def pair_of(answer: str, wrong: str, model: Model, tops: Sequence[int]) -> tuple[int, int]:
    """The two tokens asked for; without a text the likeliest that is not the other."""
    against = model.token_id(wrong) if wrong else None
    first = model.token_id(answer) if answer else next(top for top in tops if top != against)
    second = next(top for top in tops if top != first) if against is None else against
    if first == second:
        raise InputError(f"answer and wrong token are both {answer!r}; choose two")
    return first, second


def attribution_view(
    model: Model, store: Store, asked: Asked, pair: tuple[int, int], position: int
) -> AttributionView:
    """Compute the view, or take it from this process' few last ones."""
    ids = tuple(asked.ids[0].tolist())
    opened = time.time()
    view = _view(model.identity.fingerprint, ids, pair, position, model, store, asked)
    return view if view.made >= opened else replace(view, note="cached")


@st.cache_resource(max_entries=6, show_spinner=False)
def _view(
    fingerprint: str,
    ids: tuple[int, ...],
    pair: tuple[int, int],
    position: int,
    _model: Model,
    _store: Store,
    _asked: Asked,
) -> AttributionView:
    from torch import tensor

    from workbench import runs
    from workbench.attribution import Question, attribute

    started = time.perf_counter()
    answer, wrong = (tensor([token]) for token in pair)
    question = Question(_asked.ids[:1], answer, wrong, position=tensor([position]))
    found = attribute(_model, question, _store)
    seconds = time.perf_counter() - started
    runs.keep(
        runs.Record(
            kind="attribution",
            model={"name": _model.name, **asdict(_model.identity)},
            tokens=[list(ids)],
            arguments={"answer": pair[0], "wrong": pair[1], "position": position},
            device=str(_model.device),
            seconds=round(seconds, 4),
        )
    )
    heads = found.heads[0].cpu().numpy()
    always = {
        "embed": found.embed,
        "position": found.pos_embed,
        "biases": found.norm_bias + found.unembed_bias,
    }
    start = {name: float(share[0]) for name, share in always.items() if bool((share != 0).any())}
    before = np.zeros(len(start), dtype=np.float32)
    rows = {
        HEADS: np.concatenate([before, heads.sum(1)]),
        MLPS: np.concatenate([before, found.mlps[0].cpu().numpy()]),
        REST: np.concatenate([[*start.values()], found.attention_bias[0].cpu().numpy()]),
    }
    return AttributionView(
        bars={name: values for name, values in rows.items() if name == HEADS or values.any()},
        columns=[*start, *(f"L{layer}" for layer in range(len(heads)))],
        heads=heads,
        parts={name: float(values[0]) for name, values in found.parts.items()},
        difference=float(found.logit_difference[0]),
        remainder=float(found.remainder[0]),
        labels=_asked.labels,
        strings=_asked.strings,
        pair=pair,
        position=position,
        note=f"{'activations cached' if found.capture.whole else 'computed'}, {seconds:.2f} s",
        made=time.time(),
        model=_model,
        store=_store,
        question=question,
    )


@st.cache_resource(max_entries=32, show_spinner=False)
def _inside(made: float, part: str, _view: AttributionView) -> Inside:
    asked = Part.parse(part)
    return _neurons(_view, asked) if asked.mlp else _sources(_view, asked)


def _sources(view: AttributionView, part: Part) -> Inside:
    from workbench.attribution import by_source

    values = by_source(view.model, view.question, [part.layer], view.store)[0, 0].cpu().numpy()
    own = values.sum(0) if part.head is None else values[part.head]
    return Inside(
        title=f"{part}: {own.sum():.4f}, by the position it was brought from",
        axis="source position",
        names=[f"{label.text} {index}" for index, label in enumerate(view.labels)],
        columns={"position": range(len(own)), "position token": view.strings},
        values=own,
    )


def _neurons(view: AttributionView, part: Part) -> Inside:
    from workbench.attribution import neurons

    found = neurons(view.model, view.question, part.layer, k=NEURONS, store=view.store)
    names = [*map(str, found.index[0].tolist()), "all others", "bias"]
    values = [*found.values[0].tolist(), float(found.rest[0]), float(found.bias[0])]
    return Inside(
        title=f"{part}: {sum(values):.4f}, by neuron",
        axis="neuron",
        names=names,
        columns={"neuron": names},
        values=np.array(values),
    )

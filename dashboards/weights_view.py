"""What a head can do, from its weights alone: the numbers behind its box on the Attention page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from workbench.sites import Head

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.circuits import Directions
    from workbench.models import Model

COUNT, TOKENS = 3, 6  # singular directions, and tokens at each of their ends
KINDS = ("Q", "K", "V")  # what a composition is with, in the order of `Partners`
SIGNS = ("+", "-")


@dataclass(frozen=True)
class Ends:
    """A circuit's first singular directions: `values`, and tokens `[direction, sign, k]`."""

    values: np.ndarray
    left: np.ndarray
    left_scores: np.ndarray
    right: np.ndarray
    right_scores: np.ndarray


@dataclass(frozen=True)
class WeightsView:
    """Copying scores `[layer, head]`, both circuits' ends, composition `[kind, layer, head]`.

    Composition is with every other head: read from earlier ones, by later ones; NaN in the
    head's own layer.
    """

    head: Head
    copying: np.ndarray
    circuits: dict[str, Ends]
    composition: np.ndarray
    baseline: float
    note: str

    @property
    def copies(self) -> str:
        """The head's copying score, and how many heads copy more."""
        own = self.copying[self.head.layer, self.head.head]
        if np.isnan(own):
            return "not defined, this head writes nothing"
        above = int((self.copying > own).sum())
        return f"{own:.2f}, rank {above + 1} of {self.copying.size}"

    @property
    def strongest(self) -> np.ndarray:
        """The strongest kind of composition with each head; NaN in the head's own layer."""
        return np.where(
            np.isnan(self.composition).all(0), np.nan, np.nan_to_num(self.composition).max(0)
        )

    def partners(self, count: int = 5) -> tuple[list[list[str]], list[list[str]]]:
        """The strongest partners among earlier and among later heads: head, kind, score."""
        found = []
        for side in (slice(0, self.head.layer), slice(self.head.layer + 1, None)):
            kept = np.full_like(self.composition, -1)
            kept[:, side] = np.nan_to_num(self.composition[:, side], nan=-1)
            order = np.argsort(-kept, axis=None, kind="stable")[:count]
            places = [np.unravel_index(int(index), kept.shape) for index in order]
            found.append(
                [
                    [f"L{layer}H{head}", KINDS[kind], f"{kept[kind, layer, head]:.3f}"]
                    for kind, layer, head in places
                    if kept[kind, layer, head] >= 0
                ]
            )
        earlier, later = found
        return earlier, later


@st.cache_resource(max_entries=12, show_spinner=False)
def weights_view(fingerprint: str, head: Head, _model: Model) -> WeightsView:
    """Compute the view of one head, or take it from this process' few last ones."""
    from workbench import runs
    from workbench.circuits import directions, ov, partners, qk

    started = time.perf_counter()
    copying = _copying(fingerprint, _model)
    circuits = {"OV": ov(_model, head), "QK": qk(_model, head)}
    ends = {
        kind: _ends(_model, directions(_model, circuit, count=COUNT, k=TOKENS))
        for kind, circuit in circuits.items()
    }
    found = partners(_model, head)
    seconds = time.perf_counter() - started
    runs.keep(
        runs.Record(
            kind="head weights",
            model={"name": _model.name, **asdict(_model.identity)},
            tokens=[],
            arguments={"head": str(head)},
            device=str(_model.device),
            seconds=round(seconds, 4),
        )
    )
    earlier, later = found.earlier.cpu().numpy(), found.later.cpu().numpy()
    return WeightsView(
        head=head,
        copying=copying,
        circuits=ends,
        composition=np.where(np.isnan(earlier), later, earlier),
        baseline=found.baseline,
        note=f"computed in {seconds:.2f} s",
    )


@st.cache_resource(max_entries=2, show_spinner=False)
def _copying(fingerprint: str, _model: Model) -> np.ndarray:
    from workbench.circuits import copying_scores

    return copying_scores(_model).cpu().numpy()


def _ends(model: Model, found: Directions) -> Ends:
    def tokens(ids: Sequence) -> np.ndarray:
        return np.array(
            [[[model.vocabulary.string(i) for i in row] for row in signs] for signs in ids],
            dtype=object,
        )

    return Ends(
        values=found.values.cpu().numpy(),
        left=tokens(found.left_ids.tolist()),
        left_scores=found.left_scores.cpu().numpy(),
        right=tokens(found.right_ids.tolist()),
        right_scores=found.right_scores.cpu().numpy(),
    )

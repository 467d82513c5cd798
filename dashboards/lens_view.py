"""The numbers behind the Lens page, ready for the canvas."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboards.components import RankCurve, TokenLabel
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load before it is needed
    import torch

    from dashboards.prompts import Asked
    from workbench.cache import Store
    from workbench.models import Model

VALUES = ("probability", "entropy", "KL to the output")


@dataclass(frozen=True)
class LensView:
    """Tables `[layer, pos, ...]` of one prompt, and what it takes to follow a token."""

    top_ids: np.ndarray
    top_probs: np.ndarray
    values: Mapping[str, np.ndarray]
    names: Mapping[int, str]
    layers: Sequence[str]
    labels: Sequence[TokenLabel]
    strings: Sequence[str]
    note: str
    made: float
    resid: torch.Tensor
    model: Model

    def limits(self, value: str) -> tuple[float, float]:
        """Probabilities run over 0..1, nats over their range."""
        most = 1.0 if value == VALUES[0] else float(np.nanmax(self.values[value]))
        return 0.0, max(most, 1e-6)

    def strings_of(self, ids: np.ndarray) -> np.ndarray:
        """The exact tokens of an array of ids."""
        found = [self.model.vocabulary.string(int(token)) for token in ids.flat]
        return np.array(found, dtype=object).reshape(ids.shape)

    def curve(self, cell: tuple[int, int], followed: str) -> RankCurve:
        """The fate of the followed token, or of the cell's top one, at the cell's position."""
        from workbench.lens import follow
        from workbench.models import visible

        row, pos = cell
        token = self.model.token_id(followed) if followed else int(self.top_ids[row, pos, 0])
        fate = follow(self.resid[:, pos], self.model.unembed, token)
        name = visible(self.model.vocabulary.string(token))
        return RankCurve(name, fate.rank.cpu().numpy() + 1, fate.prob.cpu().numpy())


def cell_of(text: str | None, shape: tuple[int, ...]) -> tuple[int, int]:
    """The cell that the address names (row.position), else the last one."""
    if text is None:
        return shape[0] - 1, shape[1] - 1
    match = re.fullmatch(r"(\d{1,9})\.(\d{1,9})", text)
    if match is None or int(match[1]) >= shape[0] or int(match[2]) >= shape[1]:
        raise InputError(
            f"the address asks for cell {text!r}; it should read ROW.POSITION with rows 0 to "
            f"{shape[0] - 1} and positions 0 to {shape[1] - 1}"
        )
    return int(match[1]), int(match[2])


def lens_view(model: Model, store: Store, asked: Asked) -> LensView:
    """Compute the view, or take it from this process' few last ones."""
    ids = tuple(asked.ids[0].tolist())
    opened = time.time()
    view = _view(model.identity.fingerprint, ids, model, store, asked)
    return view if view.made >= opened else replace(view, note="cached")


@st.cache_resource(max_entries=6, show_spinner=False)
def _view(
    fingerprint: str, ids: tuple[int, ...], _model: Model, _store: Store, _asked: Asked
) -> LensView:
    from workbench import runs
    from workbench.lens import lens, residuals
    from workbench.models import visible

    started = time.perf_counter()
    resid, taken = residuals(_model, _asked.ids[:1], _store)
    found = lens(resid, _model.unembed)
    seconds = time.perf_counter() - started
    runs.keep(
        runs.Record(
            kind="lens",
            model={"name": _model.name, **asdict(_model.identity)},
            tokens=[list(ids)],
            arguments={},
            device=str(_model.device),
            seconds=round(seconds, 4),
        )
    )
    top_ids = found.top_ids.cpu().numpy()
    return LensView(
        top_ids=top_ids,
        top_probs=found.top_probs.cpu().numpy(),
        values={
            VALUES[0]: found.top_probs[:, :, 0].cpu().numpy(),
            VALUES[1]: found.entropy.cpu().numpy(),
            VALUES[2]: found.kl.cpu().numpy(),
        },
        names={int(i): visible(_model.vocabulary.string(int(i))) for i in np.unique(top_ids)},
        layers=found.layers,
        labels=_asked.labels,
        strings=_asked.strings,
        note=f"{'residuals cached' if taken.whole else 'computed'}, {seconds:.2f} s",
        made=time.time(),
        resid=resid,
        model=_model,
    )

"""The numbers behind the Othello page: a game as the model reads it, and a changed moment of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboards.othello_box import Moment, Push
from dashboards.progress import Progress

if TYPE_CHECKING:  # torch must not load before it is needed
    from probes.controls import Report
    from probes.othello.changing import Changed
    from probes.othello.games import Moves
    from probes.othello.position import Game
    from probes.othello.sequences import Sequences
    from probes.sweep import Sweep
    from workbench.models import Model
    from workbench.sites import Site

GAMES = 1000  # that the probes are fitted and tested on
MOST = 4  # models whose probes are held
MARKS = {
    (True, True): "legal",
    (False, True): "legal now",
    (True, False): "no longer legal",
    (False, False): "illegal",
}


@dataclass(frozen=True)
class OthelloView:
    """A game and the chosen probes; `scores` [move, square, class] are what they read."""

    model: Model
    sequences: Sequences
    game: Game
    sweeps: Mapping[str, Sweep]
    push: Push
    scores: np.ndarray
    note: str

    @property
    def probes(self) -> Mapping[Site, object]:
        return self.sweeps[self.push.reading].probes

    @property
    def site(self) -> Site:
        """Where the shown probe reads."""
        return list(self.probes)[self.push.layer]

    @property
    def changed_sites(self) -> Sequence[Site]:
        return list(self.probes)[self.push.first : self.push.last + 1]

    @property
    def names(self) -> list[str]:
        """The squares as players write them."""
        from probes.othello.games import name

        return [name(self.sequences.board, n) for n in range(self.sequences.board.n_squares)]

    @property
    def reader(self) -> str:
        return f"{self.push.reading} probe after L{self.push.layer}"

    @property
    def right(self) -> float:
        """The share of this game's squares, over all its moments, that the probe reads right."""
        return float((self.scores.argmax(-1) == self.game.held).mean())

    @property
    def about(self) -> str:
        """What the probes are worth on games they never saw."""
        sweep = self.sweeps[self.push.reading]
        whole, discs = sweep.reports[self.site], sweep.among[self.site]
        return (
            f"{self.reader}, on {whole.evaluation.n_groups} games it never saw: "
            f"{_worth(whole)} of all squares right; of discs, {'/'.join(sweep.classes[:2])} "
            f"{_worth(discs)}. On this game {self.right:.3f} of all squares"
        )

    def side(self, number: int) -> str:
        """Who moves after move `number`."""
        return "black" if self.game.black[number - 1] else "white"


def _worth(report: Report) -> str:
    """An accuracy with its interval, and beside it what the commonest class gives."""
    found = report.evaluation
    return (
        f"{found.accuracy:.3f} ({found.low:.3f} to {found.high:.3f}; always the commonest class "
        f"{report.majority:.3f})"
    )


def sequences_of(model: Model) -> Sequences:
    """The board that a model plays on. Raises `InputError` for a model of none."""
    from probes.othello.labels import sequences_of

    return sequences_of(model.vocabulary)


@st.cache_resource(show_spinner=False)
def _held() -> dict[Hashable, Mapping[str, Sweep]]:
    """A cached function could show no progress: its elements would be shown again each time."""
    return {}


def probes_of(model: Model, progress: Callable[[str], Progress]) -> Mapping[str, Sweep]:
    """Both sorts of probes after every layer, fitted once for a model."""
    held, key = _held(), model.identity.fingerprint
    if key not in held:
        from probes.othello.position import board_probes

        started = time.perf_counter()
        held[key] = board_probes(model, GAMES, progress=progress(f"Fitting probes, {GAMES} games"))
        _keep("othello probes", model, (), {"games": GAMES}, started)
        while len(held) > MOST:
            held.pop(next(iter(held)), None)
    return held[key]


def best_layers(sweeps: Mapping[str, Sweep]) -> dict[str, int]:
    """The layer that each sort of probes reads best after."""
    return {name: list(sweep.probes).index(sweep.best) for name, sweep in sweeps.items()}


def othello_view(
    model: Model, moves: Moves, sweeps: Mapping[str, Sweep], push: Push
) -> OthelloView:
    """The model on a game, computed or taken from this process' last ones."""
    opened = time.time()
    game, made = _game(model.identity.fingerprint, moves.tobytes(), model, moves)
    probes = sweeps[push.reading].probes
    return OthelloView(
        model=model,
        sequences=sequences_of(model),
        game=game,
        sweeps=sweeps,
        push=push,
        scores=game.read(list(probes.values())[push.layer]),
        note="computed" if made >= opened else "cached",
    )


def changed_view(view: OthelloView, moment: Moment) -> Changed | None:
    """What the squares' changes do; None where none is changed."""
    if not moment.changes:
        return None
    key = (view.model.identity.fingerprint, view.game.moves.tobytes(), moment, view.push)
    return _changed(key, view, moment)


@st.cache_resource(max_entries=32, show_spinner=False)
def _game(fingerprint: str, key: bytes, _model: Model, _moves: Moves) -> tuple[Game, float]:
    import probes.othello.changing  # noqa: F401 (now, or the first click would wait for it)
    from probes.othello.position import play

    return play(_model, _moves), time.time()


@st.cache_resource(max_entries=256, show_spinner=False)
def _changed(key: Hashable, _view: OthelloView, _moment: Moment) -> Changed:
    from probes.othello.changing import change

    started = time.perf_counter()
    probes, push = _view.sweeps[_view.push.reading].probes, _view.push
    found = change(
        _view.model,
        _view.game,
        _moment.number,
        dict(_moment.changes),
        probes,
        _view.changed_sites,
        push.alpha,
    )
    ids = _view.sequences.ids(_view.game.moves[None, : _moment.number])[0].tolist()
    made = {"changes": {_view.names[square]: what for square, what in _moment.changes}}
    _keep("othello change", _view.model, [ids], {**made, **asdict(push)}, started)
    return found


def _keep(
    kind: str,
    model: Model,
    tokens: Sequence[Sequence[int]],
    arguments: Mapping[str, object],
    started: float,
) -> None:
    from workbench import runs

    runs.keep(
        runs.Record(
            kind=kind,
            model={"name": model.name, **asdict(model.identity)},
            tokens=tokens,
            arguments=arguments,
            device=str(model.device),
            seconds=round(time.perf_counter() - started, 4),
        )
    )

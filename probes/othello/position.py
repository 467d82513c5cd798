"""One game as a model reads it, move by move: the board, the probes, the model's next move."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int8
from torch import Tensor

from probes.fits import Probe
from probes.othello.cases import EMPTY
from probes.othello.games import Moves, name, replayed
from probes.othello.labels import (
    MINE,
    OTHELLO_COLOUR,
    OTHELLO_MINE,
    held_out_corpus,
    sequences_of,
)
from probes.othello.rules import unpacked
from probes.othello.sequences import Sequences
from probes.sweep import Sweep, sweep
from workbench.cache import Progress
from workbench.errors import InputError
from workbench.hooks import run
from workbench.models import Model, untrained
from workbench.sites import Site

READINGS = {"mine/theirs": OTHELLO_MINE, "black/white": OTHELLO_COLOUR}
SITES = "*.resid_post"


@dataclass(frozen=True, eq=False)
class Game:
    """A game the model has seen; row `m` is the moment after move `m + 1`, where somebody moves.

    `held` is 0 black, 1 white, 2 empty, `black` says whether black is to move. `probability` is
    the model's, of each square as the next move; the rest of it is on padding. `activations` are
    those at `SITES`.
    """

    moves: Int8[np.ndarray, " move"]
    held: Int8[np.ndarray, "move square"]
    black: Bool[np.ndarray, " move"]
    legal: Bool[np.ndarray, "move square"]
    probability: Float[np.ndarray, "move square"]
    activations: Mapping[Site, Float[Tensor, "move d"]]

    def __len__(self) -> int:
        return len(self.moves)

    @property
    def illegal(self) -> Float[np.ndarray, " move"]:
        """The model's probability on what is not legal, padding too."""
        return 1 - (self.probability * self.legal).sum(1)

    def read(self, probe: Probe) -> Float[np.ndarray, "move square class"]:
        """A probe's scores of black, white and empty at its own site."""
        scores = probe.scores(self.activations[probe.site]).cpu().numpy()
        return coloured(scores, probe.classes, self.black)


def board_probes(
    model: Model, games: int = 1000, *, seed: int = 0, progress: Progress | None = None
) -> dict[str, Sweep]:
    """Ridge probes of every square after every layer, by `READINGS`, with their controls.

    Fitted on random games that no training draws from, and judged also on discs alone, by their
    colour. A model written by hand has no control with random weights. Raises `InputError` for a
    model of no board.
    """
    corpus = held_out_corpus(model.vocabulary, games, seed)
    random = _untrained(model)
    found: dict[str, Sweep] = {}
    for number, (reading, source) in enumerate(READINGS.items()):

        def told(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(done + number * total, len(READINGS) * total)

        labelled = source.label(corpus, model.vocabulary)
        found[reading] = sweep(
            model,
            labelled,
            SITES,
            "ridge",
            random=random,
            among=labelled.classes[:EMPTY],
            seed=seed,
            batch=200,
            progress=told,
        )
    return found


def _untrained(model: Model) -> Model | None:
    try:
        return untrained(model)
    except InputError:
        return None


def play(model: Model, moves: Moves) -> Game:
    """One game, seen by the model move by move, up to the last position that is not the end's.

    Raises `InputError` for a model of no board, for several games and for one without a move.
    """
    sequences = sequences_of(model.vocabulary)
    board = sequences.board
    if len(moves) != 1:
        raise InputError(f"{len(moves)} games were given; give one")
    turns = list(replayed(board, moves))[1:]
    n = sum(bool(turn.legal[0]) and move >= 0 for turn, move in zip(turns, moves[0], strict=True))
    n = min(n, sequences.n_ctx)
    if not n:
        raise InputError(
            "the game has no move after which another can be played; give one such as "
            f"{name(board, int(sequences.playable[0]))}"
        )
    mine, theirs, legal = (
        unpacked(board, np.concatenate([getattr(turn, part) for turn in turns[:n]]))
        for part in ("mine", "theirs", "legal")
    )
    black = np.concatenate([turn.black for turn in turns[:n]])
    held = np.full(mine.shape, EMPTY, dtype=np.int8)
    held[np.where(black[:, None], mine, theirs)] = 0
    held[np.where(black[:, None], theirs, mine)] = 1
    ran = run(model, sequences.ids(moves[:, :n]), read=SITES, stop="never")
    assert ran.logits is not None, "a run that never stops reaches the logits"
    return Game(
        moves=moves[0, :n],
        held=held,
        black=black,
        legal=legal,
        probability=by_square(sequences, ran.logits[0]),
        activations={site: x[0].float() for site, x in ran.activations.items()},
    )


def coloured(
    scores: Float[np.ndarray, "move square class"],
    classes: Sequence[str],
    black: Bool[np.ndarray, " move"],
) -> Float[np.ndarray, "move square class"]:
    """Scores of black, white and empty, whatever the classes: mine is black where black moves."""
    if tuple(classes) != MINE:
        return scores
    return np.where(black[:, None, None], scores, scores[..., [1, 0, EMPTY]])


def by_square(
    sequences: Sequences, logits: Float[Tensor, "move token"]
) -> Float[np.ndarray, "move square"]:
    """Probabilities of each square as the next move; 0 where no token stands for one."""
    shares = logits.float().softmax(-1).cpu().numpy()
    found = np.zeros((len(shares), sequences.board.n_squares), dtype=np.float32)
    found[:, sequences.playable] = shares[:, 1:]
    return found

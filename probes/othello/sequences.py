"""Games as token sequences, in the convention of Li et al. 2023.

Token 0 is padding after a game's end; the squares that are empty at the start are 1, 2, ... in
row order. Passes are no tokens: the other side moves.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from probes.othello.games import Moves, name, random_games, replayed
from probes.othello.rules import Board, unpacked
from workbench.errors import InputError
from workbench.models.tokens import Labels
from workbench.training import Logits

PAD = 0
_TRAINING, _HELD_OUT = 0, 1  # streams of random games that never meet


@dataclass(frozen=True)
class Sequences:
    """The vocabulary of a board, and its random games as sequences."""

    board: Board

    @cached_property
    def playable(self) -> Int[np.ndarray, " token"]:
        """The square of token 1, 2, ..."""
        start = {square for side in self.board.centre for square in side}
        return np.array([one for one in range(self.board.n_squares) if one not in start])

    @cached_property
    def vocabulary(self) -> Labels:
        squares = (name(self.board, int(square)) for square in self.playable)
        return Labels(("<pad>", *squares), pad="<pad>")

    @property
    def n_ctx(self) -> int:
        """Moves that a model sees; the one after them is only predicted."""
        return len(self.playable) - 1

    def ids(self, moves: Moves) -> Int[Tensor, "game move"]:
        """Moves as token ids, padding after a game's end."""
        token = np.zeros(self.board.n_squares + 1, dtype=np.int64)  # -1, no move, reads the last
        token[self.playable] = np.arange(1, len(self.playable) + 1)
        return torch.from_numpy(token[moves])

    def moves(self, ids: Int[Tensor, "game move"]) -> Moves:
        """Token ids as moves, -1 where there is padding."""
        square = np.concatenate([[-1], self.playable]).astype(np.int8)
        return square[ids.cpu().numpy()]

    def training(self, seed: int, step: int, batch: int) -> Int[Tensor, "batch move"]:
        """One batch of random games, the same for the same seed and step."""
        return self.ids(random_games(self.board, batch, _drawn(_TRAINING, seed, step)))

    def held_out(self, games: int, seed: int = 0) -> Moves:
        """Random games that no training draws from."""
        return random_games(self.board, games, _drawn(_HELD_OUT, seed))


def _drawn(*numbers: int) -> np.random.Generator:
    if min(numbers) < 0:
        raise InputError(f"a seed of {min(numbers)} is none; give a whole number from 0")
    return np.random.default_rng(numbers)


@dataclass(frozen=True)
class Play:
    """How well a model plays by the rules: over moves that have a legal answer.

    `top1` is the share of legal top-1 moves, `mass` the mean probability on legal ones,
    `excess_kl` the KL in nats from the uniform distribution over them.
    """

    top1: float
    mass: float
    excess_kl: float
    moves: int


def legal_tokens(sequences: Sequences, moves: Moves) -> Bool[np.ndarray, "game move-1 token"]:
    """Which tokens are legal after each move but the last; none after a game's end."""
    turns = [turn.legal for turn in replayed(sequences.board, moves)]
    squares = unpacked(sequences.board, np.stack(turns[1:-1], 1))
    legal = np.zeros((*squares.shape[:2], len(sequences.playable) + 1), dtype=bool)
    legal[..., 1:] = squares[..., sequences.playable]
    return legal


def played(sequences: Sequences, logits: Logits, moves: Moves, batch: int = 500) -> Play:
    """How well a model answers these games."""
    top1, mass, kl = [], [], []
    for first in range(0, len(moves), batch):
        some = moves[first : first + batch]
        legal = torch.from_numpy(legal_tokens(sequences, some))
        log_probs: Float[Tensor, "game move token"] = (
            logits(sequences.ids(some)[:, :-1]).cpu().log_softmax(-1)
        )
        there = legal.any(-1)
        legal, log_probs = legal[there], log_probs[there]
        top1.append(legal.gather(1, log_probs.argmax(-1, keepdim=True))[:, 0])
        mass.append((log_probs.exp() * legal).sum(-1))
        count = legal.sum(-1)
        kl.append(-count.log() - (log_probs * legal).sum(-1) / count)
    right, shares, excess = torch.cat(top1), torch.cat(mass), torch.cat(kl)
    return Play(float(right.float().mean()), float(shares.mean()), float(excess.mean()), len(right))

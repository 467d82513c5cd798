"""The exercises of notebook 10: the rank of an answer, a split by group."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from notebooks.check import Hint, exercise, like, tried


@exercise("10.rank")
def rank(answer: Callable[[Float[Tensor, " token"], int, Sequence[int]], int]) -> None:
    """Candidates above the answer; 0 is best."""
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(400, generator=generator)
        among = torch.randperm(400, generator=generator)[:8].tolist()
        token = among[seed]
        found = tried(answer, logits.clone(), token, list(among), told=f"logits, {token}, {among}")
        if np.shape(found) == (len(among),):
            raise Hint("that says of each candidate whether it stands above; count them")
        wanted = int((logits[among] > logits[token]).sum())
        for other, hint in (
            (wanted + 1, "ranks are counted from 0: the answer does not stand above itself"),
            (int((logits[among] < logits[token]).sum()), "that counts those below the answer"),
            (int((logits > logits[token]).sum()), "that is among all tokens, not the candidates"),
            (among.index(token), "that is the answer's place in the list, not by its logit"),
        ):
            if found == other != wanted:
                raise Hint(hint)
        like(found, wanted, "the rank")


@exercise("10.split")
def split(
    answer: Callable[[Int[np.ndarray, " row"], float, int], Bool[np.ndarray, " row"]],
) -> None:
    """Whole groups, of about the share asked for, by the seed."""
    groups = np.repeat(np.arange(20), np.arange(1, 21))
    np.random.default_rng(0).shuffle(groups)
    _by_seed(answer, groups)
    for share in (0.3, 0.5):
        _whole_groups(answer, groups, share)
    for share in (0.1, 0.9):
        pair = np.asarray(
            tried(answer, np.array([4, 4, 9]), share, 0, told=f"[4, 4, 9], {share}, 0")
        )
        if pair.all() or not pair.any():
            raise Hint(f"two groups, a share of {share}: one part is empty; each needs a group")


def _whole_groups(
    answer: Callable[[Int[np.ndarray, " row"], float, int], Bool[np.ndarray, " row"]],
    groups: Int[np.ndarray, " row"],
    share: float,
) -> None:
    rows, wanted = [], round(20 * share)
    for seed in range(16):
        told = f"groups, {share}, {seed}"
        test = np.asarray(tried(answer, groups.copy(), share, seed, told=told))
        if test.shape != groups.shape or test.dtype != bool:
            raise Hint(
                f"a boolean for each row is asked for, {groups.shape}; yours is {test.dtype} of "
                f"shape {test.shape}"
            )
        both = set(groups[test]) & set(groups[~test])
        if both:
            raise Hint(
                f"{len(both)} of 20 groups stand on both sides: draw groups, not rows, and then "
                "take all of their rows"
            )
        n = len(set(groups[test]))
        if abs(n - wanted) > 1:
            raise Hint(
                f"{n} of 20 groups test; a share of {share} would be {wanted} (of the groups, "
                "whatever their sizes, and True is for the test part)"
            )
        rows.append(test.sum() / n)
    if abs(np.mean(rows) - 10.5) > 1.5:
        raise Hint(
            f"the groups that test have {np.mean(rows):.0f} rows on average, all have 10.5: is "
            "every group as likely to be drawn, large or small?"
        )


def _by_seed(
    answer: Callable[[Int[np.ndarray, " row"], float, int], Bool[np.ndarray, " row"]],
    groups: Int[np.ndarray, " row"],
) -> None:
    drawn = [
        np.asarray(tried(answer, groups.copy(), 0.3, seed, told=f"groups, 0.3, {seed}"))
        for seed in (1, 1, 2, 3)
    ]
    if any(one.shape != groups.shape for one in drawn):
        raise Hint(
            f"a boolean for each row is asked for, {groups.shape}; yours is {drawn[0].shape}"
        )
    if not (drawn[0] == drawn[1]).all():
        raise Hint("the same seed gives two different splits")
    if (drawn[1] == drawn[2]).all() and (drawn[2] == drawn[3]).all():
        raise Hint("every seed gives the same split: draw the groups")

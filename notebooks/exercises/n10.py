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
    sizes = []
    for seed in range(8):
        test = np.asarray(tried(answer, groups.copy(), 0.3, seed, told=f"groups, 0.3, {seed}"))
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
        sizes.append(len(set(groups[test])))
    if abs(np.mean(sizes) - 6) > 1.5:
        raise Hint(
            f"{np.mean(sizes):.0f} of 20 groups test on average; .3 of them would be 6 (of the "
            "groups, whatever their sizes, and True is for the test part)"
        )
    _by_seed(answer, groups)
    pair = np.asarray(answer(np.array([4, 4, 9]), 0.1, 0))
    if pair.all() or not pair.any():
        raise Hint("with two groups and a share of .1 one part is empty; each needs a group")


def _by_seed(
    answer: Callable[[Int[np.ndarray, " row"], float, int], Bool[np.ndarray, " row"]],
    groups: Int[np.ndarray, " row"],
) -> None:
    drawn = [np.asarray(answer(groups.copy(), 0.3, seed)) for seed in (1, 1, 2, 3)]
    if not (drawn[0] == drawn[1]).all():
        raise Hint("the same seed gives two different splits")
    if (drawn[1] == drawn[2]).all() and (drawn[2] == drawn[3]).all():
        raise Hint("every seed gives the same split: draw the groups")

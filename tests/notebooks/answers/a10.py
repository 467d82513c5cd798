"""Answers to the exercises of notebook 10."""

import numpy as np

from tests.notebooks.answers import Answers


def rank(logits, answer, among):
    return int((logits[among] > logits[answer]).sum())


def split(groups, share, seed):
    names = np.unique(groups)
    n = min(len(names) - 1, max(1, round(share * len(names))))
    return np.isin(groups, np.random.default_rng(seed).choice(names, n, replace=False))


def rows_drawn(groups, share, seed):
    return np.random.default_rng(seed).random(len(groups)) < share


def the_last_groups(groups, share, seed):
    names = np.unique(groups)
    return np.isin(groups, names[-max(1, round(share * len(names))) :])


def by_their_rows(groups, share, seed):
    """Six groups, large ones first."""
    shuffled = np.random.default_rng(seed).permutation(groups)
    _, at = np.unique(shuffled, return_index=True)
    n = max(1, round(share * len(at)))
    return np.isin(groups, shuffled[np.sort(at)[:n]])


def possibly_empty(groups, share, seed):
    names = np.unique(groups)
    chosen = np.random.default_rng(seed).choice(names, int(share * len(names)), replace=False)
    return np.isin(groups, chosen)


ANSWERS = {
    "10.rank": Answers(
        right=((rank,),),
        wrong=(
            ((lambda logits, answer, among: rank(logits, answer, among) + 1,), "from 0"),
            ((lambda logits, answer, among: rank(-logits, answer, among),), "below"),
            ((lambda logits, answer, among: int((logits > logits[answer]).sum()),), "all tokens"),
            ((lambda logits, answer, among: among.index(answer),), "place in the list"),
            ((lambda logits, answer, among: logits[among] > logits[answer],), "count them"),
        ),
    ),
    "10.split": Answers(
        right=((split,),),
        wrong=(
            ((rows_drawn,), "both sides"),
            ((the_last_groups,), "every seed"),
            ((lambda groups, share, seed: ~split(groups, share, seed),), "would be 6"),
            ((possibly_empty,), "one part is empty"),
            ((lambda groups, share, seed: split(groups, 0.3, seed),), "would be 10"),
            ((by_their_rows,), "as likely to be drawn"),
            ((lambda groups, share, seed: np.flatnonzero(split(groups, share, seed)),), "boolean"),
        ),
    ),
}

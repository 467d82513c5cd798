"""Answers to the exercises of notebook 16."""

import numpy as np

from tests.notebooks.answers import Answers


def drawn(values, draws, seed, size=None, ends=(2.5, 97.5), replace=True):
    generator = np.random.default_rng(seed)
    size = size or len(values)
    means = [generator.choice(values, size, replace=replace).mean() for _ in range(draws)]
    return tuple(np.percentile(means, ends))


def normal(values, draws, seed):
    means = np.random.default_rng(seed).choice(values, (draws, len(values))).mean(1)
    return means.mean() - 1.96 * means.std(), means.mean() + 1.96 * means.std()


def discoveries(p, q):
    order = np.argsort(p)
    below = p[order] <= q * np.arange(1, len(p) + 1) / len(p)
    found = np.zeros(len(p), dtype=bool)
    if below.any():
        found[order[: np.flatnonzero(below)[-1] + 1]] = True
    return found


def own_line(p, q):
    return p <= q * (np.argsort(np.argsort(p)) + 1) / len(p)


ANSWERS = {
    "16.bootstrap": Answers(
        right=((drawn,),),
        wrong=(
            ((lambda v, n, s: tuple(np.percentile(v, (2.5, 97.5))),), "single values"),
            ((lambda v, n, s: drawn(v, n, s, replace=False),), "with replacement"),
            ((lambda v, n, s: drawn(v, n, s, ends=(5, 95)),), "2.5th"),
            ((lambda v, n, s: drawn(v, n, s, size=25),), "as many values"),
            ((lambda v, n, s: drawn(v, n, 0),), "every seed"),
            ((normal,), "skewed"),
            ((lambda v, n, s: drawn(v, n, s, ends=(3, 97)),), "nearly"),
        ),
    ),
    "16.discoveries": Answers(
        right=((discoveries,),),
        wrong=(
            ((lambda p, q: p <= q,), "nothing is corrected"),
            ((lambda p, q: p <= q / len(p),), "Bonferroni"),
            ((own_line,), "misses its own line"),
            ((lambda p, q: np.sort(discoveries(p, q))[::-1],), "sorted order"),
            ((lambda p, q: discoveries(p, 0.1),), "whatever q is"),
            ((lambda p, q: discoveries(p, q - 1e-9),), "on its line"),
        ),
    ),
}

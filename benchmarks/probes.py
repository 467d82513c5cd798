"""Probes of all layers beside scikit-learn's LogisticRegression, fitted layer by layer.

The same samples, the same strength, each as converged as its own test says; accuracies on held-out
rows are told and must lie within half a point of each other at every layer, on one square within a
point.
"""

from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.bench import Bench
from benchmarks.ratios import Row, once, ratio
from probes.fits import fit
from probes.othello.labels import OTHELLO_MINE, held_out_corpus
from probes.rows import Rows, Split, gather, split
from workbench.models import load

OURS, PEER = "workbench", "scikit-learn"
MODEL, STRENGTH = "othello-6x6", 1.0
_ITERATIONS = 1_000  # at its default of 100, scikit-learn stops 1 to 3 points early


def rows(bench: Bench) -> list[Row]:
    """Mine, theirs or empty on squares of Othello, at all layers: on many squares, and on one.

    The more questions there are of the same rows, the more is saved: one tells the least.
    """
    model = load(MODEL, device="cpu")
    corpus = held_out_corpus(model.vocabulary, 40 if bench.quick else 300, 0)
    found = gather(model, OTHELLO_MINE.label(corpus, model.vocabulary), "*.resid_post")
    return [row for every in (18 if bench.quick else 3, 36) for row in _race(bench, found, every)]


def _race(bench: Bench, found: Rows, every: int) -> list[Row]:
    some = _tasks(found, slice(0, None, every))
    parts = split(some.groups)
    n_layers, n = len(some.activations), len(some.tasks)
    squares = "one square" if n == 1 else f"{n} squares"
    case = f"probes, {int(parts.train.sum()):,} rows x {n_layers} layers, {squares}"
    ours, peer = _ours(some, parts), _peer(some, parts)
    worst = float(np.abs(ours - peer).max())
    bound = 0.01 if n == 1 else 0.005  # half a point of one square is nine of the tested rows
    assert bench.quick or worst < bound, f"{case}: accuracies differ by {worst:.3f}"
    contestants = {PEER: partial(_peer, some, parts), OURS: partial(_ours, some, parts)}
    seconds = bench.race(contestants, rounds=min(2, bench.rounds))
    return [
        ratio(case, seconds, PEER, OURS, ">= 10"),
        once(case, "accuracy", float(ours.mean()), float(peer.mean()), "share right"),
    ]


def _tasks(rows: Rows, tasks: slice) -> Rows:
    return replace(rows, labels=rows.labels[:, tasks], tasks=rows.tasks[tasks])


def _ours(rows: Rows, parts: Split) -> np.ndarray:
    """Accuracy by layer and task."""
    probes = fit("logistic", rows, parts, strength=STRENGTH)
    true = rows.labels[parts.test]
    return np.array(
        [
            (probe.predict(rows[site][parts.test]) == true).float().mean(0).numpy()
            for site, probe in probes.items()
        ]
    ).mean(1)


def _peer(rows: Rows, parts: Split) -> np.ndarray:
    found = []
    for x in rows.activations.values():
        train, test = x[parts.train].numpy(), x[parts.test].numpy()
        for task in range(rows.labels.shape[1]):
            labels = rows.labels[:, task].numpy()
            peer = LogisticRegression(C=STRENGTH, max_iter=_ITERATIONS)
            peer.fit(train, labels[parts.train.numpy()])
            found.append(float(peer.score(test, labels[parts.test.numpy()])))
    return np.array(found).reshape(len(rows.activations), -1).mean(1)

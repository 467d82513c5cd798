"""Answers to the exercises of notebook 11."""

import torch

from tests.notebooks.answers import Answers


def squares(W, b, x):
    return ((x @ W.T @ W + b).relu() - x) ** 2


def loss(W, b, x, importance):
    return (squares(W, b, x) * importance).sum(-1).mean()


def no_relu(W, b, x, importance):
    return ((x @ W.T @ W + b - x) ** 2 * importance).sum(-1).mean()


def costs(p, r):
    return r * (p / 3 - (p / 2) ** 2), p**2 * (1 + r) / 6


def overlaps(W):
    return ((W / W.norm(dim=0).clamp_min(1e-9)).T @ W) ** 2


def dimensionality(W):
    return (W**2).sum(0) / overlaps(W).sum(1).clamp_min(1e-9)


def divided(W):
    return (W**2).sum(0) / (((W / W.norm(dim=0)).T @ W) ** 2).sum(1)


def without_itself(W):
    own = (W**2).sum(0)
    return own / (overlaps(W).sum(1) - own)


def gaps(vectors):
    around = torch.atan2(vectors[1], vectors[0]).rad2deg().sort().values
    return torch.cat([around, around[:1] + 360]).diff()


def by_division(vectors):
    around = torch.atan2(vectors[1], vectors[0]).rad2deg().sort().values
    return (around.roll(-1) - around) % 360


def unsorted(vectors):
    around = torch.atan2(vectors[1], vectors[0]).rad2deg()
    return around.roll(-1) - around


ANSWERS = {
    "11.loss": Answers(
        right=((loss,),),
        wrong=(
            ((lambda W, b, x, importance: squares(W, b, x).sum(-1).mean(),), "importance"),
            ((lambda W, b, x, importance: (squares(W, b, x) * importance).mean(),), "sum over"),
            ((lambda W, b, x, importance: (squares(W, b, x) * importance).sum(),), "their mean"),
            ((lambda W, b, x, importance: loss(W, 0, x, importance),), "bias"),
            ((lambda W, b, x, importance: loss(W, b, x, importance**2),), "squared along"),
            ((no_relu,), "ReLU"),
            ((lambda W, b, x, importance: (x @ W @ W.T + b).mean(),), "raises RuntimeError"),
        ),
    ),
    "11.costs": Answers(
        right=((costs,),),
        wrong=(
            ((lambda p, r: costs(p, r)[::-1],), "other order"),
            ((lambda p, r: (r * p / 3, costs(p, r)[1]),), "the bias"),
            ((lambda p, r: (costs(p, 1)[0], costs(p, r)[1]),), "where is r"),
            ((lambda p, r: (costs(p, r)[0], p**2 / 6),), "you count one"),
            ((lambda p, r: (costs(p, r)[0], p * (1 + r) / 6),), "both are present"),
            ((lambda p, r: "pair" if p < 0.5 else "drop",), "two numbers"),
        ),
    ),
    "11.dimensionality": Answers(
        right=((dimensionality,),),
        wrong=(
            ((divided,), "column of zeros"),
            ((without_itself,), "itself included"),
            ((lambda W: dimensionality(W.T),), "columns"),
            ((lambda W: (W**2).sum(0) / overlaps(W).sum(0),), "keeps its length"),
            ((lambda W: dimensionality(W / W.norm(dim=0)),), "keeps its length"),
            ((lambda W: (W**2).sum(0) / ((W.T @ W) ** 2).sum(1),), "length 1"),
        ),
    ),
    "11.angles": Answers(
        right=((gaps,), (by_division,)),
        wrong=(
            ((lambda vectors: gaps(vectors)[:-1],), "around to the first"),
            ((lambda vectors: gaps(vectors).deg2rad(),), "radians"),
            ((unsorted,), "negative"),
            ((lambda vectors: torch.full((vectors.shape[1],), 360 / vectors.shape[1]),), "values"),
            ((lambda vectors: gaps(vectors.T),), "raises|gaps"),
        ),
    ),
}

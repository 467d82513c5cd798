"""Answers to the exercises of notebook 12."""

import numpy as np

from tests.notebooks.answers import Answers


def solu(x):
    shares = (x - x.max(-1, keepdim=True).values).exp()
    return x * shares / shares.sum(-1, keepdim=True)


def solu_in_place(x):
    shares = x.softmax(-1)
    x *= shares
    return x


def solu_in_doubles(x):
    return solu(x.double())


def by_the_largest_of_all(x):
    shares = (x - x.max()).exp()
    return x * shares / shares.sum(-1, keepdim=True)


def consistency(values, tokens, k):
    return tokens[values.topk(k).indices].unique(return_counts=True)[1].max().item() / k


def differences(first, second, draws, seed):
    generator = np.random.default_rng(seed)
    both, n = np.concatenate([first, second]), len(first)
    mixed = generator.permuted(np.tile(both, (draws, 1)), axis=1)
    return mixed[:, :n].mean(1) - mixed[:, n:].mean(1), first.mean() - second.mean()


def permutation_p(first, second, draws, seed):
    mixed, seen = differences(first, second, draws, seed)
    return (1 + (mixed >= seen - 1e-12).sum()) / (1 + draws)


def without_the_seen(first, second, draws, seed):
    mixed, seen = differences(first, second, draws, seed)
    return (mixed >= seen).mean()


def smaller(first, second, draws, seed):
    mixed, seen = differences(first, second, draws, seed)
    return (1 + (mixed <= seen).sum()) / (1 + draws)


def larger(first, second, draws, seed):
    mixed, seen = differences(first, second, draws, seed)
    return (1 + (mixed > seen + 1e-12).sum()) / (1 + draws)


def two_sided(first, second, draws, seed):
    mixed, seen = differences(first, second, draws, seed)
    return (1 + (abs(mixed) >= abs(seen) - 1e-12).sum()) / (1 + draws)


ANSWERS = {
    "12.solu": Answers(
        right=((solu,), (lambda x: x * x.softmax(-1),), (solu_in_place,), (solu_in_doubles,)),
        wrong=(
            ((lambda x: x.softmax(-1),), "softmax alone"),
            ((lambda x: x * x.softmax(0),), "over the rows"),
            ((lambda x: x * x.exp() / x.exp().sum(-1, keepdim=True),), "nan"),
            ((by_the_largest_of_all,), "nan"),
            ((lambda x: x * x.sigmoid(),), "one neuron at a time"),
        ),
    ),
    "12.consistency": Answers(
        right=((consistency,),),
        wrong=(
            ((lambda v, t, k: consistency(v, t, k) * k,), "a count"),
            ((lambda v, t, k: consistency(-v, t, k),), "weakest"),
            (
                (lambda v, t, k: (t[v.topk(k).indices] == t.mode().values).float().mean(),),
                "overall",
            ),
            ((lambda v, t, k: t[v.topk(k).indices],), "one number"),
            ((lambda v, t, k: t.unique(return_counts=True)[1].max().item() / len(t),), "all rows"),
            ((lambda v, t, k: consistency(-v.new_tensor(range(len(v))), t, k),), "first rows"),
        ),
    ),
    "12.permutation": Answers(
        right=((permutation_p,),),
        wrong=(
            ((without_the_seen,), "counts as one"),
            ((smaller,), "is smaller"),
            ((two_sided,), "one side"),
            ((larger,), "the same difference"),
            ((lambda first, second, draws, seed: permutation_p(first, second, draws, 0),), "seed"),
            ((lambda first, second, draws, seed: first.mean() - second.mean(),), "between 0 and 1"),
        ),
    ),
}

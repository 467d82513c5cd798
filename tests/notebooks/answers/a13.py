"""Answers to the exercises of notebook 13."""

import torch

from tests.notebooks.answers import Answers


def scattered(before, k):
    largest = before.topk(k, dim=-1)
    return torch.zeros_like(before).scatter(-1, largest.indices, largest.values)


def encode(x, W_enc, b_enc, b_dec, k):
    return scattered((x - b_dec) @ W_enc.T + b_enc, k).relu()


def cosines(truth, found):
    one, other = (rows / rows.norm(dim=1, keepdim=True) for rows in (truth, found))
    return one @ other.T


def fvu(x, made):
    return (x - made).square().sum() / (x - x.mean(0)).square().sum()


ANSWERS = {
    "13.encode": Answers(
        right=((encode,),),
        wrong=(
            ((lambda x, W, b, c, k: scattered((x - c) @ W.T + b, k),), "negative"),
            ((lambda x, W, b, c, k: scattered(x @ W.T + b, k).relu(),), "b_dec is not"),
            ((lambda x, W, b, c, k: ((x - c) @ W.T + b).relu(),), "only k of a row"),
            ((lambda x, W, b, c, k: ((x - c) @ W.T + b).topk(k).values.relu(),), "put them back"),
        ),
    ),
    "13.mmcs": Answers(
        right=((lambda truth, found: cosines(truth, found).max(1).values.mean(),),),
        wrong=(
            ((lambda truth, found: cosines(truth, found).max(0).values.mean(),), "each true one"),
            ((lambda truth, found: cosines(truth, found).mean(),), "mean of all"),
            ((lambda truth, found: (truth @ found.T).max(1).values.mean(),), "lengths count"),
            ((lambda truth, found: cosines(truth, found).abs().max(1).values.mean(),), "opposite"),
        ),
    ),
    "13.fvu": Answers(
        right=((fvu,),),
        wrong=(
            ((lambda x, made: (x - made).square().sum() / x.square().sum(),), "mean is to be"),
            ((lambda x, made: (x - made).square().mean(),), "divide by the variance"),
            ((lambda x, made: 1 - fvu(x, made),), "explained part"),
            ((lambda x, made: fvu(x, made).sqrt(),), "squares are asked"),
        ),
    ),
}

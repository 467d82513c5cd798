"""Answers to the exercises of notebook 07."""

import math

import torch

from tests.notebooks.answers import Answers


def cache(sizes, n_tokens, n_texts, n_bytes):
    return 2 * sizes.n_layers * sizes.n_kv_heads * sizes.d_head * n_tokens * n_texts * n_bytes


def all_heads(sizes, *more):
    return cache(sizes, *more) // sizes.n_kv_heads * sizes.n_heads


def quantise(weight, dim=1, largest=127, cut=False):
    scales = weight.abs().amax(dim, keepdim=True) / largest
    steps = weight / scales
    return (steps if cut else steps.round()).to(torch.int8), scales


def one_scale(weight):
    scale = weight.abs().max() / 127
    return (weight / scale).round().to(torch.int8), scale


def no_axis(weight):
    codes, scales = quantise(weight)
    return codes, scales[:, 0]


def wraps(weight):
    scales = weight.abs().amax(1, keepdim=True) / 128
    return (weight / scales).round().to(torch.int32).to(torch.int8), scales


def with_sign(weight):
    scales = weight.amax(1, keepdim=True) / 127
    return (weight / scales).round().clamp(-127, 127).to(torch.int8), scales


def online(blocks, shrink=True, output_too=True, divide=True):
    largest, total, output = -math.inf, 0.0, 0.0
    for scores, values in blocks:
        now = torch.as_tensor(max(largest, float(scores.max())))
        old = (torch.tensor(largest) - now).exp() if shrink else 1.0
        weights = (scores - now).exp()
        total = total * old + weights.sum()
        output = output * (old if output_too else 1.0) + weights @ values
        largest = float(now)
    return output / total if divide else output


def own_maximum(blocks):
    total, output = 0.0, 0.0
    for scores, values in blocks:
        weights = (scores - scores.max()).exp()
        total, output = total + weights.sum(), output + weights @ values
    return output / total


def hoard(blocks):
    scores, values = zip(*blocks, strict=True)
    return torch.cat(scores).softmax(0) @ torch.cat(values)


def copies(blocks):
    return hoard([(scores.clone(), values.clone()) for scores, values in blocks])


def unsafe(blocks):
    total, output = 0.0, 0.0
    for scores, values in blocks:
        total, output = total + scores.exp().sum(), output + scores.exp() @ values
    return output / total


def averaged(blocks):
    return torch.stack([scores.softmax(0) @ values for scores, values in blocks]).mean(0)


def last(blocks):
    return [scores.softmax(0) @ values for scores, values in blocks][-1]


def split(compute, a, b, alpha, beta, each=6):
    n = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    n *= (compute / each) ** (beta / (alpha + beta))
    return n, compute / each / n


def searched(compute, a, b, alpha, beta):
    tried = [10 ** (i / 2000) for i in range(4000, 28_000)]
    n = min(tried, key=lambda n: a / n**alpha + b / (compute / 6 / n) ** beta)
    return n, compute / 6 / n


def no_exponents(compute, a, b, alpha, beta):
    n = (a / b) ** (1 / (alpha + beta)) * (compute / 6) ** (beta / (alpha + beta))
    return n, compute / 6 / n


def half_and_half(compute, a, b, alpha, beta):
    return (compute / 6) ** 0.5, (compute / 6) ** 0.5


def by_the_rule(compute, *fit):
    n = (compute / 120) ** 0.5
    return n, 20 * n


ANSWERS = {
    "07.cache": Answers(
        right=((cache,),),
        wrong=(
            ((all_heads,), "queries have more heads"),
            ((lambda *given: cache(*given) // 2,), "and values too"),
            ((lambda sizes, *more: cache(sizes, *more) // sizes.n_layers,), "one layer's"),
            ((lambda s, t, n, b: cache(s, t, 1, b),), "one text's"),
            ((lambda s, t, n, b: cache(s, t, n, 1),), "counts numbers"),
            ((lambda s, t, n, b: cache(s, t * t, n, b),), "no table"),
            ((lambda s, t, n, b: 23_040 * t,), "other values"),
        ),
    ),
    "07.quantise": Answers(
        right=((quantise,),),
        wrong=(
            ((one_scale,), "each row is to have its own"),
            ((lambda weight: quantise(weight, dim=0),), "Which axis"),
            ((lambda weight: quantise(weight, cut=True),), "to the nearest, or cut"),
            ((no_axis,), "lost an axis"),
            ((wraps,), "goes round"),
            ((with_sign,), "taken with its sign"),
            ((lambda weight: quantise(weight, largest=100),), "your column of scales"),
            ((lambda weight: quantise(weight)[0],), "two things"),
            ((lambda weight: (quantise(weight)[0].float(), quantise(weight)[1]),), "of int8"),
        ),
    ),
    "07.online": Answers(
        right=((online,),),
        wrong=(
            ((own_maximum,), "under the old one"),
            ((lambda blocks: online(blocks, shrink=False),), "have to be scaled|under the old one"),
            ((lambda blocks: online(blocks, output_too=False),), "both of them"),
            ((lambda blocks: online(blocks, divide=False),), "not divided"),
            ((hoard,), "memory is gone"),
            ((copies,), "grows with the text"),
            ((lambda blocks: torch.as_tensor(own_maximum(blocks)).double(),), "under the old one"),
            ((unsafe,), "overflow"),
            ((averaged,), "do not weigh the same"),
            ((last,), "last block"),
        ),
    ),
    "07.split": Answers(
        right=((split,), (searched,), (lambda *given: torch.tensor(split(*given)),)),
        wrong=(
            ((lambda *given: split(*given)[::-1],), "exchanged"),
            ((lambda *given: split(*given, each=1),), "how many operations"),
            ((lambda c, a, b, x, y: split(c, b, a, y, x),), "A and alpha are theirs"),
            ((no_exponents,), "derivative has a factor"),
            ((half_and_half,), "lower loss"),
            ((by_the_rule,), "rule of 20"),
            ((lambda *given: split(*given, each=2),), "times the compute"),
        ),
    ),
}

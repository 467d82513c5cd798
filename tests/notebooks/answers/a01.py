"""Answers to the exercises of notebook 01."""

from itertools import zip_longest

import numpy as np
import torch
from einops import einsum, rearrange, repeat

from tests.notebooks.answers import Answers


def broadcast(a, b):
    made = []
    for x, y in zip_longest(reversed(a), reversed(b), fillvalue=1):
        if x != y and 1 not in (x, y):
            return False
        made.append(y if x == 1 else x)
    return tuple(reversed(made))


def broadcast_by_numpy(a, b):
    try:
        return list(np.broadcast_shapes(a, b))
    except ValueError:
        return False


def broadcast_from_the_left(a, b):
    made = []
    for x, y in zip_longest(a, b, fillvalue=1):
        if x != y and 1 not in (x, y):
            return False
        made.append(max(x, y))
    return tuple(made)


def broadcast_the_larger(a, b):
    pairs = list(zip_longest(reversed(a), reversed(b), fillvalue=1))
    return tuple(max(pair) for pair in reversed(pairs))


def broadcast_with_max(a, b):
    return broadcast(a, b) and broadcast_the_larger(a, b)


def broadcast_by_zip(a, b):
    made = []
    for x, y in zip(reversed(a), reversed(b), strict=False):
        if x != y and 1 not in (x, y):
            return False
        made.append(y if x == 1 else x)
    return tuple(reversed(made))


def broadcast_backwards(a, b):
    made = broadcast(a, b)
    return made and made[::-1]


def softmax(x, dim):
    powers = (x - x.amax(dim, keepdim=True)).exp()
    return powers / powers.sum(dim, keepdim=True)


def softmax_by_logs(x, dim):
    return (x - x.logsumexp(dim, keepdim=True)).exp()


def softmax_naively(x, dim):
    return x.exp() / x.exp().sum(dim, keepdim=True)


def softmax_by_the_largest_of_all(x, dim):
    powers = (x - x.max()).exp()
    return powers / powers.sum(dim, keepdim=True)


def softmax_without_keepdim(x, dim):
    powers = (x - x.amax(dim, keepdim=True)).exp()
    return powers / powers.sum(dim)


def softmax_of_the_last(x, dim):
    return softmax(x, -1)


def softmax_over_all(x, dim):
    powers = (x - x.max()).exp()
    return powers / powers.sum()


def softmax_in_place(x, dim):
    x -= x.amax(dim, keepdim=True)
    return softmax(x, dim)


def gradient(f, x, step):
    slopes = []
    for i in range(len(x)):
        move = torch.zeros_like(x)
        move[i] = step
        slopes.append((f(x + move) - f(x - move)) / (2 * step))
    return torch.stack(slopes)


def gradient_by_rows(f, x, step):
    moves = step * torch.eye(len(x), dtype=x.dtype)
    return torch.stack([(f(x + move) - f(x - move)) / (2 * step) for move in moves])


def gradient_forwards(f, x, step):
    moves = step * torch.eye(len(x), dtype=x.dtype)
    return torch.stack([(f(x + move) - f(x)) / step for move in moves])


def gradient_without_the_two(f, x, step):
    return 2 * gradient(f, x, step)


def gradient_undivided(f, x, step):
    return 2 * step * gradient(f, x, step)


def gradient_all_at_once(f, x, step):
    return (f(x + step) - f(x - step)) / (2 * step)


def gradient_in_place(f, x, step):
    slopes = torch.zeros_like(x)
    for i in range(len(x)):
        x[i] += step
        slopes[i] = f(x)
        x[i] -= 2 * step
        slopes[i] = (slopes[i] - f(x)) / (2 * step)
    return slopes


def attention(
    q, k, scale=None, mask=lambda one: one.tril(), fill=-torch.inf, dim=-1, heads="(kv group)"
):
    own = repeat(k, f"key kv d_head -> key {heads} d_head", group=q.shape[1] // k.shape[1])
    scores = einsum(q, own, "query head d_head, key head d_head -> head query key")
    scores = scores / (scale or q.shape[-1] ** 0.5)
    causal = mask(torch.ones(len(q), len(q))).bool()
    return scores.masked_fill(~causal, fill).softmax(dim)


def attention_by_groups(q, k):
    grouped = rearrange(q, "query (kv group) d_head -> query kv group d_head", kv=k.shape[1])
    scores = einsum(grouped, k, "query kv group d, key kv d -> kv group query key")
    later = torch.ones(len(q), len(q)).triu(1).bool()
    weights = (scores / q.shape[-1] ** 0.5).masked_fill(later, -torch.inf).softmax(-1)
    return rearrange(weights, "kv group query key -> (kv group) query key")


def but(**changed):
    return lambda q, k: attention(q, k, **changed)


ANSWERS = {
    "01.broadcast": Answers(
        right=[(broadcast,), (broadcast_by_numpy,)],
        wrong=[
            ((broadcast_from_the_left,), r"the two fit together|begins on the left"),
            ((broadcast_the_larger,), r"they do not fit|begins on the left"),
            ((broadcast_by_zip,), r"as many axes as the longer"),
            ((broadcast_backwards,), r"a missing axis counts as 1"),
            ((broadcast_with_max,), r"an axis of length 0"),
            ((lambda a, b: False,), r"but the two fit together"),
            ((lambda a, b: str(a),), r"a shape or False is asked for"),
            ((lambda a, b: [].clear(),), r"returns nothing"),
        ],
    ),
    "01.softmax": Answers(
        right=[(softmax,), (softmax_by_logs,), (torch.softmax,)],
        wrong=[
            ((softmax_naively,), r"values that are not finite"),
            ((softmax_by_the_largest_of_all,), r"must it be the same for each"),
            ((softmax_without_keepdim,), r"does the divisor still have that axis"),
            ((softmax_of_the_last,), r"along dim 0 are not 1"),
            ((softmax_over_all,), r"are not 1"),
            ((softmax_in_place,), r"changes the tensor that it is given"),
            ((lambda x, dim: x.sum(dim),), r"it should have"),
            ((lambda x, dim: torch.full_like(x, 1 / x.shape[dim]),), r"other values"),
        ],
    ),
    "01.gradient": Answers(
        right=[(gradient,), (gradient_by_rows,)],
        wrong=[
            ((gradient_forwards,), r"one side only"),
            ((gradient_without_the_two,), r"how far apart are the two points"),
            ((gradient_undivided,), r"not yet a slope"),
            ((gradient_all_at_once,), r"one entry of x at a time"),
            ((gradient_in_place,), r"x is changed afterwards"),
            ((lambda f, x, step: -gradient(f, x, step),), r"the sign is wrong"),
            ((lambda f, x, step: torch.ones_like(x),), r"other values"),
        ],
    ),
    "01.attention": Answers(
        right=[(attention,), (attention_by_groups,)],
        wrong=[
            ((but(scale=1),), r"the scores are not scaled"),
            ((lambda q, k: attention(q, k, scale=q.shape[-1]),), r"the root of d_head"),
            ((but(dim=-2),), r"softmax along which axis"),
            ((but(mask=torch.ones_like),), r"where is the mask"),
            ((but(mask=lambda one: one.triu()),), r"the wrong way round"),
            ((but(fill=0),), r"a score of 0 still gets weight"),
            ((but(heads="(group kv)"),), r"which share now"),
            ((lambda q, k: attention(q, k).mT,), r"queries are to be rows"),
            ((lambda q, k: attention(q, k).sum(0),), r"it should have"),
        ],
    ),
}

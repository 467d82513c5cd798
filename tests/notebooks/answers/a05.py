"""Answers to the exercises of notebook 05."""

import torch

from tests.notebooks.answers import Answers


def block(x, norm_1, attention, norm_2, mlp):
    x = x + attention(norm_1(x))
    return x + mlp(norm_2(x))


def block_in_one(x, norm_1, attention, norm_2, mlp):
    mid = attention(norm_1(x)) + x
    return mid + mlp(norm_2(mid))


def post_norm(x, norm_1, attention, norm_2, mlp):
    x = norm_1(x + attention(x))
    return norm_2(x + mlp(x))


def parallel(x, norm_1, attention, norm_2, mlp):
    return x + attention(norm_1(x)) + mlp(norm_2(x))


def chained(x, norm_1, attention, norm_2, mlp):
    return mlp(norm_2(attention(norm_1(x))))


def from_the_start(x, norm_1, attention, norm_2, mlp):
    mid = x + attention(norm_1(x))
    return x + mlp(norm_2(mid))


def one_norm(x, norm_1, attention, norm_2, mlp):
    x = x + attention(norm_1(x))
    return x + mlp(norm_1(x))


def without_norms(x, norm_1, attention, norm_2, mlp):
    x = x + attention(x)
    return x + mlp(x)


def normed_stream(x, norm_1, attention, norm_2, mlp):
    x = norm_1(x)
    x = x + attention(x)
    x = norm_2(x)
    return x + mlp(x)


def in_place(x, norm_1, attention, norm_2, mlp):
    x += attention(norm_1(x))
    x += mlp(norm_2(x))
    return x


def rms_norm(x, weight, eps):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def rms_by_rsqrt(x, weight, eps):
    return weight * x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps)


def layer_norm(x, weight, eps):
    x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def over_one_number(x, weight, eps):
    return x / (x.square().mean() + eps).sqrt() * weight


def without_keepdim(x, weight, eps):
    square = x.square().mean(-1)
    return x / (square + eps).sqrt() * weight


def keepdim_hidden_by_a_square(x, weight, eps):
    square = x.square().mean(-1)
    if x.shape[-1] != x.shape[-2:][0]:
        square = square[..., None]
    return x / (square + eps).sqrt() * weight


def over_positions(x, weight, eps):
    return x / (x.square().mean(-2, keepdim=True) + eps).sqrt() * weight


def mixture(x, W_router, experts, k):
    best = (x @ W_router).topk(k, dim=-1)
    weights, mixed = best.values.softmax(-1), torch.zeros_like(x)
    for number, expert in enumerate(experts):
        tokens, rank = (best.indices == number).nonzero(as_tuple=True)
        mixed[tokens] += weights[tokens, rank, None] * expert(x[tokens])
    return mixed


def token_by_token(x, W_router, experts, k):
    mixed = torch.zeros_like(x)
    for place, row in enumerate(x):
        best = (row @ W_router).topk(k)
        for weight, number in zip(best.values.softmax(-1), best.indices.tolist(), strict=True):
            mixed[place] += weight * experts[number](row)
    return mixed


def dense(x, W_router, experts, k):
    weights = (x @ W_router).softmax(-1)
    return sum(weights[:, [i]] * expert(x) for i, expert in enumerate(experts))


def weighted(x, experts, weights):
    return sum(weights[:, [i]] * expert(x) for i, expert in enumerate(experts))


def of_the_best(weights, scores, k):
    return torch.zeros_like(scores).scatter(-1, scores.topk(k).indices, weights)


def all_run(x, W_router, experts, k):
    scores = x @ W_router
    return weighted(x, experts, of_the_best(scores.topk(k).values.softmax(-1), scores, k))


def not_scaled(x, W_router, experts, k):
    scores = x @ W_router
    shares = scores.softmax(-1)
    return weighted(x, experts, of_the_best(shares.topk(k).values, scores, k))


def summed(x, W_router, experts, k):
    scores = x @ W_router
    return weighted(x, experts, of_the_best(torch.ones(len(x), k), scores, k))


def averaged(x, W_router, experts, k):
    return summed(x, W_router, experts, k) / k


def by_scores(x, W_router, experts, k):
    scores = x @ W_router
    return weighted(x, experts, of_the_best(scores.topk(k).values, scores, k))


def the_worst(x, W_router, experts, k):
    return mixture(x, -W_router, experts, k)


def the_same_for_all(x, W_router, experts, k):
    scores = x @ W_router
    best = scores.mean(0).topk(k).indices
    weights = scores[:, best].softmax(-1)
    return sum(weights[:, [i]] * experts[j](x) for i, j in enumerate(best.tolist()))


def in_other_order(x, W_router, experts, k):
    best = (x @ W_router).topk(k, dim=-1)
    weights, numbers = best.values.softmax(-1), best.indices.sort(-1).values
    mixed = torch.zeros_like(x)
    for number, expert in enumerate(experts):
        tokens, rank = (numbers == number).nonzero(as_tuple=True)
        mixed[tokens] += weights[tokens, rank, None] * expert(x[tokens])
    return mixed


def over_tokens(x, W_router, experts, k):
    scores = x @ W_router
    shares = scores.softmax(0).gather(-1, scores.topk(k).indices)
    return weighted(x, experts, of_the_best(shares, scores, k))


def prefix(n_prefix, n):
    allowed = torch.ones(n, n, dtype=torch.bool).tril()
    allowed[:, :n_prefix] = True
    return allowed


def prefix_by_places(n_prefix, n):
    places = torch.arange(n)
    return (places[None] <= places[:, None]) | (places[None] < n_prefix)


def causal(n_prefix, n):
    return torch.ones(n, n, dtype=torch.bool).tril()


def without_itself(n_prefix, n):
    allowed = torch.ones(n, n, dtype=torch.bool).tril(-1)
    allowed[:, :n_prefix] = True
    return allowed


def only_the_square(n_prefix, n):
    allowed = torch.eye(n, dtype=torch.bool)
    allowed[:n_prefix, :n_prefix] = True
    return allowed


ANSWERS = {
    "05.block": Answers(
        right=[(block,), (block_in_one,)],
        wrong=[
            ((post_norm,), r"that is post-norm"),
            ((parallel,), r"the parallel form"),
            ((chained,), r"the stream is lost"),
            ((from_the_start,), r"the second sum does not start"),
            ((one_norm,), r"the same norm is used twice"),
            ((without_norms,), r"read the stream as it is"),
            ((normed_stream,), r"the stream itself goes by the norm"),
            ((in_place,), r"changes the stream that it is given"),
            ((lambda x, norm_1, attention, norm_2, mlp: x + attention(norm_1(x)),), r"this ends"),
            ((lambda x, *parts: x,), r"right shape, but other values"),
        ],
    ),
    "05.rms_norm": Answers(
        right=[(rms_norm,), (rms_by_rsqrt,)],
        wrong=[
            ((layer_norm,), r"that is LayerNorm"),
            ((lambda x, w, eps: rms_norm(x, 1, eps),), r"the weight has no effect"),
            ((lambda x, w, eps: x / (x.norm(dim=-1, keepdim=True)) * w,), r"that is the length"),
            (
                (lambda x, w, eps: x / (x.square().mean(-1, keepdim=True).sqrt() + eps) * w,),
                r"eps belongs under the root",
            ),
            (
                (lambda x, w, eps: x / x.square().mean(-1, keepdim=True).sqrt() * w,),
                r"eps (has no effect|belongs under)",
            ),
            (
                (lambda x, w, eps: x / (x.square().mean(-1, keepdim=True) + eps) * w,),
                r"a root is missing",
            ),
            (
                (lambda x, w, eps: x / (x.var(-1, keepdim=True, correction=0) + eps).sqrt() * w,),
                r"the spread around the mean",
            ),
            ((over_one_number,), r"each position has its own"),
            ((without_keepdim,), r"raises RuntimeError"),
            ((keepdim_hidden_by_a_square,), r"a square shape hid it"),
            ((over_positions,), r"the mean runs over positions"),
        ],
    ),
    "05.mixture": Answers(
        right=[(mixture,), (token_by_token,)],
        wrong=[
            ((dense,), r"all experts take part"),
            ((all_run,), r"the result is right, but .* only the tokens that chose it"),
            ((not_scaled,), r"do not sum to 1"),
            ((summed,), r"without weights"),
            ((averaged,), r"count alike"),
            ((by_scores,), r"are no weights"),
            ((the_worst,), r"the smallest scores"),
            ((the_same_for_all,), r"all tokens get the same experts"),
            ((over_tokens,), r"runs over the tokens"),
            ((in_other_order,), r"in different orders"),
            ((lambda x, router, experts, k: x,), r"right shape, but other values"),
        ],
    ),
    "05.prefix": Answers(
        right=[(prefix,), (prefix_by_places,)],
        wrong=[
            ((causal,), r"that is a decoder's mask"),
            ((lambda n_prefix, n: prefix(n_prefix, n).T,), r"rows are queries"),
            ((lambda n_prefix, n: ~prefix(n_prefix, n),), r"inside out"),
            ((lambda n_prefix, n: prefix(n_prefix + 1, n),), r"one too long"),
            ((lambda n_prefix, n: prefix(n_prefix - 1, n),), r"one too short|itself"),
            ((without_itself,), r"may not look at itself"),
            ((lambda n_prefix, n: torch.ones(n, n, dtype=torch.bool),), r"an encoder's mask"),
            ((only_the_square,), r"must see all of the prefix"),
            ((lambda n_prefix, n: prefix(n_prefix, n).float(),), r"True and False"),
        ],
    ),
}

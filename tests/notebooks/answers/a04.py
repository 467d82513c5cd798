"""Answers to the exercises of notebook 04."""

import numpy as np
import torch

from tests.notebooks.answers import Answers


def analogy(W_E, a, b, c):
    near = torch.cosine_similarity(W_E, (W_E[b] - W_E[a] + W_E[c])[None])
    near[[a, b, c]] = -torch.inf
    return int(near.argmax())


def analogy_by_units(W_E, a, b, c):
    scores = (W_E / W_E.norm(dim=-1, keepdim=True)) @ (W_E[c] - W_E[a] + W_E[b])
    return next(one for one in scores.argsort(descending=True).tolist() if one not in (a, b, c))


def analogy_in_numpy(W_E, a, b, c):
    rows = W_E.numpy()
    goal = rows[b] - rows[a] + rows[c]
    scores = rows @ goal / np.linalg.norm(rows, axis=1)
    scores[[a, b, c]] = -np.inf
    return scores.argmax()  # np.int64


def in_place(W_E, a, b, c):
    goal = W_E[b] - W_E[a] + W_E[c]
    W_E /= W_E.norm(dim=-1, keepdim=True)
    scores = W_E @ goal
    scores[[a, b, c]] = -torch.inf
    return int(scores.argmax())


def zero_instead(W_E, a, b, c):
    near = torch.cosine_similarity(W_E, (W_E[b] - W_E[a] + W_E[c])[None])
    near[[a, b, c]] = 0
    return int(near.argmax())


def with_inputs(W_E, a, b, c):
    return int(torch.cosine_similarity(W_E, (W_E[b] - W_E[a] + W_E[c])[None]).argmax())


def without_c_alone(W_E, a, b, c):
    near = torch.cosine_similarity(W_E, (W_E[b] - W_E[a] + W_E[c])[None])
    near[c] = -torch.inf
    return int(near.argmax())


def by_product(W_E, a, b, c):
    scores = W_E @ (W_E[b] - W_E[a] + W_E[c])
    scores[[a, b, c]] = -torch.inf
    return int(scores.argmax())


def by_distance(W_E, a, b, c):
    apart = (W_E - (W_E[b] - W_E[a] + W_E[c])).norm(dim=-1)
    apart[[a, b, c]] = torch.inf
    return int(apart.argmin())


def next_to_c(W_E, a, b, c):
    near = torch.cosine_similarity(W_E, W_E[c][None])
    near[[a, b, c]] = -torch.inf
    return int(near.argmax())


def table(n, d_model):
    angles = torch.arange(n)[:, None] * 10_000 ** (-torch.arange(0, d_model, 2) / d_model)
    made = torch.empty(n, d_model)
    made[:, ::2], made[:, 1::2] = angles.sin(), angles.cos()
    return made


def table_by_logs(n, d_model):
    speeds = torch.exp(-torch.arange(0, d_model, 2) * torch.log(torch.tensor(1e4)) / d_model)
    angles = torch.einsum("n,p->np", torch.arange(n).float(), speeds)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(n, d_model)


def table_of(angles):
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def too_slow(n, d_model):
    return table_of(torch.arange(n)[:, None] * 10_000 ** (-torch.arange(d_model // 2) / d_model))


def growing(n, d_model):
    speeds = 10_000 ** (torch.arange(0, d_model, 2) / d_model)
    return table_of(torch.arange(n)[:, None] * speeds)


def from_one(n, d_model):
    return table(n + 1, d_model)[1:]


def in_halves(n, d_model):
    made = table(n, d_model)
    return torch.cat([made[:, ::2], made[:, 1::2]], dim=-1)


def by_columns(n, d_model):
    angles = torch.arange(n)[:, None] * 10_000 ** (-torch.arange(d_model) / d_model)
    return torch.where(torch.arange(d_model) % 2 == 0, angles.sin(), angles.cos())


def swapped(n, d_model):
    angles = torch.arange(n)[:, None] * 10_000 ** (-torch.arange(0, d_model, 2) / d_model)
    return torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(1)


def speeds_of(x, theta):
    return theta ** (-torch.arange(0, x.shape[-1], 2) / x.shape[-1])


def turned(x, angles):
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def rotate(x, positions, theta):
    return turned(x, positions[:, None] * speeds_of(x, theta))


def rotate_by_complex(x, positions, theta):
    first, second = x.chunk(2, dim=-1)
    angles = positions[:, None] * speeds_of(x, theta)
    made = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([made.real, made.imag], dim=-1)


def backwards(x, positions, theta):
    return rotate(x, -positions, theta)


def neighbours(x, positions, theta):
    angles = positions[:, None] * speeds_of(x, theta)
    first, second = x[:, ::2], x[:, 1::2]
    cos, sin = angles.cos(), angles.sin()
    made = torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return made.flatten(1)


def by_rows(x, positions, theta):
    return rotate(x, torch.arange(len(x)), theta)


def one_theta(x, positions, theta):
    return rotate(x, positions, 10_000.0)


def one_speed(x, positions, theta):
    return turned(x, positions[:, None].float().expand(-1, x.shape[-1] // 2))


def slower(x, positions, theta):
    n_pairs = x.shape[-1] // 2
    return turned(x, positions[:, None] * theta ** (-torch.arange(n_pairs) / x.shape[-1]))


def wrong_sign(x, positions, theta):
    first, second = x.chunk(2, dim=-1)
    angles = positions[:, None] * speeds_of(x, theta)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos + second * sin, first * sin + second * cos], dim=-1)


def later_by_one(x, positions, theta):
    return rotate(x, positions + 1, theta)


ANSWERS = {
    "04.analogy": Answers(
        right=[(analogy,), (analogy_by_units,), (analogy_in_numpy,)],
        wrong=[
            ((with_inputs,), r"one of the three that were given"),
            ((without_c_alone,), r"one of the three that were given"),
            ((lambda W_E, a, b, c: analogy(W_E, b, a, c),), r"points the other way"),
            ((in_place,), r"changes the table"),
            ((zero_instead,), r"all other rows are below 0"),
            ((by_product,), r"favours long rows"),
            ((by_distance,), r"favours short rows"),
            ((next_to_c,), r"what is nearest to c"),
            ((lambda W_E, a, b, c: W_E[b] - W_E[a] + W_E[c],), r"a token's id is asked for"),
            ((lambda W_E, a, b, c: 0,), r"one of the three that were given"),
        ],
    ),
    "04.sinusoidal": Answers(
        right=[(table,), (table_by_logs,)],
        wrong=[
            ((too_slow,), r"fall too slowly"),
            ((growing,), r"the speeds grow"),
            ((from_one,), r"positions begin with 0"),
            ((in_halves,), r"all sines first"),
            ((by_columns,), r"each column has a speed of its own"),
            ((swapped,), r"have changed places"),
            ((lambda n, d_model: table(n, d_model).T,), r"has the shape"),
            ((lambda n, d_model: torch.zeros(n, d_model),), r"other values"),
        ],
    ),
    "04.rotate": Answers(
        right=[(rotate,), (rotate_by_complex,)],
        wrong=[
            ((backwards,), r"the other way round"),
            ((neighbours,), r"your pairs are neighbours"),
            ((by_rows,), r"positions that are handed over have no effect"),
            ((one_theta,), r"theta has no effect"),
            ((one_speed,), r"equally fast"),
            ((slower,), r"fall too slowly"),
            ((wrong_sign,), r"look at the signs"),
            ((later_by_one,), r"at position 0 nothing is turned"),
            ((lambda x, positions, theta: x,), r"other values"),
        ],
    ),
}

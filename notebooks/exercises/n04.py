"""The exercises of notebook 04: an analogy, the sinusoidal table, a rotation by position."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from notebooks.check import Hint, exercise, like, tried

Table = Float[Tensor, "token d_model"]
Inputs = tuple[int, int, int]
Rows = Float[Tensor, "pos d_head"]
Turn = Callable[[Rows, Int[Tensor, " pos"], float], Rows]


@exercise("04.analogy")
def analogy(answer: Callable[[Table, int, int, int], int]) -> None:
    """The nearest row by cosine to b - a + c, the three themselves left out."""
    generator = torch.Generator().manual_seed(0)
    trials, found = [], []
    for trial in range(17):
        W_E, inputs = _planted(generator)
        if trial >= 6:  # rows of very different length
            W_E = W_E * torch.rand(len(W_E), 1, generator=generator).mul(3).exp()
        if trial == 16:
            W_E = _turned_away(W_E, inputs)
        trials.append((W_E, inputs))
        told = f"a table of {len(W_E)} rows, {', '.join(map(str, inputs))}"
        given = W_E.clone()
        found.append(_one_id(tried(answer, given, *inputs, told=told), len(W_E)))
        if not torch.equal(given, W_E):
            raise Hint("it changes the table that it is given; make a new tensor")
    _why_no_analogy(found, trials)


def _why_no_analogy(found: list[int], trials: list[tuple[Table, Inputs]]) -> None:
    wanted = [_by_cosine(*trial) for trial in trials]
    if found == wanted:
        return
    if found[:-1] == wanted[:-1]:
        raise Hint("it goes wrong where the cosines of all other rows are below 0: what stands in "
                   "the place of the three that are left out?")  # fmt: skip
    if any(one in inputs for one, (_, inputs) in zip(found, trials, strict=True)):
        raise Hint("it returns one of the three that were given; the answer has to be another word")
    for rule, hint in (
        (_backwards, "the difference points the other way: what leads from a to b is added to c"),
        (_by_product, "it returns the largest scalar product, which favours long rows; the cosine "
         "does not"),
        (_by_distance, "it returns the least distance, which favours short rows; the cosine does "
         "not"),
        (_next_to_c, "it returns what is nearest to c, whatever a and b are"),
    ):  # fmt: skip
        if found == [rule(*trial) for trial in trials]:
            raise Hint(hint)
    raise Hint("it returns rows that are not nearest, by cosine, to b - a + c")


def _planted(generator: torch.Generator) -> tuple[Table, Inputs]:
    """A table in which the sum lies near c, near another row too, and far from the rest."""
    W_E = torch.randn(12, 5, generator=generator)
    a, b, c, other, back = torch.randperm(12, generator=generator)[:5].tolist()
    W_E[b] = W_E[a] + 0.7 * torch.randn(5, generator=generator)
    W_E[other] = (W_E[b] - W_E[a] + W_E[c]) * 1.5 + 0.15 * torch.randn(5, generator=generator)
    W_E[back] = (W_E[a] - W_E[b] + W_E[c]) * 1.5 + 0.15 * torch.randn(5, generator=generator)
    return W_E, (a, b, c)


def _turned_away(W_E: Table, inputs: Inputs) -> Table:
    """All rows but the three at more than a right angle to the sum."""
    away = W_E * -(W_E @ _goal(W_E, inputs)).sign()[:, None]
    away[list(inputs)] = W_E[list(inputs)]
    return away


def _one_id(found: object, n_tokens: int) -> int:
    arrays = (Tensor, np.ndarray, np.generic)
    number = found.item() if isinstance(found, arrays) and math.prod(found.shape) == 1 else found
    if isinstance(number, bool) or not isinstance(number, int):
        raise Hint(f"a token's id is asked for, a whole number; yours is {type(found).__name__}")
    if not 0 <= number < n_tokens:
        raise Hint(f"{number} is no row of a table of {n_tokens}; was a row taken out, and the "
                   "others moved up?")  # fmt: skip
    return number


def _best(scores: Float[Tensor, " token"], left_out: Inputs) -> int:
    kept = scores.clone()
    kept[list(left_out)] = -torch.inf
    return int(kept.argmax())


def _goal(W_E: Table, inputs: Inputs) -> Float[Tensor, " d_model"]:
    a, b, c = inputs
    return W_E[b] - W_E[a] + W_E[c]


def _by_cosine(W_E: Table, inputs: Inputs) -> int:
    return _best(torch.cosine_similarity(W_E, _goal(W_E, inputs)[None], dim=-1), inputs)


def _backwards(W_E: Table, inputs: Inputs) -> int:
    a, b, c = inputs
    return _by_cosine(W_E, (b, a, c))


def _by_product(W_E: Table, inputs: Inputs) -> int:
    return _best(W_E @ _goal(W_E, inputs), inputs)


def _by_distance(W_E: Table, inputs: Inputs) -> int:
    return _best(-(W_E - _goal(W_E, inputs)).norm(dim=-1), inputs)


def _next_to_c(W_E: Table, inputs: Inputs) -> int:
    return _best(torch.cosine_similarity(W_E, W_E[inputs[2]][None], dim=-1), inputs)


@exercise("04.sinusoidal")
def sinusoidal(answer: Callable[[int, int], Float[Tensor, "pos d_model"]]) -> None:
    """Sine in even columns, cosine in odd ones, one speed for each pair."""
    for n, d_model in ((6, 8), (8, 8), (5, 2), (40, 16)):
        told = f"n = {n}, d_model = {d_model}"
        found = tried(answer, n, d_model, told=told)
        wanted = _sinusoidal(n, d_model)
        if isinstance(found, Tensor) and found.shape == wanted.shape:
            found = found.float()
            if not _same(found, wanted):
                _why_not_sinusoidal(found, n, d_model, told)
        like(found, wanted, f"your table for {told}", tolerance=1e-3)


def _sinusoidal(n: int, d_model: int, first: int = 0) -> Tensor:
    angles = torch.arange(first, first + n)[:, None] * _speeds(d_model)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)


def _speeds(d: int, base: float = 10_000.0) -> Tensor:
    return base ** (-torch.arange(0, d, 2) / d)


def _why_not_sinusoidal(found: Tensor, n: int, d_model: int, told: str) -> None:
    wanted = _sinusoidal(n, d_model)
    pairs, places = torch.arange(d_model // 2), torch.arange(n)[:, None]
    every = places * 10_000.0 ** (-torch.arange(d_model) / d_model)
    wrong: Sequence[tuple[Tensor, str]] = (
        (wanted.unflatten(-1, (-1, 2)).flip(-1).flatten(-2), "sine and cosine have changed places"),
        (torch.cat([wanted[:, ::2], wanted[:, 1::2]], -1), "all sines first, then all cosines; "
         "here the two of a pair are neighbours"),
        (_sinusoidal(n, d_model, first=1), "positions begin with 0"),
        (_of(places * 10_000.0 ** (-pairs / d_model)), "the speeds fall too slowly: what is the "
         "exponent of the last pair?"),
        (_of(places * 10_000.0 ** (2 * pairs / d_model)), "the speeds grow; the first pair is to "
         "be the fastest, with speed 1"),
        (torch.where(torch.arange(d_model) % 2 == 0, every.sin(), every.cos()), "each column has a "
         "speed of its own; sine and cosine of one pair share theirs"),
        (_of(places * _speeds(d_model) * 2 * torch.pi), "there is a factor of 2 pi too much"),
    )  # fmt: skip
    for other, hint in wrong:
        if _same(found, other):
            raise Hint(f"for {told}: {hint}")


def _of(angles: Tensor) -> Tensor:
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)


@exercise("04.rotate")
def rotate(answer: Turn) -> None:
    """Pair i: numbers i and i + d_head / 2, turned by position times its speed."""
    generator = torch.Generator().manual_seed(0)
    for n, d_head, theta in ((5, 8, 10_000.0), (8, 8, 100.0), (4, 2, 10_000.0), (6, 16, 1e5)):
        x = torch.randn(n, d_head, generator=generator)
        for positions in (torch.zeros(n).long(), torch.arange(n), torch.arange(n).flip(0) * 7):
            told = f"x of shape {[n, d_head]}, positions {positions.tolist()}, theta {theta:g}"
            given = x.clone()
            found = tried(answer, given, positions, theta, told=told)
            if not torch.equal(given, x):
                raise Hint("it changes the x that it is given; make a new tensor")
            wanted = _turned(x, positions[:, None] * _speeds(d_head, theta))
            if isinstance(found, Tensor) and found.shape == wanted.shape:
                _why_not_turned(found, wanted, x, positions, theta, told)
            like(found, wanted, f"your result for {told}", tolerance=1e-3)


def _turned(x: Rows, angles: Float[Tensor, "pos pair"]) -> Rows:
    (first, second), cos, sin = x.chunk(2, dim=-1), angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def _neighbours(x: Rows, angles: Float[Tensor, "pos pair"]) -> Rows:
    halves = x.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)
    return _turned(halves, angles).unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)


def _why_not_turned(
    found: Rows, wanted: Rows, x: Rows, positions: Int[Tensor, " pos"], theta: float, told: str
) -> None:
    if _same(found, wanted):
        return
    n, d_head = x.shape
    angles = positions[:, None] * _speeds(d_head, theta)
    (first, second), cos, sin = x.chunk(2, dim=-1), angles.cos(), angles.sin()
    slow = positions[:, None] * theta ** (-torch.arange(d_head // 2) / d_head)
    wrong: Sequence[tuple[Rows, str]] = (
        (_turned(x, -angles), "it turns the other way round: at a right angle, (1, 0) is to become "
         "(0, 1)"),
        (_neighbours(x, angles), "your pairs are neighbours; here, number i is paired with i + "
         "d_head / 2"),
        (_turned(x, torch.arange(n)[:, None] * _speeds(d_head, theta)), "the positions that are "
         "handed over have no effect; rows need not begin at position 0"),
        (_turned(x, positions[:, None] * _speeds(d_head)), "theta has no effect"),
        (_turned(x, slow), "the speeds fall too slowly: what is the exponent of the last pair?"),
        (_turned(x, positions[:, None].expand_as(slow)), "all pairs turn equally fast"),
    )  # fmt: skip
    for other, hint in wrong:
        if _same(found, other):
            raise Hint(f"for {told}: {hint}")
    if not positions.any():
        raise Hint("at position 0 nothing is turned; yours changes x there")
    if not torch.allclose(found.norm(dim=-1), x.norm(dim=-1), rtol=1e-3):
        both = torch.cat([first * cos + second * sin, first * sin + second * cos], -1)
        stretched = "look at the signs" if _same(found, both) else "is it cos, -sin and sin, cos?"
        raise Hint(f"for {told}: lengths change, and a rotation keeps them; {stretched}")


def _same(found: Tensor, other: Tensor) -> bool:
    return found.shape == other.shape and torch.allclose(
        found.float(), other.float(), rtol=1e-3, atol=1e-3
    )

"""The exercises of notebook 01: broadcasting, a softmax, a gradient, attention."""

from collections.abc import Callable
from itertools import zip_longest

import torch
from jaxtyping import Float
from torch import Tensor

from notebooks.check import Hint, exercise, like, tried

Shape = tuple[int, ...]
Vector = Float[Tensor, " n"]
Attention = Callable[
    [Float[Tensor, "query head d_head"], Float[Tensor, "key kv_head d_head"]],
    Float[Tensor, "head query key"],
]


@exercise("01.broadcast")
def broadcast(answer: Callable[[Shape, Shape], Shape | bool]) -> None:
    """From the right: equal, or one of them 1, or missing."""
    for a, b in _SHAPES:
        try:
            wanted: Shape | bool = tuple(torch.broadcast_shapes(a, b))
        except RuntimeError:
            wanted = False
        found = tried(answer, a, b)
        if found is not False and not isinstance(found, tuple | list | torch.Size):
            raise Hint(f"a shape or False is asked for; your function returns {found!r}")
        made = found if found is False else tuple(found)
        if made != wanted:
            raise Hint(f"for {a} and {b} your function returns {made}: {_off(a, b, made, wanted)}")


_SHAPES: tuple[tuple[Shape, Shape], ...] = (
    ((2, 3), (2, 3)),
    ((2, 3), (2, 1)),
    ((1, 3), (2, 1)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((2, 3), (2,)),
    ((5,), (5, 1)),
    ((4, 1, 6), (7, 1)),
    ((9, 5, 5), (9, 1, 1)),
    ((9, 5, 5), (9, 5)),
    ((2, 4), (2, 8)),
    ((), (2, 3)),
    ((4,), ()),
    ((), ()),
    ((3, 0), (1,)),
    ((3, 0), (2,)),
)


def _off(a: Shape, b: Shape, found: Shape | bool, wanted: Shape | bool) -> str:
    if found is False:
        return "but the two fit together"
    if wanted is False:
        if len(a) != len(b) and found == _from_the_left(a, b):
            return "that begins on the left; which end are shapes laid together at?"
        return "but they do not fit; compare each pair of lengths"
    if isinstance(found, tuple) and isinstance(wanted, tuple) and len(found) != len(wanted):
        return "the result has as many axes as the longer of the two"
    if 0 in a + b:
        return "an axis of length 0 is there, and a 1 is stretched to it; no larger number is"
    return "a missing axis counts as 1, and 1 is stretched to the other's length"


def _from_the_left(a: Shape, b: Shape) -> Shape:
    return tuple(max(x, y) for x, y in zip_longest(a, b, fillvalue=1))


@exercise("01.softmax")
def softmax(answer: Callable[[Tensor, int], Tensor]) -> None:
    """Along one axis, whatever the size of the numbers."""
    random = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    for x, what in (
        (random, "a random square"),
        (torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1)), "three axes"),
        (random + 1000, "values near 1,000"),
        (random - 1000, "values near -1,000"),
        (random + torch.tensor([0.0, 300.0, 600.0, 900.0])[:, None], "rows far apart"),
        (random + torch.tensor([0.0, 300.0, 600.0, 900.0]), "columns far apart"),
        (random.masked_fill(torch.eye(4).bool(), -torch.inf), "some values of -inf"),
    ):
        for dim in (*range(x.ndim), -1):
            given, told = x.clone(), f"{what}, shape {tuple(x.shape)}, dim={dim}"
            found = tried(answer, given, dim, told=told)
            if not torch.equal(given, x):
                raise Hint("it changes the tensor that it is given; make a new one")
            _probabilities(found, x, dim, told)


def _probabilities(found: object, x: Tensor, dim: int, told: str) -> None:
    if not isinstance(found, Tensor) or found.shape != x.shape:
        like(found, x.softmax(dim), f"your result for ({told})")
    assert isinstance(found, Tensor)
    if not found.isfinite().all():
        raise Hint(
            f"for ({told}) there are values that are not finite. A large number's exp is inf, and "
            "a sum of tiny ones is 0. What may be subtracted from all values of one softmax, and "
            "must it be the same for each?"
        )
    sums = found.sum(dim)
    if not torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
        raise Hint(
            f"for ({told}) the sums along dim {dim} are not 1. Along which axis is divided, and "
            "does the divisor still have that axis?"
        )
    like(found, x.softmax(dim), f"your result for ({told})")


@exercise("01.gradient")
def gradient(answer: Callable[[Callable[[Vector], Tensor], Vector, float], Vector]) -> None:
    """Differences on both sides; for a cubic they are off by the step's square."""
    for seed, size in enumerate((1, 3, 5)):
        generator = torch.Generator().manual_seed(seed)
        matrix, x = (
            torch.randn(*sizes, generator=generator, dtype=torch.float64)
            for sizes in ((size, size), (size,))
        )
        for step in (0.5, 0.01):
            given, told = x.clone(), f"a cubic function of {size} numbers, x, {step}"

            def f(x: Vector, matrix: Tensor = matrix) -> Tensor:
                return x @ matrix @ x + x.pow(3).sum()

            exact = (matrix + matrix.T) @ x + 3 * x**2
            found = tried(answer, f, given, step, told=told)
            if not torch.equal(given, x):
                raise Hint("x is changed afterwards; move a copy, or put the value back exactly")
            error = (matrix.diagonal() + 3 * x) * step
            _differences(found, exact, error, step, told)


def _differences(found: object, exact: Vector, error: Vector, step: float, told: str) -> None:
    wanted = exact + step**2
    if not isinstance(found, Tensor) or found.shape != wanted.shape:
        if isinstance(found, Tensor | float) and torch.as_tensor(found).numel() == 1:
            raise Hint("one number came out; move one entry of x at a time, the others stay")
        like(found, wanted, f"your gradient for ({told})", tolerance=1e-6)
    assert isinstance(found, Tensor)
    for other, hint in (
        (wanted + error, "that looks to one side only, and is off by a multiple of the step"),
        (wanted - error, "that looks to one side only, and is off by a multiple of the step"),
        (2 * wanted, "that is twice as large: how far apart are the two points?"),
        (2 * wanted * step, "that is a difference, not yet a slope; divide it"),
        (wanted * step, "that is a difference, not yet a slope; divide by the right width"),
        (exact, "that is exact; what comes out of differences `step` to each side is not quite"),
        (-wanted, "the sign is wrong: later minus earlier"),
    ):
        if _close(found, other) and not _close(found, wanted):
            raise Hint(hint)
    like(found.double(), wanted, f"your gradient for ({told})", tolerance=1e-6)


def _close(found: Tensor, other: Tensor) -> bool:
    return torch.allclose(found.double(), other, rtol=1e-6, atol=1e-9)


@exercise("01.attention")
def attention(answer: Attention) -> None:
    """Scaled, causal, along the keys; three heads share the keys of one."""
    for seed, (pos, heads, kv_heads, d_head) in enumerate(
        ((4, 2, 2, 9), (5, 6, 2, 16), (1, 3, 1, 4), (7, 9, 3, 5))
    ):
        generator = torch.Generator().manual_seed(seed)
        q = 2 * torch.randn(pos, heads, d_head, generator=generator)
        k = 2 * torch.randn(pos, kv_heads, d_head, generator=generator)
        told = f"q of shape {tuple(q.shape)}, k of shape {tuple(k.shape)}"
        found = tried(answer, q, k, told=told)
        if isinstance(found, Tensor) and found.shape == (heads, pos, pos):
            for other, hint in _mistakes(q, k):
                if torch.allclose(found.float(), other, atol=1e-5, equal_nan=True):
                    raise Hint(f"for {told}: {hint}")
        like(found, _attended(_scores(q, k, d_head**0.5), -1), f"your result for {told}")


def _mistakes(q: Tensor, k: Tensor) -> list[tuple[Tensor, str]]:
    d_head, right = q.shape[-1], _scores(q, k, q.shape[-1] ** 0.5)
    causal = torch.ones(len(q), len(q)).tril().bool()
    tried = [
        (_attended(_scores(q, k, 1), -1), "the scores are not scaled"),
        (_attended(_scores(q, k, d_head), -1), "divide by the root of d_head"),
        (_attended(_scores(q, k, (q.shape[1] * d_head) ** 0.5), -1), "d_head is one head's size"),
        (_attended(right, -2), "a query spreads its weight over keys; softmax along which axis?"),
        (right.softmax(-1), "a query sees later keys; where is the mask?"),
        (right.masked_fill(~causal.T, -torch.inf).softmax(-1), "the mask is the wrong way round"),
        (right.masked_fill(~causal, 0).softmax(-1), "a score of 0 still gets weight after softmax"),
        (right.softmax(-1) * causal, "rows have to sum to 1; mask before softmax"),
        (right.masked_fill(~causal, -torch.inf), "these are scores; softmax is missing"),
        (_attended(right, -1).mT, "queries are to be rows and keys columns"),
        (_attended(right.mT, -1), "queries are to be rows and keys columns"),
    ]
    if k.shape[1] < q.shape[1]:
        tiled = _scores(q, k.repeat(1, q.shape[1] // k.shape[1], 1), d_head**0.5)
        tried.append((_attended(tiled, -1), "neighbouring heads share keys; which share now?"))
    wanted = _attended(right, -1)
    return [(one, hint) for one, hint in tried if not torch.allclose(one, wanted, equal_nan=True)]


def _scores(q: Tensor, k: Tensor, scale: float) -> Tensor:
    own = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    return torch.einsum("qhd,khd->hqk", q, own) / scale


def _attended(scores: Tensor, dim: int) -> Tensor:
    causal = torch.ones(scores.shape[-2:]).tril().bool()
    return scores.masked_fill(~causal, -torch.inf).softmax(dim)

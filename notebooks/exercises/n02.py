"""The exercises of notebook 02: solutions of Ax = b, removing directions, singular values."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from notebooks.check import Hint, exercise, like, tried

Matrix = Float[Tensor, "row column"]


@exercise("02.solutions")
def solutions(answer: Callable[[Matrix, Float[Tensor, " row"]], str]) -> None:
    """By ranks: of the matrix, and of the matrix with b beside it."""
    for rows, b, what in _SYSTEMS:
        A, right = torch.tensor(rows, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
        told = f"A = {rows}, b = {b}"
        found = tried(answer, A.clone(), right.clone(), told=told)
        if found not in ("one", "none", "many"):
            raise Hint(f"'one', 'none' or 'many' is asked for; your function returns {found!r}")
        if found != _number(A, right):
            raise Hint(f"for {told} your function says {found!r}, which is not so: {what}")


_SYSTEMS: tuple[tuple[list[list[float]], list[float], str], ...] = (
    ([[2, -1], [-1, 2]], [0, 3], "the two lines cross"),
    ([[1, 2], [2, 4]], [1, 3], "the rows are dependent; does b obey the same dependence?"),
    ([[1, 2], [2, 4]], [1, 2], "the rows are dependent; does b obey the same dependence?"),
    ([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [0, 0, 0], "the rows are dependent, and b is 0"),
    ([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [1, 1, 2], "row 0 + row 2 = 2 * row 1; and b?"),
    (
        [[1e-4, 0, 0, 0], [0, 1e-4, 0, 0], [0, 0, 1e-4, 0], [0, 0, 0, 1e-4]],
        [1, 2, 3, 4],
        "its determinant is tiny, and yet its columns are independent",
    ),
    ([[1, 1, 1]], [3], "there are fewer equations than unknowns"),
    ([[1, 1, 1], [1, 1, 1]], [3, 4], "fewer equations than unknowns, and they contradict"),
    ([[1, 0], [0, 1], [1, 1]], [1, 2, 3], "more equations than unknowns can still agree"),
    ([[1, 0], [0, 1], [1, 1]], [1, 2, 4], "more equations than unknowns, and they contradict"),
    ([[1, 2], [2, 4], [3, 6]], [1, 2, 3], "three times the same line"),
    ([[0, 0], [0, 0]], [0, 0], "every x solves 0 = 0"),
    ([[0, 0], [0, 0]], [0, 1], "no x solves 0 = 1"),
)


def _number(A: Matrix, b: Tensor) -> str:
    rank = int(torch.linalg.matrix_rank(A))
    if torch.linalg.matrix_rank(torch.cat([A, b[:, None]], dim=1)) > rank:
        return "none"
    return "one" if rank == A.shape[1] else "many"


@exercise("02.remove")
def remove(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """What is left is at right angles to every direction, and nothing else is lost."""
    for seed, (n, d, k) in enumerate(((1, 3, 1), (4, 6, 1), (5, 7, 2), (6, 8, 3), (4, 4, 4))):
        generator = torch.Generator().manual_seed(seed)
        x, directions = (
            torch.randn(*sizes, generator=generator, dtype=torch.float64)
            for sizes in ((n, d), (d, k))
        )
        directions = 3 * directions + directions[:, :1]  # neither of length 1 nor at right angles
        told = f"x of shape {(n, d)}, directions of shape {(d, k)}"
        found = tried(answer, x.clone(), directions.clone(), told=told)
        basis = torch.linalg.qr(directions).Q
        inside = x @ basis @ basis.T
        if isinstance(found, Tensor) and found.shape == x.shape:
            _remains(found.double(), x, inside, directions, told)
        like(found, x - inside, f"your result for {told}", tolerance=1e-6)


def _remains(found: Tensor, x: Tensor, inside: Tensor, directions: Tensor, told: str) -> None:
    if torch.allclose(found, x - inside):
        return
    if torch.allclose(found, inside):
        raise Hint(f"for {told}: that is the part in the directions; what is left is asked for")
    if torch.allclose(found, x + inside):
        raise Hint(f"for {told}: the part was added, not taken away")
    if torch.allclose(found, x - x @ directions @ directions.T):
        raise Hint(f"for {told}: the directions are not of length 1; where is that divided out?")
    if (found @ directions).abs().max() < 1e-8:
        raise Hint(f"for {told}: no direction is left, but more is gone than had to go")
    if directions.shape[1] > 1:
        raise Hint(
            f"for {told}: part of the directions is left. They are not at right angles to each "
            "other: to take one away can bring another back. Make a basis of their span first"
        )


@exercise("02.singular_values")
def singular_values(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Of a product, by small matrices alone."""
    for seed, (n, r, m) in enumerate(((12, 2, 12), (20, 4, 30), (200, 5, 150))):
        generator = torch.Generator().manual_seed(seed)
        A, B = (
            torch.randn(*sizes, generator=generator, dtype=torch.float64)
            for sizes in ((n, r), (r, m))
        )
        A = A @ torch.diag(torch.arange(1.0, r + 1, dtype=torch.float64))
        told = f"A of shape {(n, r)}, B of shape {(r, m)}"
        with FlopCounterMode(display=False) as counter:
            found = tried(answer, A.clone(), B.clone(), told=told)
        wanted = torch.linalg.svdvals(A @ B)[:r]
        if isinstance(found, Tensor):
            _singular(found, wanted, A, B, told)
        like(found, wanted, f"your result for {told}", tolerance=1e-6)
        if counter.get_total_flops() >= n * r * m:
            raise Hint(
                f"for {told} the values are right, but A and B are multiplied out. Which part of "
                "A = Q R changes no length, and can be left away?"
            )


def _singular(found: Tensor, wanted: Tensor, A: Tensor, B: Tensor, told: str) -> None:
    if found.ndim == 1 and len(found) > len(wanted):
        raise Hint(
            f"for {told} your function returns {len(found)} values; by its rank the product has "
            f"at most {len(wanted)} that are not 0"
        )
    if found.shape != wanted.shape:
        return
    if found.is_complex():
        raise Hint("your values are complex; singular values never are, eigenvalues may be")
    lefts, rights = torch.linalg.svdvals(A), torch.linalg.svdvals(B)
    turned = torch.linalg.svdvals(B @ A) if len(A) == B.shape[1] else 0 * wanted
    for other, hint in (
        (lefts * rights, "the singular values of a product are not products of singular values"),
        (turned, "AB and BA share eigenvalues, but not singular values"),
        (wanted**2, "these are the squares"),
        (wanted.flip(0), "the largest comes first"),
    ):
        if torch.allclose(found.double(), other):
            raise Hint(f"for {told}: {hint}")

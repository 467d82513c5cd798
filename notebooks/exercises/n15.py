"""The exercises of notebook 15: adding with waves, the Fourier basis, what key frequencies hold."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from notebooks.check import Hint, exercise, like, tried

Residues = Int[np.ndarray, " pair"]
Clock = Callable[[Residues, Residues, int, Sequence[int]], Float[np.ndarray, "pair p"]]


@exercise("15.clock")
def clock(answer: Clock) -> None:
    """Sums of cos w(a + b - c), for several moduli and choices of frequencies."""
    generator = np.random.default_rng(0)
    for p, keys, pairs in ((7, [1], 4), (11, [3, 5], 5), (10, [2, 3, 5], 6), (13, [6, 1, 4, 2], 3)):
        a, b = generator.integers(0, p, (2, pairs))
        told = f"a, b, {p}, {keys}"
        found = np.asarray(tried(answer, a.copy(), b.copy(), p, list(keys), told=told))
        if found.shape == (p, pairs) != (pairs, p):
            raise Hint("pairs should go by row and answers c by column")
        c = np.arange(p)
        wanted = _waves(a[:, None] + b[:, None] - c, p, keys)
        if found.shape == wanted.shape:
            _clock_hint(found, wanted, a[:, None], b[:, None], p, keys)
        like(found, wanted, "what your function returns")


def _clock_hint(
    found: np.ndarray, wanted: np.ndarray, a: np.ndarray, b: np.ndarray, p: int, keys: Sequence[int]
) -> None:
    c = np.arange(p)
    for other, hint in (
        (_waves(a + b + c, p, keys), "it peaks at -(a + b): look at the sign between c's waves"),
        (_waves(a - b - c, p, keys), "it peaks at a - b: look at the signs in the waves of a + b"),
        (_mixed(a, b, p, keys), "cos w(a + b) has the wrong sign between its products"),
        (wanted / len(keys), "that is the mean over the frequencies; the sum is asked for"),
        (_waves(a + b - c, p, keys[:1]), "only the first frequency is in it"),
        (_waves(a + b - c, p, keys[-1:]), "only the last frequency is in it: do you add them up?"),
        (_waves(a + b - c, p, keys, 1.0), "the angle is not a whole turn after p steps"),
    ):
        if _same(found, other) and not _same(found, wanted):
            raise Hint(hint)


def _waves(
    turned: np.ndarray, p: int, keys: Sequence[int], turn: float = 2 * np.pi
) -> Float[np.ndarray, "pair p"]:
    return sum((np.cos(turn * k * turned / p) for k in keys), np.zeros(turned.shape))


def _mixed(a: np.ndarray, b: np.ndarray, p: int, keys: Sequence[int]) -> np.ndarray:
    """The sine of a + b, but the cosine of a - b."""
    c, w = np.arange(p), [2 * np.pi * k / p for k in keys]
    parts = [np.cos(u * (a - b)) * np.cos(u * c) + np.sin(u * (a + b)) * np.sin(u * c) for u in w]
    return sum(parts, np.zeros((len(a), p)))


@exercise("15.fourier")
def fourier(answer: Callable[[int], Float[np.ndarray, "p p"]]) -> None:
    """Orthonormal rows in the order asked for, for several odd p."""
    for p in (5, 9, 11, 25):
        found = tried(answer, p)
        if not isinstance(found, np.ndarray):
            raise Hint(f"it is of type {type(found).__name__}; a NumPy array is asked for")
        if found.shape != (p, p):
            raise Hint(
                f"for p = {p} it has the shape {found.shape}; with the constant, and a cosine and "
                f"a sine for each frequency up to {p // 2}, there are {p} rows of {p}"
            )
        angle = 2 * np.pi * np.arange(1, p // 2 + 1)[:, None] * np.arange(p) / p
        waves = np.stack((np.cos(angle), np.sin(angle)), 1).reshape(p - 1, p)
        wanted = np.concatenate((np.full((1, p), p**-0.5), waves * np.sqrt(2 / p)))
        if not _same(found, wanted):
            _basis_hint(found, wanted)
        like(found, wanted, "your basis")


def _basis_hint(found: np.ndarray, wanted: np.ndarray) -> None:
    if _same(found, wanted.T):
        raise Hint("waves should go by row and residues by column; yours are the other way round")
    lengths = np.linalg.norm(found, axis=1)
    if (lengths < 1e-9).any():
        raise Hint("a row is zero throughout; which wave is that?")
    if _same(found / lengths[:, None], wanted):
        long = np.abs(lengths - 1) > 1e-6
        if long[0] and not long[1:].any():
            raise Hint("the waves are right, but the constant row has not the length 1")
        raise Hint("the directions are right, but rows have not the length 1: divide each by it")
    products = found @ found.T / np.outer(lengths, lengths)
    if np.abs(products - np.eye(len(found))).max() > 1e-6:
        raise Hint(
            "two rows are not orthogonal: a wave has to come back to where it began after p "
            "steps, and no frequency may come twice"
        )
    raise Hint("the rows are orthogonal, but not in the order, or with the signs, asked for")


@exercise("15.kept")
def kept(answer: Callable[[Tensor, Sequence[int]], Float[Tensor, "p p c"]]) -> None:
    """A projection on waves of a + b, of arrays with other numbers of answers than p."""
    generator = torch.Generator().manual_seed(0)
    for p, answers, keys in ((7, 4, [2]), (11, 11, [1, 4]), (13, 3, [6, 2, 5]), (9, 2, [1])):
        found = torch.randn(p, p, answers, generator=generator, dtype=torch.float64)
        given = found.clone()
        told = f"an array {[p, p, answers]}, {keys}"
        got = tried(answer, given, list(keys), told=told)
        if not torch.equal(given, found):
            raise Hint("it changes the array that it is given; return a new tensor")
        wanted = _along(found, keys)
        if isinstance(got, Tensor) and got.shape == wanted.shape:
            _kept_hint(got.double(), found, wanted, keys)
        like(got, wanted, "what your function returns")


def _kept_hint(got: Tensor, found: Tensor, wanted: Tensor, keys: Sequence[int]) -> None:
    if _close(got, wanted):
        return
    if not got.any():
        raise Hint("it is 0 everywhere; is anything added up?")
    p = len(found)
    for other, hint in (
        (_along(found, keys, sign=-1), "those are waves of a - b"),
        (_along(found, keys, waves="c"), "the sines are missing"),
        (_along(found, keys, waves="s"), "the cosines are missing"),
        (_along(found, [k + 1 for k in keys]), "each frequency is one too high"),
        (_along(found, [k - 1 for k in keys]), "each frequency is one too low"),
        (found - wanted, "that is what is left without the keys; the keys' part is asked for"),
    ):
        if _close(got, other):
            raise Hint(hint)
    ratio = float((got * wanted).sum() / wanted.square().sum())
    if _close(got, ratio * wanted):
        raise Hint(
            f"right up to a factor that hangs on p (here, p = {p}, it is {ratio:.3g}): has each "
            "wave the length 1 over all pairs?"
        )


def _along(found: Tensor, keys: Sequence[int], sign: int = 1, waves: str = "cs") -> Tensor:
    p = len(found)
    residue = torch.arange(p, dtype=torch.float64)
    total = residue[:, None] + sign * residue
    kept = torch.zeros_like(found)
    for k in keys:
        angle = 2 * torch.pi * k * total / p
        for name, wave in (("c", angle.cos()), ("s", angle.sin())):
            length = wave.norm()
            if name in waves and length > 1e-6:
                unit = wave / length
                kept += unit[..., None] * torch.einsum("ab,abc->c", unit, found)
    return kept


def _same(found: np.ndarray, other: np.ndarray) -> bool:
    return found.shape == other.shape and bool(np.allclose(found, other, atol=1e-5))


def _close(found: Tensor, other: Tensor) -> bool:
    return bool(torch.allclose(found, other, atol=1e-6))

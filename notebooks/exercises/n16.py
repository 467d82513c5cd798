"""The exercises of notebook 16: an interval of a mean, and many tests at once."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from notebooks.check import Hint, exercise, like, tried

Values = Float[np.ndarray, " value"]


@exercise("16.bootstrap")
def bootstrap(answer: Callable[[Values, int, int], tuple[float, float]]) -> None:
    """Beside many draws of our own, on values that lie evenly and on some that do not."""
    generator = np.random.default_rng(0)
    for values in (generator.normal(3.0, 2.0, 50), generator.exponential(1.0, 12) ** 2):
        told = f"{len(values)} values, 20000, 0"
        found = tried(answer, values.copy(), 20_000, 0, told=told)
        if np.shape(found) != (2,):
            raise Hint("two numbers are asked for, (low, high)")
        low, high = map(float, found)
        _width_hint(low, high, values)
        drawn = np.random.default_rng(1).choice(values, (100_000, len(values))).mean(1)
        wanted, error = np.percentile(drawn, [2.5, 97.5]), drawn.std()
        if np.abs(np.array([low, high]) - wanted).max() > 0.15 * error:
            raise Hint(
                "nearly: the ends are not the 2.5th and the 97.5th percentile of the means. Where "
                "values are skewed, the interval is too"
            )
    _by_seed(answer, generator.normal(3.0, 2.0, 50))


def _width_hint(low: float, high: float, values: Values) -> None:
    error = values.std() / len(values) ** 0.5
    if low > high:
        raise Hint("the first is to be the lower end")
    width = (high - low) / (2 * 1.96 * error)
    if width < 0.2:
        raise Hint(
            "that is hardly an interval: are values drawn with replacement, and means taken?"
        )
    if width > 3:
        raise Hint("that is the spread of single values; the interval is of their mean")
    if not 0.8 < width < 1.2:
        raise Hint(
            f"the interval is {width:.2f} times as wide as it should be: as many values in each "
            "draw as there are, from the 2.5th to the 97.5th percentile"
        )
    if abs((low + high) / 2 - values.mean()) > error / 2:
        raise Hint("the interval does not lie around the mean of the values")


def _by_seed(answer: Callable[[Values, int, int], tuple[float, float]], values: Values) -> None:
    again, other = (answer(values.copy(), 200, seed) for seed in (1, 2))
    if tuple(answer(values.copy(), 200, 1)) != tuple(again):
        raise Hint("the same seed gives two different intervals")
    if tuple(again) == tuple(other):
        raise Hint("every seed gives the same interval")


@exercise("16.discoveries")
def discoveries(answer: Callable[[Values, float], Bool[np.ndarray, " value"]]) -> None:
    """Up to the largest rank below its line, in the order given."""
    for p, q in _CASES:
        given = np.array(p)
        found = np.asarray(tried(answer, given.copy(), q, told=f"{p}, {q}"))
        wanted = _found(given, q)
        if found.shape != given.shape or found.dtype != bool:
            raise Hint("a boolean for each p-value, in their order, is asked for")
        for other, hint in (
            (given <= q, "that is a threshold of q for each alone; nothing is corrected"),
            (given <= q / len(given), "that is Bonferroni's threshold, which is stricter"),
            (_own_line(given, q), "a p that misses its own line is found if a later one is below"),
            (_until_the_first(given, q), "the largest rank below its line counts, not the first"),
            (np.sort(wanted)[::-1], "the answers stand in sorted order; give them in that of p"),
            (_found(given, q, strict=True), "a p on its line counts, too: at most q i / n"),
            (_found(given, 0.1), "it takes q for 0.1, whatever q is"),
            (_found(given, 0.05), "it takes q for 0.05, whatever q is"),
        ):
            if (found == other).all() and (found != wanted).any():
                raise Hint(f"for {p}: {hint}")
        like(found.astype(float), wanted.astype(float), f"your discoveries among {p}")


_CASES = (
    ((0.9, 0.001, 0.5, 0.03), 0.1),
    ((0.06, 0.07, 0.05, 0.08), 0.1),
    ((0.2, 0.3, 0.4, 0.5), 0.1),
    ((0.04, 0.045, 0.9, 0.001, 0.06), 0.1),
    ((0.02,), 0.1),
    ((0.09, 0.001, 0.8, 0.7, 0.6), 0.1),
    ((0.16, 0.01, 0.9, 0.12), 0.2),
    ((0.03, 0.001, 0.04, 0.8), 0.02),
    ((0.25, 0.5, 0.9, 0.75), 0.5),
    ((0.9, 0.125, 0.8, 0.7), 0.5),
)


def _found(p: Values, q: float, strict: bool = False) -> Bool[np.ndarray, " value"]:
    line = q * np.arange(1, len(p) + 1) / len(p)
    below = np.sort(p) < line if strict else np.sort(p) <= line
    last = np.flatnonzero(below)[-1] + 1 if below.any() else 0
    return np.argsort(np.argsort(p)) < last


def _own_line(p: Values, q: float) -> Bool[np.ndarray, " value"]:
    return p <= q * (np.argsort(np.argsort(p)) + 1) / len(p)


def _until_the_first(p: Values, q: float) -> Bool[np.ndarray, " value"]:
    below = np.sort(p) <= q * np.arange(1, len(p) + 1) / len(p)
    n = len(p) if below.all() else int(below.argmin())
    return np.argsort(np.argsort(p)) < n

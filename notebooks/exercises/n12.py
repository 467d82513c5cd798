"""The exercises of notebook 12: SoLU, consistency, a permutation test."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from notebooks.check import Hint, exercise, like, tried

Values = Float[np.ndarray, " neuron"]


@exercise("12.solu")
def my_solu(answer: Callable[[Float[Tensor, "row neuron"]], Float[Tensor, "row neuron"]]) -> None:
    """Over each row, and without overflow."""
    for seed, (rows, neurons) in enumerate(((3, 5), (4, 2), (1, 7))):
        x = 2 * torch.randn(rows, neurons, generator=torch.Generator().manual_seed(seed))
        found = tried(answer, x.clone(), told=f"values [{rows}, {neurons}]")
        wanted = x * x.softmax(-1)
        for other, hint in (
            (x.softmax(-1), "that is the softmax alone; SoLU multiplies it by x"),
            (x * x.softmax(0), "the softmax runs over the rows; neurons of one row compete"),
            (x * x.sigmoid(), "that looks at one neuron at a time (SiLU); these compete"),
            (x * x.exp() / x.exp().sum(), "one sum for all rows; each row has its own"),
        ):
            if _same(found, other) and not _same(found, wanted):
                raise Hint(hint)
        like(found, wanted, "your SoLU")
    large = torch.tensor([[1000.0, 999.0, -5.0], [0.0, 1.0, 2.0], [-1000.0, -999.0, -1005.0]])
    found = tried(answer, large.clone(), told="rows near 1,000, near 0 and near -1,000")
    if not bool(torch.as_tensor(found).isfinite().all()):
        raise Hint(
            "a row near 1,000 or near -1,000 gives nan; what may be taken off all values of a row "
            "before exp, so that its shares stay?"
        )
    like(found, large * large.softmax(-1), "your SoLU of rows near 1,000, 0 and -1,000")


@exercise("12.consistency")
def consistency(answer: Callable[..., float]) -> None:
    """Among the strongest, not among all."""
    generator = torch.Generator().manual_seed(0)
    for k, kinds in ((5, 3), (10, 4), (1, 9), (8, 8), (12, 6)):
        values = torch.randn(40, generator=generator)
        tokens = torch.randint(kinds, (40,), generator=generator)
        strongest = tokens[values.topk(k).indices]
        wanted = float(_commonest(strongest)) / k
        found = tried(answer, values.clone(), tokens.clone(), k, told=f"values, tokens, {k}")
        if not _is_number(found):
            raise Hint(f"one number is asked for; yours is of type {type(found).__name__}")
        overall = tokens.mode().values
        for other, hint in (
            (float(_commonest(strongest)), "that is a count; a share is asked for"),
            (float(_commonest(tokens)) / len(tokens), "that is among all rows, not the strongest"),
            (float((strongest == overall).sum()) / k, "commonest among the strongest, not overall"),
            (_commonest(tokens[(-values).topk(k).indices]) / k, "those are the weakest rows"),
            (_commonest(tokens[values.abs().topk(k).indices]) / k, "the largest, not in size"),
            (_commonest(tokens[:k]) / k, "those are the first rows; sort by value"),
            (len(strongest.unique()) / k, "that counts different tokens"),
        ):
            if abs(float(found) - other) < 1e-6 and abs(other - wanted) > 1e-6:
                raise Hint(hint)
        like(found, wanted, "your consistency")


def _is_number(found: object) -> bool:
    try:
        float(found)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def _commonest(tokens: Int[Tensor, " row"]) -> int:
    return int(tokens.unique(return_counts=True)[1].max())


@exercise("12.permutation")
def permutation_p(answer: Callable[[Values, Values, int, int], float]) -> None:
    """Against exact or well-known cases: p is a share of arrangements, never 0."""
    apart = np.arange(20.0) + 100, np.arange(20.0)
    alike = np.arange(20.0), np.arange(20.0)
    draws = 400
    told = {
        name: tried(answer, *groups, draws, 0, told=f"{name} groups, {draws}, 0")
        for name, groups in (("far apart", apart), ("equal", alike), ("the other", apart[::-1]))
    }
    if not all(_is_number(p) for p in told.values()):
        raise Hint("one number is asked for, the p-value")
    found = {name: float(p) for name, p in told.items()}
    if not all(0 <= p <= 1 for p in found.values()):
        raise Hint(f"a p-value lies between 0 and 1; yours are {list(found.values())}")
    if found["far apart"] == 0:
        raise Hint("p is 0: the arrangement seen counts as one of the draws")
    if found["far apart"] > 0.9 and found["the other"] < 0.1:
        raise Hint("it counts how often the difference is smaller; as large or larger is asked for")
    if found["far apart"] > 0.01:
        raise Hint("two groups far apart get a p that is not small; are the neurons shuffled?")
    if found["the other"] < 0.9:
        raise Hint(
            "with the groups exchanged p should be near 1: the test has one side, and a sign"
        )
    _well_known(answer, draws, found)


def _well_known(
    answer: Callable[[Values, Values, int, int], float], draws: int, found: dict[str, float]
) -> None:
    if not 0.4 < found["equal"] < 0.65:
        raise Hint(f"for two equal groups p should be about a half; yours is {found['equal']:.2f}")
    if abs(found["far apart"] - 1 / (1 + draws)) > 1e-9:
        raise Hint("the arrangement seen counts once above and once below: (1 + n) / (1 + draws)")
    sized = np.array([3.0, 3.0]), np.array([0.0, 0.0, 0.0, 0.0])
    p, again, other = (
        float(tried(answer, *sized, 3000, seed, told=f"groups of 2 and 4, 3000, {seed}"))
        for seed in (1, 1, 2)
    )
    if p <= 1 / 3001:
        raise Hint("groups of 2 and 4: draws with the same difference as the one seen count, too")
    if abs(p - 1 / 15) > 0.025:
        raise Hint("groups of 2 and 4: p should be near 1 in 15; do groups keep their sizes?")
    if p != again or p == other:
        raise Hint("the same seed should give the same p, another seed another: is it used?")


def _same(found: object, other: Tensor) -> bool:
    return (
        isinstance(found, Tensor)
        and found.shape == other.shape
        and bool(torch.allclose(found.double(), other.double(), atol=1e-5))
    )

"""The exercises of notebook 09: pairs of prompts, one patch, its effect."""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from notebooks.check import Hint, exercise, like, tried
from workbench import Edit, load, run
from workbench.models import Model

Values = Float[Tensor, " pair"]
Ids = Int[Tensor, "1 pos"]


@exercise("09.differing")
def differing(answer: Callable[[list[int], list[int]], Sequence[int]]) -> None:
    """All positions, in order; rows of other lengths are refused."""
    for clean, corrupted in (
        ([0, 5, 7, 9], [0, 5, 8, 9]),
        ([0, 5, 7, 9], [0, 9, 7, 5]),
        ([3, 3, 3], [3, 3, 3]),
        ([1, 2, 1, 2], [2, 2, 2, 1]),
    ):
        found = tried(answer, list(clean), list(corrupted))
        wanted = [i for i, (a, b) in enumerate(zip(clean, corrupted, strict=True)) if a != b]
        if list(found) != wanted:
            raise Hint(_differing(list(found), wanted, clean, corrupted))
    try:
        answer([0, 1, 2], [0, 1])
    except ValueError:
        return
    except Exception as error:
        raise Hint(f"rows of other lengths raise {type(error).__name__}, not ValueError") from error
    raise Hint("rows of other lengths pass without an error; `zip` stops at the shorter one")


def _differing(found: list[int], wanted: list[int], clean: list[int], corrupted: list[int]) -> str:
    told = f"for {clean} and {corrupted} your function returns {found}"
    if found and found == [place + 1 for place in wanted]:
        return f"{told}: positions are counted from 0"
    if not found:
        return f"{told}: the same tokens in another order are another prompt"
    if found == [clean[i] for i in wanted]:
        return f"{told}: those are tokens; positions are asked for"
    return f"{told}, which is not where they differ"


@exercise("09.patched")
def patched(answer: Callable[[Model, Ids, Ids, str], Float[Tensor, " token"]]) -> None:
    """Against a run of our own, on the induction model written by hand."""
    model, clean, corrupted = _prompts()
    for head in ("L0H1", "L1H2"):
        wanted = _patched(model, clean, corrupted, head)
        told = f"induction-by-hand, {clean.tolist()}, {corrupted.tolist()}, {head!r}"
        found = tried(answer, model, clean.clone(), corrupted.clone(), head, told=told)
        if isinstance(found, Tensor) and found.shape == wanted.shape:
            _told_apart(found, wanted, model, clean, corrupted, head)
        like(found, wanted, "what your function returns")


def _told_apart(
    found: Tensor, wanted: Tensor, model: Model, clean: Ids, corrupted: Ids, head: str
) -> None:
    def same(other: Tensor) -> bool:
        return bool(torch.allclose(found, other, atol=1e-4))

    if same(wanted):
        return
    if same(_patched(model, corrupted, clean, head)):
        raise Hint(
            "that is the clean run with the corrupted run's head: source and base are swapped"
        )
    if same(_last(model, corrupted)):
        raise Hint("that is the corrupted run as it was: the edit changes nothing")
    if same(_last(model, clean)):
        raise Hint("that is the clean run: patch into the corrupted one")


def _patched(model: Model, source: Ids, base: Ids, head: str) -> Float[Tensor, " token"]:
    (kept,) = run(model, source, read=f"{head}.z", stop="never").activations.values()
    return _last(model, base, [Edit(f"{head}.z", lambda _: kept)])


def _last(model: Model, ids: Ids, edits: Sequence[Edit] = ()) -> Float[Tensor, " token"]:
    logits = run(model, ids, edit=edits).logits
    assert logits is not None, "a run that nothing stops reaches the logits"
    return logits[0, -1]


@cache
def _prompts() -> tuple[Model, Ids, Ids]:
    model = load("induction-by-hand", device="cpu")
    return model, torch.tensor([[0, 4, 7, 9, 5, 6, 4]]), torch.tensor([[0, 3, 8, 9, 5, 6, 3]])


@exercise("09.effect")
def effect(answer: Callable[[Values, Values, Values], Float[Tensor, ""]]) -> None:
    """A ratio of means over pairs."""
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        clean = 4 + torch.randn(6, generator=generator)
        corrupted = -3 + torch.randn(6, generator=generator)
        moved = corrupted + torch.rand(6, generator=generator) * (clean - corrupted)
        clean[0] = corrupted[0] + 0.05  # a pair whose runs hardly differ
        wanted = (moved - corrupted).mean() / (clean - corrupted).mean()
        found = tried(answer, clean, corrupted, moved, told="three tensors of six pairs")
        if isinstance(found, Tensor) and found.shape == moved.shape:
            raise Hint("one number for all pairs is asked for; yours is one for each pair")
        if _near(found, ((moved - corrupted) / (clean - corrupted)).mean()):
            raise Hint("that is a mean of ratios: one pair whose runs hardly differ rules it")
        if _near(found, (moved - clean).mean() / (corrupted - clean).mean()):
            raise Hint("0 should be the corrupted run and 1 the clean one; yours is turned round")
        if _near(found, (moved - corrupted).mean()):
            raise Hint("that is in logits; divide by the whole way from corrupted to clean")
        like(found, wanted, "your effect")


def _near(found: object, value: Tensor) -> bool:
    return abs(float(found) - float(value)) < 1e-5 if isinstance(found, Tensor | float) else False

"""The exercises of notebook 09: pairs of prompts, one patch, its effect."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from notebooks.check import Hint, exercise, like, tried
from workbench import Edit, Head, load, run
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
        places = _places(found)
        if places != wanted:
            raise Hint(_differing(places, wanted, clean, corrupted))
    try:
        answer([0, 1, 2], [0, 1])
    except ValueError:
        return
    except Exception as error:
        raise Hint(f"rows of other lengths raise {type(error).__name__}, not ValueError") from error
    raise Hint("rows of other lengths pass without an error; `zip` stops at the shorter one")


def _places(found: object) -> list[int]:
    """As plain numbers. A hint for what is no row of positions."""
    if isinstance(found, set):
        raise Hint("a set has no order; return a list")
    try:
        plain = np.asarray(found)
    except (TypeError, ValueError, RuntimeError):
        raise Hint(f"a list of positions is asked for, not {type(found).__name__}") from None
    if plain.dtype == bool:
        raise Hint("that says of each position whether it differs; list those that do")
    if plain.ndim != 1:
        raise Hint(f"a plain list of positions is asked for; yours has the shape {plain.shape}")
    return plain.astype(int).tolist()


def _differing(found: list[int], wanted: list[int], clean: list[int], corrupted: list[int]) -> str:
    told = f"for {clean} and {corrupted} your function returns {found}"
    if found and found == [place + 1 for place in wanted]:
        return f"{told}: positions are counted from 0"
    if not found and sorted(clean) == sorted(corrupted):
        return f"{told}: the same tokens in another order are another prompt"
    if found == [clean[i] for i in wanted]:
        return f"{told}: those are tokens; positions are asked for"
    return f"{told}, which is not where they differ"


@exercise("09.patched")
def patched(answer: Callable[[Model, Ids, Ids, str], Float[Tensor, " token"]]) -> None:
    """Against runs of our own: on the induction model written by hand, and on one in which every
    head and every position counts."""
    for name, head in (("by-hand", "L0H1"), ("by-hand", "L1H2"), ("2l", "L0H1"), ("2l", "L1H0")):
        model, clean, corrupted = _prompts(f"induction-{name}")
        wanted = _patched(model, clean, corrupted, head)
        told = f"{model.name}, {clean.tolist()}, {corrupted.tolist()}, {head!r}"
        found = tried(answer, model, clean.clone(), corrupted.clone(), head, told=told)
        if isinstance(found, Tensor) and found.shape == wanted.shape:
            _told_apart(found, wanted, model, clean, corrupted, head)
        like(found, wanted, "what your function returns")


def _told_apart(
    found: Tensor, wanted: Tensor, model: Model, clean: Ids, corrupted: Ids, head: str
) -> None:
    layer, apart = Head.parse(head).layer, (clean != corrupted)[0]
    whole = "that patches all heads of the layer; one head is asked for"
    for other, hint in (
        (wanted, ""),
        (
            _patched(model, corrupted, clean, head),
            "that is the clean run with the corrupted run's head: source and base are swapped",
        ),
        (_last(model, corrupted, [_put_in(model, clean, f"{layer}.z")]), whole),
        (_last(model, corrupted, [_put_in(model, clean, f"{layer}.attn_out")]), whole),
        (
            _patched(model, clean, corrupted, head, apart),
            "that patches only where the prompts differ; all positions are asked for",
        ),
        (_last(model, corrupted), "that is the corrupted run as it was: the edit changes nothing"),
        (_last(model, clean), "that is the clean run: patch into the corrupted one"),
    ):
        if torch.allclose(found.double(), other.double(), atol=1e-4):
            if hint:
                raise Hint(hint)
            return


def _patched(
    model: Model, source: Ids, base: Ids, head: str, where: Bool[Tensor, " pos"] | None = None
) -> Float[Tensor, " token"]:
    return _last(model, base, [_put_in(model, source, f"{head}.z", where)])


def _put_in(
    model: Model, source: Ids, site: str, where: Bool[Tensor, " pos"] | None = None
) -> Edit:
    (kept,) = run(model, source, read=site, stop="never").activations.values()

    places = slice(None) if where is None else where

    def put_in(value: Tensor) -> Tensor:
        value[:, places] = kept[:, places]
        return value

    return Edit(site, put_in)


def _last(model: Model, ids: Ids, edits: Sequence[Edit] = ()) -> Float[Tensor, " token"]:
    logits = run(model, ids, edit=edits).logits
    assert logits is not None, "a run that nothing stops reaches the logits"
    return logits[0, -1]


@cache
def _prompts(name: str) -> tuple[Model, Ids, Ids]:
    return (
        load(name, device="cpu"),
        torch.tensor([[0, 4, 7, 9, 5, 6, 4]]),
        torch.tensor([[0, 3, 8, 9, 5, 6, 3]]),
    )


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
    try:
        return abs(float(found) - float(value)) < 1e-5  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        return False

"""The exercises of notebook 00: a look at a pattern, and the effect of a patch."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from notebooks.check import Hint, exercise, like, tried

Attended = Callable[[Float[Tensor, "query key"], Sequence[str], int], str]


@exercise("00.attended")
def attended(answer: Attended) -> None:
    """Along the keys of one query, without BOS."""
    tokens = ["BOS", *"abcdefg"]
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        scores = torch.randn(8, 8, generator=generator) + torch.tensor([2.0] + [0.0] * 7)
        causal = torch.ones(8, 8).tril().bool()
        pattern = scores.masked_fill(~causal, -torch.inf).softmax(-1)
        for query in range(1, 8):
            told = f"a random pattern, {tokens}, {query}"
            found = tried(answer, pattern.clone(), list(tokens), query, told=told)
            if found not in tokens:
                raise Hint(f"one of the tokens is asked for; your function returns {found!r}")
            best = int(pattern[query, 1:].argmax())
            if found != tokens[best + 1]:
                raise Hint(_why(found, tokens, pattern, query, best))


def _why(found: str, tokens: Sequence[str], pattern: Tensor, query: int, best: int) -> str:
    if found == "BOS":
        return "your function answers BOS, which is not to be counted"
    if found == tokens[best]:
        return "that is the token before it: once BOS is cut off, position 0 is another one"
    if found == tokens[int(pattern[1:, query].argmax()) + 1]:
        return "that is the query that looks at this token most; queries are rows, keys columns"
    return f"for query {query} your function answers {found!r}, which gets less than another token"


@exercise("00.effect")
def effect(answer: Callable[[float, float, float], float]) -> None:
    """0 is the corrupted run, 1 the clean one, whatever their signs."""
    for clean, corrupted, patched in _RUNS:
        found = tried(answer, clean, corrupted, patched)
        way = clean - corrupted
        told = f"clean {clean}, corrupted {corrupted}, patched {patched}"
        wanted = (patched - corrupted) / way
        for other, hint in (
            (patched - corrupted, "that is a difference of logits; divide by the whole way"),
            ((clean - patched) / way, "that is what is missing; 0 should be the corrupted run"),
            ((patched - clean) / way, "0 should be the corrupted run, and yours is 0 at the clean"),
            (patched / clean, "a corrupted run whose logit difference is not 0 is not at 0 then"),
        ):
            if _equal(found, other) and not _equal(found, wanted):
                raise Hint(f"{hint} ({told})")
        like(found, wanted, f"your effect for {told}")


_RUNS = ((4.0, 1.0, 2.0), (7.4, -9.9, -9.9), (7.4, -9.9, 7.4), (3.0, -1.0, -3.0), (-2.0, 2.0, 1.0))


def _equal(found: object, value: float) -> bool:
    return isinstance(found, int | float) and abs(found - value) < 1e-6

"""The exercises of notebook 06: temperature, nucleus, perplexity, speculative decoding."""

from collections.abc import Callable
from numbers import Real
from operator import index

import torch
from jaxtyping import Float, Int
from torch import Tensor

from notebooks.check import Hint, exercise, like, tried

Shares = Float[Tensor, " token"]


@exercise("06.softmax")
def softmax(answer: Callable[[Shares, float], Shares]) -> None:
    """Any temperature, and large logits."""
    generator = torch.Generator().manual_seed(0)
    for temperature in (1.0, 0.5, 3.0):
        logits = 2 * torch.randn(6, generator=generator)
        found = tried(answer, logits.clone(), temperature, told=f"six logits, {temperature}")
        wanted = (logits / temperature).softmax(-1)
        for other, hint in (
            ((logits * temperature).softmax(-1), "a higher temperature sharpens in yours"),
            (logits.softmax(-1) / temperature, "divide the logits, before the exponential"),
            (logits.softmax(-1), "the temperature has no effect"),
            ((logits / temperature).exp(), "these do not sum to one"),
        ):
            if _same(found, other) and not _same(found, wanted):
                raise Hint(hint)
        like(found, wanted, f"your shares at temperature {temperature}")
    large = torch.tensor([1000.0, 998.0, 0.0])
    found = torch.as_tensor(tried(answer, large, 1.0, told="[1000, 998, 0], 1"))
    if not bool(found.isfinite().all()):
        raise Hint("[1000, 998, 0] gives nan: take the largest logit off first; no share changes")
    like(found, large.softmax(-1), "your shares of [1000, 998, 0]")
    greedy = torch.as_tensor(tried(answer, torch.tensor([1.0, 3.0, 2.0]), 0, told="[1, 3, 2], 0"))
    if not _same(greedy.float(), torch.tensor([0.0, 1.0, 0.0])):
        raise Hint("at temperature 0 all probability goes to the likeliest token")


@exercise("06.top_p")
def top_p(answer: Callable[[Shares, float], Shares]) -> None:
    """The token that crosses p belongs to it; order as before; one always stays."""
    for given, several in (
        ([0.1, 0.4, 0.05, 0.3, 0.15], (0.5, 0.8, 0.01, 1.0)),
        ([0.125, 0.5, 0.125, 0.25], (0.5, 0.75, 0.8)),  # sums are exact, and one is p
        ([0.25, 0.25, 0.25, 0.25], (0.5, 0.6)),  # tied: which ones stay is open
        ([0.7, 0.02, 0.06, 0.1, 0.05, 0.04, 0.03], (0.5, 0.9)),
    ):
        shares = torch.tensor(given)
        for p in several:
            told = f"{given}, {p}"
            found = tried(answer, shares.clone(), p, told=told)
            wanted = _nucleus(shares, p)
            if given[0] == given[1] and isinstance(found, Tensor):
                found, wanted = found.sort().values, wanted.sort().values
            if isinstance(found, Tensor) and found.shape == shares.shape:
                _why_not(found, shares, wanted, p, told)
            like(found, wanted, f"your nucleus for {told}")


def _why_not(found: Shares, shares: Shares, wanted: Shares, p: float, told: str) -> None:
    if _same(found, wanted):
        return
    kept, right = int((found > 0).sum()), int((wanted > 0).sum())
    if not bool(found.isfinite().all()) or kept == 0:
        raise Hint(f"for {told} nothing is left; the likeliest token always stays")
    if _same(found / found.sum(), wanted):
        raise Hint(f"the right tokens, but they sum to {float(found.sum()):.2f} and not to 1")
    if kept == right - 1:
        raise Hint(f"for {told} the token with which the sum reaches p is missing")
    if _same(found.sort(descending=True).values, wanted.sort(descending=True).values):
        raise Hint(
            f"for {told} they stand in the order of their size: put them back at their tokens"
        )
    if kept == right:
        raise Hint(f"for {told} as many tokens are kept as there should be, but other ones")
    many = "fewer" if right < kept else "more"
    raise Hint(f"for {told} {kept} tokens are kept; {many} make the smallest set that reaches p")


def _nucleus(shares: Shares, p: float) -> Shares:
    ordered, tokens = shares.sort(descending=True)
    kept = ordered * (ordered.cumsum(0) - ordered < p)
    found = torch.zeros_like(shares).scatter(0, tokens, kept)
    return found / found.sum()


@exercise("06.perplexity")
def my_perplexity(
    answer: Callable[[Float[Tensor, "pos token"], Int[Tensor, " pos"]], Float[Tensor, ""]],
) -> None:
    """Position i predicts token i + 1."""
    for seed, n in enumerate((4, 7)):
        generator = torch.Generator().manual_seed(seed)
        logits = 2 * torch.randn(n, 9, generator=generator)
        ids = torch.randint(9, (n,), generator=generator)
        told = f"logits [{n}, 9], ids [{n}]"
        found = tried(answer, logits.clone(), ids.clone(), told=told)
        log_shares = logits.log_softmax(-1)
        losses = -log_shares[:-1].gather(-1, ids[1:, None])
        wanted = losses.mean().exp()
        for other, hint in (
            (-log_shares.gather(-1, ids[:, None]).mean(), _OWN),
            ((-log_shares.gather(-1, ids[:, None]).mean()).exp(), _OWN),
            ((-log_shares[1:].gather(-1, ids[:-1, None]).mean()).exp(), _BACK),
            (losses.mean(), "that is the mean loss in nats; its exponential is asked for"),
            (losses.sum().exp(), "that is the sum over positions; the mean is asked for"),
            (losses.exp().mean(), "the mean comes first, then the exponential"),
            ((-losses.mean()).exp(), "perplexity is above 1: the sign of the loss"),
        ):
            if isinstance(found, Real | Tensor) and _same(torch.as_tensor(found), other):
                raise Hint(hint)
        like(found, float(wanted), "your perplexity", tolerance=1e-3)


_OWN = "each position is held against its own token; it predicts the next one"
_BACK = "each position is held against the token before it; it predicts the one after"


@exercise("06.speculative")
def speculative(answer: Callable[[Shares, Shares, int, float, float], int]) -> None:
    """Which tokens are accepted, what is drawn else, and the distribution of it all."""
    p, q = torch.tensor([0.5, 0.3, 0.2, 0.0]), torch.tensor([0.2, 0.6, 0.1, 0.1])
    for token, u, v, wanted, hint in (
        (0, 0.99, 0.5, 0, "where p is above q the draft's token is always accepted"),
        (1, 0.4, 0.9, 1, "token 1 has p / q = .5 and u = .4: it is accepted"),
        (1, 0.6, 0.1, 0, "token 1 has p / q = .5 and u = .6: it is refused"),
        (1, 0.6, 0.9, 2, "after a refusal v draws from what p has more than q, scaled to one"),
        (1, 0.6, 0.7, 0, "after a refusal v draws from what p has more than q, scaled to one"),
        (3, 0.01, 0.2, 0, "token 3 has no probability in p: it is never accepted"),
    ):
        told = f"p, q, {token}, {u}, {v}"
        found = _token(tried(answer, p.clone(), q.clone(), token, u, v, told=told))
        if found != wanted:
            raise Hint(f"for token {token}, u {u}, v {v} your function returns {found}: {hint}")
    generator = torch.Generator().manual_seed(0)
    for size in (4, 3, 6):
        _distributed(answer, p, q, generator)
        p, q = (2 * torch.randn(2, size, generator=generator)).softmax(-1)


def _distributed(answer: Callable[..., int], p: Shares, q: Shares, generator) -> None:
    drafts = q.multinomial(3000, replacement=True, generator=generator).tolist()
    dice = torch.rand(3000, 2, generator=generator).tolist()
    told = "p, q, token, u, v"
    taken = [
        _token(tried(answer, p, q, token, *two, told=told))
        for token, two in zip(drafts, dice, strict=True)
    ]
    if not 0 <= min(taken) <= max(taken) < len(p):
        raise Hint(f"for {len(p)} tokens your function returns one that is not among them")
    counts = torch.bincount(torch.tensor(taken), minlength=len(p)) / len(taken)
    if float((counts - p).abs().max()) > 0.03:
        raise Hint(f"over many draws from {len(p)} tokens yours are not distributed as p")


def _token(found: object) -> int:
    try:
        return index(found)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise Hint(f"a token's number is asked for; yours is {type(found).__name__}") from None


def _same(found: object, other: Tensor) -> bool:
    return (
        isinstance(found, Tensor)
        and found.shape == other.shape
        and bool(torch.allclose(found.float(), other.float(), atol=1e-5))
    )

"""The exercises of notebook 13: an encoder, a comparison of dictionaries, FVU."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from notebooks.check import Hint, exercise, like, tried

Rows = Float[Tensor, "row d"]
Number = Float[Tensor, ""]


@exercise("13.encode")
def encode(answer: Callable[..., Float[Tensor, "row latent"]]) -> None:
    """The k largest, as they are signed, and no negative ones among them."""
    for seed, (n, d, latents, k) in enumerate(((5, 4, 9, 3), (3, 6, 8, 8), (4, 3, 5, 1))):
        generator = torch.Generator().manual_seed(seed)
        x, W_enc = (torch.randn(*s, generator=generator) for s in ((n, d), (latents, d)))
        b_enc, b_dec = (
            torch.randn(latents, generator=generator),
            torch.randn(d, generator=generator),
        )
        found = tried(answer, x, W_enc, b_enc, b_dec, k, told=f"x, W_enc, b_enc, b_dec, {k}")
        before = (x - b_dec) @ W_enc.T + b_enc
        wanted = _topk(before, k)
        for other, hint in (
            (_topk(before, k, keep=True), "negative values are among them; strengths are not"),
            (_topk(x @ W_enc.T + b_enc, k), "b_dec is not taken off before the encoder"),
            (_topk(before.abs(), k), "the largest are meant, not the largest in absolute value"),
            (before.relu(), "all positive latents are active; only k of a row may be"),
            (before.topk(k).values.relu(), "k values a row: put them back at their latents"),
            (_topk(before.T, min(k, n)).T, "the k largest of each row, not of each latent"),
        ):
            if isinstance(found, Tensor) and _same(found, other) and not _same(found, wanted):
                raise Hint(hint)
        like(found, wanted, "what your encoder says")


def _topk(before: Tensor, k: int, *, keep: bool = False) -> Tensor:
    found = before.topk(k, dim=-1)
    values = found.values if keep else found.values.relu()
    return torch.zeros_like(before).scatter(-1, found.indices, values)


@exercise("13.mmcs")
def mmcs(answer: Callable[[Rows, Rows], Number]) -> None:
    """For each true row its nearest found one."""
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        truth, rows = (torch.randn(n, 6, generator=generator) for n in (4, 9))
        rows = rows * torch.arange(1, 10)[:, None]
        found = tried(answer, truth, rows, told="truth, found")
        normed = torch.nn.functional.normalize
        cosines = normed(truth, dim=1) @ normed(rows, dim=1).T
        wanted = cosines.max(1).values.mean()
        for other, hint in (
            (cosines.max(0).values.mean(), "for each found row; each true one is to be looked for"),
            (cosines.mean(), "that is the mean of all cosines; the largest for each row is asked"),
            (
                (truth @ rows.T).max(1).values.mean(),
                "those are products, not cosines: lengths count",
            ),
            (cosines.abs().max(1).values.mean(), "a feature's opposite is not the feature"),
            (cosines.max(), "that is one largest cosine; the mean over true rows is asked for"),
            (
                (normed(truth, dim=0) @ normed(rows, dim=0).T).max(1).values.mean(),
                "columns have length 1 in yours; rows should",
            ),
        ):
            if _same(torch.as_tensor(found), other):
                raise Hint(hint)
        like(found, wanted, "your MMCS")


@exercise("13.fvu")
def fvu(answer: Callable[[Rows, Rows], Number]) -> None:
    """The squared error over the distance from the rows' own mean."""
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(7, 5, generator=generator) + torch.tensor([5.0, -3.0, 0.0, 1.0, 2.0])
        made = x + 0.3 * torch.randn(7, 5, generator=generator)
        found = torch.as_tensor(tried(answer, x, made, told="x, made"))
        error = (x - made).square()
        wanted = error.sum() / (x - x.mean(0)).square().sum()
        for other, hint in (
            (
                error.sum() / x.square().sum(),
                "that divides by x itself; the mean is to be taken off",
            ),
            (
                error.sum() / (x - x.mean()).square().sum(),
                "one mean for all dimensions; each has its own",
            ),
            (error.sum() / x.var(), "that divides by one variance of all numbers"),
            (1 - wanted, "that is the explained part; the unexplained is asked for"),
            (error.mean(), "that is an error in units of x; divide by the variance"),
            ((x - made).norm() / (x - x.mean(0)).norm(), "lengths; squares are asked for"),
        ):
            if _same(found, other):
                raise Hint(hint)
        like(found, wanted, "your FVU")


def _same(found: Tensor, other: Tensor) -> bool:
    return found.shape == other.shape and bool(torch.allclose(found.float(), other, atol=1e-5))

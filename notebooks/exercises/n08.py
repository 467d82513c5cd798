"""The exercises of notebook 08: shares of logits, copying, induction."""

from collections.abc import Callable
from numbers import Real

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from notebooks.check import Hint, Largest, exercise, like, tried

Shares = Float[Tensor, "pos head vocab"]


@exercise("08.shares")
def shares(answer: Callable[..., Shares]) -> None:
    """Head by head; their sum is the layer's."""
    for seed, (pos, head, d_head, d_model, vocab) in enumerate(((3, 2, 4, 8, 5), (1, 3, 2, 6, 9))):
        generator = torch.Generator().manual_seed(seed)
        z, W_O, W_U = (
            torch.randn(*sizes, generator=generator)
            for sizes in ((pos, head, d_head), (head, d_head, d_model), (d_model, vocab))
        )
        told = "z, W_O, W_U"
        found = tried(answer, z, W_O, W_U, told=told)
        wanted = einsum(z, W_O, W_U, "p h d, h d m, m v -> p h v")
        if isinstance(found, Tensor):
            if found.shape == (pos, vocab):
                raise Hint("the heads are summed; each one's own share is asked for")
            if found.shape == (pos, head, d_model):
                raise Hint("that is what heads write to the stream; read it with the unembedding")
            if found.shape == (head, pos, vocab):
                raise Hint("positions come first, then heads: [pos, head, vocab]")
        like(found, wanted, "the shares")


@exercise("08.copying")
def copying(answer: Callable[..., Float[Tensor, ""]]) -> None:
    """Real parts over absolute values, of a small matrix."""
    for seed in range(3):
        W_E, W_V, W_O, W_U = _head(seed, vocab=40)
        values = torch.linalg.eigvals(W_O @ (W_U @ W_E) @ W_V)
        wanted = values.real.sum() / values.abs().sum()
        found = tried(answer, W_E, W_V, W_O, W_U, told="W_E, W_V, W_O, W_U")
        if np.iscomplexobj(found) or (isinstance(found, Tensor) and found.is_complex()):
            raise Hint("your score is a complex number; take the real parts of the eigenvalues")
        singular = torch.linalg.svdvals(W_E @ W_V @ W_O @ W_U)
        for other, hint in (
            (values.real.sum(), "that is not divided by the sum of the absolute values"),
            (values.real.sum() / values.sum().abs(), "absolute values are taken before the sum"),
            (values.real.sum() / values.real.abs().sum(), "the absolute value of a complex number"),
            (singular.sum() / values.abs().sum(), "singular values are never negative"),
            ((values.real > 0).float().mean(), "that counts eigenvalues; large ones weigh more"),
        ):
            if _near(found, other):
                raise Hint(hint)
        like(found, float(wanted), "your score")
    vocab = 400
    with Largest() as made:
        tried(answer, *_head(0, vocab=vocab), told="W_E, W_V, W_O, W_U")
    if made.entries >= vocab**2:
        raise Hint(f"for {vocab} tokens it makes a matrix of {vocab} by {vocab}; never build that")


def _head(seed: int, *, vocab: int) -> list[Float[Tensor, "..."]]:
    generator = torch.Generator().manual_seed(seed)
    sizes = ((vocab, 12), (12, 4), (4, 12), (12, vocab))
    return [torch.randn(*size, generator=generator) for size in sizes]


@exercise("08.induction")
def induction(answer: Callable[[Float[Tensor, "query key"], int], Float[Tensor, ""]]) -> None:
    """From each query of the second half to n - 1 positions before it."""
    for n in (4, 7):
        pattern = _pattern(n)
        later = torch.arange(n, 2 * n)
        found = tried(answer, pattern.clone(), n, told=f"a pattern of {2 * n} positions, {n}")
        wanted = pattern[later, later - n + 1].mean()
        for back, hint in (
            (n, "that is attention to the earlier occurrence itself; what came after is asked for"),
            (n + 1, "that is attention to what stood before the earlier occurrence"),
            (1, "that is attention to the token before, a previous-token score"),
        ):
            some = later[later >= back]
            if _near(found, pattern[some, some - back].mean()):
                raise Hint(hint)
        if _near(found, pattern[later - n + 1, later].mean()):
            raise Hint("rows are queries and columns keys; yours are exchanged")
        if _near(found, pattern.diagonal(-(n - 1)).mean()):
            raise Hint("a diagonal has one query more, from the first half: it has seen no repeat")
        if np.shape(found) == (n,):
            raise Hint("one mean is asked for; yours is one value for each query")
        like(found, float(wanted), "your score")


def _pattern(n: int) -> Float[Tensor, "query key"]:
    scores = torch.randn(2 * n, 2 * n, generator=torch.Generator().manual_seed(n))
    return scores.masked_fill(~torch.ones(2 * n, 2 * n).tril().bool(), -torch.inf).softmax(-1)


def _near(found: object, value: Tensor) -> bool:
    number = isinstance(found, Real) or (isinstance(found, Tensor) and found.ndim == 0)
    return number and abs(float(found) - float(value)) < 1e-5  # pyright: ignore[reportArgumentType]

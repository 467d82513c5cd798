"""Answers to the exercises of notebook 08."""

import torch
from einops import einsum

from tests.notebooks.answers import Answers


def shares(z, W_O, W_U):
    return einsum(z, W_O, W_U, "p h d, h d m, m v -> p h v")


def values(W_E, W_V, W_O, W_U):
    return torch.linalg.eigvals(W_O @ (W_U @ W_E) @ W_V)


def copying(*head):
    found = values(*head)
    return found.real.sum() / found.abs().sum()


def copying_by_table(W_E, W_V, W_O, W_U):
    found = torch.linalg.eigvals(W_E @ W_V @ W_O @ W_U)
    return found.real.sum() / found.abs().sum()


def back(steps):
    def induction(pattern, n):
        queries = torch.arange(max(n, steps(n)), 2 * n)
        return pattern[queries, queries - steps(n)].mean()

    return induction


ANSWERS = {
    "08.shares": Answers(
        right=(
            (shares,),
            (
                lambda z, W_O, W_U: torch.stack(
                    [z[:, h] @ W_O[h] @ W_U for h in range(len(W_O))], dim=1
                ),
            ),
        ),
        wrong=(
            ((lambda z, W_O, W_U: shares(z, W_O, W_U).sum(1),), "heads are summed"),
            ((lambda z, W_O, W_U: einsum(z, W_O, "p h d, h d m -> p h m"),), "unembedding"),
            ((lambda z, W_O, W_U: shares(z, W_O, W_U).transpose(0, 1),), "positions come first"),
        ),
    ),
    "08.copying": Answers(
        right=(
            (copying,),
            (lambda *head: float(copying(*head)),),
            (lambda *head: copying(*head).numpy()[()],),
        ),
        wrong=(
            ((lambda *head: values(*head).sum() / values(*head).abs().sum(),), "complex"),
            ((lambda *head: values(*head).real.sum(),), "not divided"),
            ((lambda *head: values(*head).real.sum() / values(*head).sum().abs(),), "before the"),
            ((copying_by_table,), "a matrix of 400 by 400"),
            ((lambda *head: "0.5",), "is str"),
            ((lambda *head: (values(*head).real > 0).float().mean(),), "counts eigenvalues"),
        ),
    ),
    "08.induction": Answers(
        right=(
            (back(lambda n: n - 1),),
            (lambda pattern, n: back(lambda n: n - 1)(pattern, n).item(),),
        ),
        wrong=(
            ((back(lambda n: n),), "occurrence itself"),
            ((back(lambda n: n + 1),), "stood before"),
            ((back(lambda n: 1),), "previous-token"),
            ((lambda pattern, n: pattern.diagonal(-(n - 1)).mean(),), "one query more"),
            (
                (
                    lambda pattern, n: pattern[
                        torch.arange(1, n + 1), torch.arange(n, 2 * n)
                    ].mean(),
                ),
                "exchanged",
            ),
        ),
    ),
}

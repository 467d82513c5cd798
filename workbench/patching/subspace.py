"""Learning a subspace: orthonormal columns, turned until their interchange gives the answer."""

from collections.abc import Iterator, Sequence
from math import isfinite

import torch
from jaxtyping import Int
from torch import Generator, Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from workbench.errors import InputError
from workbench.patching.gradients import frozen
from workbench.patching.interchange import Basis, Cases
from workbench.patching.metric import log_probability


class Subspace(nn.Module):
    """Orthonormal columns that gradients turn."""

    basis: Tensor

    def __init__(self, start: Basis) -> None:
        super().__init__()
        self.basis = nn.Parameter(start)
        # A trivialisation would draw from torch's own generator, and learned nothing faster.
        orthogonal(self, "basis", orthogonal_map="householder", use_trivialization=False)


def descend(
    cases: Sequence[Cases], learned: Subspace, drawn: Generator, *, batch: int, lr: float
) -> Iterator[float]:
    """Step after step, without an end: the loss before each."""
    adam = torch.optim.Adam(learned.parameters(), lr)
    for number, (some, rows) in enumerate(_epochs(cases, batch, drawn), 1):
        # Frozen for one step at a time, so that nothing is while the loss is handed out.
        with frozen(some.both.model), torch.enable_grad():
            logits = some.logits(learned.basis, rows, grad=True)
            loss = -log_probability(logits, some.towards.of(rows)).mean()
            found = loss.item()
            if not isfinite(found):
                raise InputError(
                    f"the loss of step {number} is {found}; give a lower lr than {lr}, or load "
                    "the model in float32"
                )
            adam.zero_grad()
            loss.backward()
        adam.step()
        yield found


def _epochs(
    cases: Sequence[Cases], batch: int, drawn: Generator
) -> Iterator[tuple[Cases, Int[Tensor, " row"]]]:
    """Batches of pairs of one length, in random order; each pair once before any comes again."""
    while True:
        batches = [
            (some, rows)
            for some in cases
            for rows in torch.randperm(len(some), generator=drawn).split(batch)
        ]
        for number in torch.randperm(len(batches), generator=drawn).tolist():
            yield batches[number]


def random_bases(some: Cases, k: int, n: int, drawn: Generator) -> list[Basis]:
    """Orthonormal columns at the cases' site, every direction as likely as another.

    Raises `InputError` for more columns than the site has dimensions.
    """
    d_site = some.source.shape[2:].numel()
    if k > d_site:
        raise InputError(f"the site has {d_site} dimensions; k is {k}, give 1 to {d_site}")
    draws = (nn.init.orthogonal_(torch.empty(d_site, k), generator=drawn) for _ in range(n))
    return [draw.to(some.source.device) for draw in draws]

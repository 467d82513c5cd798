"""How much of what is known of a board single latents say (Karvonen et al. 2024).

"Measuring Progress in Dictionary Learning for Language Model Interpretability with Board Game
Models" (arXiv:2408.00113). A latent above a share of its largest activation is a classifier of
any property that a row may have: ten shares, so ten classifiers of each latent. Here they are
chosen on some rows and scored on others.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae import kernels
from sae.kernels import Codes
from workbench.errors import InputError

SHARES = tuple(step / 10 for step in range(10))  # of a latent's largest activation
SURE = 0.95  # precision of the classifiers that a board is read by
_SELDOM = 10  # rows: a classifier that says yes less often is not counted as sure


@dataclass(frozen=True, eq=False)
class Coverage:
    """The best classifier of each property, and what all precise ones together read.

    `f1` is on rows that the `latents` and their `shares` were not chosen on; its mean is the
    coverage. `reconstruction` is the mean over rows of the F1 of their properties, each said to
    hold where any classifier is active that was right in 95 % of cases where they were chosen;
    `n_sure` properties have such a one.
    """

    f1: Float[Tensor, " property"]
    latents: Int[Tensor, " property"]
    shares: Float[Tensor, " property"]
    reconstruction: float
    n_sure: int

    @property
    def mean(self) -> float:
        return float(self.f1.mean())


def coverage(
    chosen_on: Codes,
    held: Bool[Tensor, "row property"],
    tested_on: Codes,
    expected: Bool[Tensor, "other property"],
) -> Coverage:
    """Choose classifiers where `held` is known, and score them against `expected`.

    Raises `InputError` for properties of other rows, and for one that no row has.
    """
    _check(chosen_on, held)
    _check(tested_on, expected)
    largest = _largest(chosen_on)
    best, latents = torch.full((held.shape[1],), -1.0), torch.zeros(held.shape[1]).long()
    shares = torch.zeros(held.shape[1])
    sure = []
    for share, fired in _fired(chosen_on, largest):
        hits, said = _counted(fired, held)
        f1, which = (2 * hits / (said + held.sum(0))).max(0)
        better = f1 > best
        best, latents = torch.where(better, f1, best), torch.where(better, which, latents)
        shares[better] = share
        sure.append((hits >= SURE * said) & (said >= _SELDOM))
    scores, read = torch.zeros(held.shape[1]), torch.zeros(expected.shape, dtype=torch.bool)
    every = torch.arange(held.shape[1])
    for (share, fired), precise in zip(_fired(tested_on, largest), sure, strict=True):
        hits, said = _counted(fired, expected)
        f1 = 2 * hits[latents, every] / (said[latents, 0] + expected.sum(0))
        scores = torch.where(shares == share, f1, scores)
        read |= kernels.decode(fired, precise.float()) > 0
    both, either = (read & expected).sum(1), read.sum(1) + expected.sum(1)
    right = torch.where(either > 0, 2 * both / either, 1.0)  # nothing there, and nothing said
    n_sure = int(torch.stack(sure).any(0).any(0).sum())
    return Coverage(scores, latents, shares, float(right.mean()), n_sure)


def _check(codes: Codes, held: Bool[Tensor, "row property"]) -> None:
    if len(held) != codes.n_rows:
        raise InputError(f"{len(held)} rows have properties, {codes.n_rows} codes; give the same")
    if not bool(held.any(0).all()):
        lacking = int((~held.any(0)).sum())
        raise InputError(f"no row has {lacking} of the properties; leave them out")


def _largest(codes: Codes) -> Float[Tensor, " latent"]:
    none = codes.values.new_zeros(codes.n_latents)
    return none.scatter_reduce(0, codes.latents, codes.values, "amax")


def _fired(codes: Codes, largest: Float[Tensor, " latent"]) -> Iterator[tuple[float, Codes]]:
    """For each share the entries above it, each as 1."""
    part = codes.values / largest[codes.latents].clamp_min(1e-30)
    for share in SHARES:
        found = codes.where(part > share)
        yield share, kernels.with_values(found, torch.ones_like(found.values))


def _counted(
    fired: Codes, held: Bool[Tensor, "row property"]
) -> tuple[Float[Tensor, "latent property"], Float[Tensor, "latent 1"]]:
    """How often a latent fired where a property held, and how often at all."""
    said = torch.bincount(fired.latents, minlength=fired.n_latents)
    return kernels.gathered(fired, fired.values, held.float()), said[:, None].float()

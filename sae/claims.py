"""Known answers of dictionaries: `workbench selftest`."""

import torch
from torch import Tensor

from sae.dictionary import SAE
from sae.evaluation import fit
from sae.recipe import Recipe
from sae.training import Training
from workbench.registry import Outcome
from workbench.sites import Site

_FEATURES, _WIDTH, _P = 64, 32, 0.03
_ROWS, _STEPS = 512, 300


def planted_dictionary() -> Outcome:
    """More features than dimensions, few of them at a time: each is found."""
    unit = torch.nn.functional.normalize(_drawn(_FEATURES, _WIDTH, seed=0), dim=1)
    recipe = Recipe("batchtopk", _FEATURES, 2, steps=_STEPS, batch=_ROWS, rate=3e-3)
    mean = _planted(unit, 20_000, 0).mean(0)
    factor = (_WIDTH / float((_planted(unit, 20_000, 0) - mean).square().sum(1).mean())) ** 0.5
    training = Training(recipe, factor * mean, torch.device("cpu"))
    for seed in range(1, _STEPS + 1):
        rows = factor * _planted(unit, _ROWS, seed)
        training.step(training.slopes(rows), _ROWS)
    found = float((unit @ training.weights["W_dec"].T).amax(1).mean())
    return Outcome(
        "Bricken et al. 2023's check on toy data",
        f"mean largest cosine of {_FEATURES} features in {_WIDTH} dimensions > .9",
        f"{found:.3f}",
        found > 0.9,
    )


def identity_and_zero() -> Outcome:
    """What loses nothing leaves no variance unexplained, what keeps nothing leaves all."""
    x = _drawn(1000, 8, seed=1) + 5
    both = torch.cat([torch.eye(8), -torch.eye(8)])
    bias = x.mean(0)
    every = SAE(
        Site.parse("0.resid_post"), "standard", both, torch.zeros(16), both, bias, bias, None,
        torch.zeros(16),
    )  # fmt: skip
    kept = fit([x], bias, every).fvu
    none = fit([x], bias, lambda rows: bias.expand_as(rows)).fvu
    holds = kept < 1e-9 and abs(none - 1) < 1e-6
    return Outcome("by construction", "FVU 0 and 1", f"{kept:.1e} and {none:.6f}", holds)


def _planted(unit: Tensor, n: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    active = torch.rand(n, len(unit), generator=draw) < _P
    return (active * torch.rand(n, len(unit), generator=draw)) @ unit


def _drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

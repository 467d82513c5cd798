"""Known answers of dictionaries: `workbench selftest`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sae.dictionary import SAE
from sae.evaluation import fit, use
from sae.recipe import Recipe
from sae.slopes import Rows
from sae.stability import Match, match
from sae.training import Training
from workbench.registry import Outcome
from workbench.sites import Site

_FEATURES, _WIDTH, _P = 64, 32, 0.03
_ROWS, _STEPS = 512, 300


@dataclass(frozen=True, eq=False)
class Planted:
    """How a dictionary fares on rows that were made from known features, `l0` of them a row."""

    found: Match
    l0: float
    true_l0: float
    explained: float


def planted() -> Planted:
    """Train on more features than dimensions, few of them at a time."""
    unit = torch.nn.functional.normalize(_drawn(_FEATURES, _WIDTH, seed=0), dim=1)
    recipe = Recipe("batchtopk", _FEATURES, 2, steps=_STEPS, batch=_ROWS, rate=3e-3)
    x, active = _sampled(unit, 20_000, 0)
    mean = x.mean(0)
    factor = (_WIDTH / float((x - mean).square().sum(1).mean())) ** 0.5
    training = Training(recipe, factor * mean, torch.device("cpu"))
    for seed in range(1, _STEPS + 1):
        rows = factor * _sampled(unit, _ROWS, seed)[0]
        training.step(training.slopes(rows), _ROWS)
    made = _made(training)
    tested = [factor * x]
    return Planted(
        match(unit, made.W_dec),
        use(made, tested).l0,
        float(active.sum() / len(x)),
        fit([Rows(one) for one in tested], factor * mean, made).explained,
    )


def planted_dictionary() -> Outcome:
    """Each planted feature is found."""
    found = planted().found
    return Outcome(
        "Bricken et al. 2023's check on toy data",
        f"mean largest cosine of {_FEATURES} features in {_WIDTH} dimensions > .9",
        f"{found.mean:.3f}, of random directions {found.chance:.3f}",
        found.mean > 0.9,
    )


def identity_and_zero() -> Outcome:
    """What loses nothing leaves no variance unexplained, what keeps nothing leaves all."""
    x = _drawn(1000, 8, seed=1) + 5
    bias = x.mean(0)
    kept = fit([Rows(x)], bias, identity(Site.parse("0.resid_post"), 8)).fvu
    none = fit([Rows(x)], bias, lambda rows: bias.expand_as(rows)).fvu
    holds = kept < 1e-9 and abs(none - 1) < 1e-6
    return Outcome("by construction", "FVU 0 and 1", f"{kept:.1e} and {none:.6f}", holds)


def identity(site: Site, d: int) -> SAE:
    """Two latents a dimension, one for each sign: nothing is lost."""
    both, zero = torch.cat([torch.eye(d), -torch.eye(d)]), torch.zeros(d)
    return SAE(
        site=site,
        kind="standard",
        W_enc=both,
        b_enc=torch.zeros(2 * d),
        W_dec=both,
        b_dec=zero,
        b_in=zero,
        k=None,
        threshold=torch.zeros(2 * d),
    )


def _made(training: Training) -> SAE:
    """The dictionary as it is, of the scaled rows, used with its running threshold."""
    weights = training.weights
    return SAE(
        site=Site.parse("0.resid_post"),
        kind=training.recipe.kind,
        W_enc=weights["W_enc"],
        b_enc=weights["b_enc"],
        W_dec=weights["W_dec"],
        b_dec=weights["b_dec"],
        b_in=weights["b_dec"],
        k=None,
        threshold=training.least[0].float().expand(training.recipe.width),
    )


def _sampled(unit: Tensor, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows, and which features are active in each."""
    draw = torch.Generator().manual_seed(seed)
    active = torch.rand(n, len(unit), generator=draw) < _P
    return (active * torch.rand(n, len(unit), generator=draw)) @ unit, active


def _drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

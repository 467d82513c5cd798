"""From a training's weights to a dictionary in the model's units: the scale is folded in."""

from collections.abc import Mapping
from typing import Any

import torch

from sae.dictionary import SAE, made_in
from sae.samples import Samples
from sae.training import Training
from workbench.models import Model


def folded(training: Training, samples: Samples, model: Model, card: Mapping[str, Any]) -> SAE:
    """The dictionary as it is now, in the model's units: the scale is folded in."""
    weights = {name: value.detach().clone().cpu() for name, value in training.weights.items()}
    recipe, factor = training.recipe, samples.factor
    W_enc, b_enc = weights["W_enc"], weights["b_enc"]
    threshold = None
    if recipe.kind in ("batchtopk", "matryoshka"):
        threshold = torch.full_like(b_enc, float(training.least[0]))
    elif recipe.kind == "standard":
        threshold = torch.zeros_like(b_enc)
    elif recipe.kind == "jumprelu":
        threshold = weights["threshold"]
    elif recipe.kind == "gated":  # with tied weights, a JumpReLU (Rajamanoharan et al. 2024)
        gain = weights["r_mag"].exp()
        W_enc = gain[:, None] * W_enc
        threshold = (b_enc - gain * weights["b_gate"]).clamp_min(0)
    return SAE(
        site=samples.harvest.site,
        kind=recipe.kind,
        W_enc=W_enc,
        b_enc=b_enc / factor,
        W_dec=weights["W_dec"],
        b_dec=weights["b_dec"] / factor,
        b_in=weights["b_dec"] / factor,
        k=recipe.k if recipe.kind == "topk" else None,
        threshold=None if threshold is None else threshold / factor,
        model=made_in(model),
        card=card,
    )

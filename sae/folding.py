"""From a training's weights to a dictionary in the model's units: scales are folded in."""

from collections.abc import Mapping
from typing import Any

import torch

from sae.dictionary import SAE, made_in
from sae.samples import Samples
from sae.training import Training
from workbench.models import Model


def folded(training: Training, samples: Samples, model: Model, card: Mapping[str, Any]) -> SAE:
    """The dictionary as it is now: it takes and gives the model's own activations.

    Activations are in units of the first site written: there decoder rows that were kept at
    length 1 have it still. Rows that were left free are brought to it.
    """
    weights = {name: value.detach().clone().cpu() for name, value in training.weights.items()}
    recipe, read, wanted = training.recipe, samples.read, samples.wanted
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
    unit = wanted.factors[0]
    gains = weights["W_dec"].norm(dim=1) / unit if recipe.free else torch.ones_like(b_enc) / unit
    W_enc = W_enc * read.factors * gains[:, None]
    b_enc = b_enc * gains
    b_dec = weights["b_dec"] / wanted.factors
    b_in = b_dec.clone()
    if samples.transcodes:  # whose rows came centred
        b_enc, b_in = b_enc - W_enc @ read.mean, torch.zeros_like(read.mean)
    skip = weights.get("skip")
    if skip is not None:
        skip = skip * read.factors / wanted.factors[:, None]
        b_dec = b_dec - skip @ read.mean
    first, *others = samples.harvest.sites
    return SAE(
        site=first,
        kind=recipe.kind,
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=weights["W_dec"] / gains[:, None] / wanted.factors,
        b_dec=b_dec,
        b_in=b_in,
        k=recipe.k if recipe.kind == "topk" else None,
        threshold=None if threshold is None else threshold * gains,
        model=made_in(model),
        card=card,
        others=tuple(others),
        out=samples.wanted.rows.site if samples.transcodes else None,
        skip=skip,
    )

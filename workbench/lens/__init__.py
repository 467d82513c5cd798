"""Lenses: what each layer's residual stream would predict, read as it is or by trained translators."""

from workbench.lens.logit import (
    ByRow,
    Fate,
    Lens,
    Unembed,
    follow,
    lens,
    residuals,
    token_id,
)

__all__ = ["ByRow", "Fate", "Lens", "Unembed", "follow", "lens", "residuals", "token_id"]

"""Lenses: what each layer would predict, read as it is or through trained translators."""

from workbench.lens.comparison import Comparison, compare, settled, standard_error
from workbench.lens.logit import (
    ByRow,
    Fate,
    Lens,
    Unembed,
    follow,
    lens,
    residuals,
)
from workbench.lens.rows import Parts, divided
from workbench.lens.saved import default_name, lens_folder, load_lens, save_lens
from workbench.lens.training import Recipe, Step, train
from workbench.lens.tuned import TunedLens, untrained

__all__ = [
    "ByRow",
    "Comparison",
    "Fate",
    "Lens",
    "Parts",
    "Recipe",
    "Step",
    "TunedLens",
    "Unembed",
    "compare",
    "default_name",
    "divided",
    "follow",
    "lens",
    "lens_folder",
    "load_lens",
    "residuals",
    "save_lens",
    "settled",
    "standard_error",
    "train",
    "untrained",
]

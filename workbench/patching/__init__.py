"""Activation patching: exact sweeps over pairs of prompts, and what a patched run is judged by."""

from workbench.patching.alignment import Alignment, Outcome, align
from workbench.patching.attribution import attribute_patches
from workbench.patching.cost import Cost, cost
from workbench.patching.estimate import Correlation, Estimate, correlation
from workbench.patching.methods import METHODS
from workbench.patching.metric import MEASURES, Metric
from workbench.patching.patched_logits import PatchedLogits, patched_logits
from workbench.patching.statistics import Interval
from workbench.patching.sweep import Sweep, sweep
from workbench.patching.variants import SWEPT

__all__ = [
    "MEASURES",
    "METHODS",
    "SWEPT",
    "Alignment",
    "Correlation",
    "Cost",
    "Estimate",
    "Interval",
    "Metric",
    "Outcome",
    "PatchedLogits",
    "Sweep",
    "align",
    "attribute_patches",
    "correlation",
    "cost",
    "patched_logits",
    "sweep",
]

"""Interventions as edits: ablate by zero, by a mean or by another prompt's values; steer."""

from workbench.interventions.ablation import resample, zero
from workbench.interventions.change import Change, changed
from workbench.interventions.means import Mean, mean
from workbench.interventions.positions import Positions, within
from workbench.interventions.steering import add, mean_norm

__all__ = [
    "Change",
    "Mean",
    "Positions",
    "add",
    "changed",
    "mean",
    "mean_norm",
    "resample",
    "within",
    "zero",
]

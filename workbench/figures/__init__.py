"""Plotly figures from arrays and labels. They neither show nor save; torch is not known here."""

from plotly.graph_objects import Figure

from workbench.figures.attention import head_scores, pattern
from workbench.figures.attribution import contributions, head_shares, shares
from workbench.figures.circuits import eigenvalues, grid
from workbench.figures.edges import circuit, faithfulness
from workbench.figures.layout import DIVERGING, SEQUENTIAL
from workbench.figures.lens import divergence, lens, ranks
from workbench.figures.page import page
from workbench.figures.patching import effects, estimates, head_effects
from workbench.figures.steering import strength_curve, token_table

__all__ = [
    "DIVERGING",
    "SEQUENTIAL",
    "Figure",
    "circuit",
    "contributions",
    "divergence",
    "effects",
    "eigenvalues",
    "estimates",
    "faithfulness",
    "grid",
    "head_effects",
    "head_scores",
    "head_shares",
    "lens",
    "page",
    "pattern",
    "ranks",
    "shares",
    "strength_curve",
    "token_table",
]

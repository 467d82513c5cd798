"""Plotly figures from arrays and labels. They neither show nor save; torch is not known here."""

from plotly.graph_objects import Figure

from workbench.figures.attention import head_scores, pattern
from workbench.figures.attribution import contributions, head_shares, shares
from workbench.figures.circuits import eigenvalues, grid
from workbench.figures.layout import DIVERGING, SEQUENTIAL
from workbench.figures.lens import divergence, lens, ranks
from workbench.figures.page import page
from workbench.figures.patching import effects

__all__ = [
    "DIVERGING",
    "SEQUENTIAL",
    "Figure",
    "contributions",
    "divergence",
    "effects",
    "eigenvalues",
    "grid",
    "head_scores",
    "head_shares",
    "lens",
    "page",
    "pattern",
    "ranks",
    "shares",
]

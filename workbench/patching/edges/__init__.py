"""Edges of the model's graph: their scores, circuits of them, and what circuits are worth."""

from workbench.patching.edges.circuit import Circuit, read_circuit
from workbench.patching.edges.circuit_runs import ABLATIONS, Ablation, CircuitRuns, run_circuits
from workbench.patching.edges.graph import Graph, graph_of
from workbench.patching.edges.measures import (
    FRACTIONS,
    Completeness,
    Curve,
    completeness,
    curve,
    minimality,
)
from workbench.patching.edges.paths import PathPatches, patch_paths
from workbench.patching.edges.scores import METHODS, EdgeScores, score_edges
from workbench.patching.edges.search import SEARCHES, acdc, grown, largest, random_circuits

__all__ = [
    "ABLATIONS",
    "FRACTIONS",
    "METHODS",
    "SEARCHES",
    "Ablation",
    "Circuit",
    "CircuitRuns",
    "Completeness",
    "Curve",
    "EdgeScores",
    "Graph",
    "PathPatches",
    "acdc",
    "completeness",
    "curve",
    "graph_of",
    "grown",
    "largest",
    "minimality",
    "patch_paths",
    "random_circuits",
    "read_circuit",
    "run_circuits",
    "score_edges",
]

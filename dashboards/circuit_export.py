"""The files of the Circuit page, and the figures that it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dashboards.circuit_view import CircuitView, Found
from dashboards.exports import Export, Made, tidy

if TYPE_CHECKING:  # torch and Plotly load with the page, not before
    from dashboards.circuit_finding import Curves
    from workbench.figures import Figure

TOLD = """
kept = runs.faithfulness()  # mean, low, high: [circuit]
names = ["this circuit", "all other edges", *(f"random {n + 1}" for n in range(len(rivals)))]
for name, mean, low, high in zip(names, kept.mean, kept.low, kept.high):
    print(f"{name}: {mean:.4f}"INTERVAL)
for edge in scores.top(20):
    print(scores.graph.name(*edge), f"{scores.shares[edge]:+.4f}", bool(circuit.kept[edge]))"""
CURVES = """
for name, strengths in (("CPR", scores.shares), ("CMD", scores.shares.abs())):
    found = curve(model, judge, scores.graph, strengths, **how)
    print(name, round(found.cpr if name == "CPR" else found.cmd, 4), found.faithfulness.mean)"""


def drawing(found: Found) -> Figure:
    """The circuit as a graph."""
    from workbench.figures import circuit

    graph = found.graph
    return circuit(found.links, layers=graph.n_layers, heads=graph.n_heads, title=found.sized)


def curves_figure(curves: Curves) -> Figure:
    """Faithfulness by size."""
    from workbench.figures import faithfulness

    signed, absolute = curves
    names = ("by signed scores", "by their size")
    return faithfulness(
        signed.fractions,
        {
            name: (found.mean.numpy(), found.low.numpy(), found.high.numpy())
            for name, found in zip(names, (one.faithfulness for one in curves), strict=True)
        },
        title=f"CPR {signed.cpr:.3f} (signed scores), CMD {absolute.cmd:.3f} (their size)",
    )


def circuit_export(
    view: CircuitView, curves: Curves | None, made: Made, figures: Mapping[str, Figure]
) -> Export:
    """The circuit's edges, what it keeps, the strongest edges of all, and the curve."""
    kept = "; ".join(f"{row.name} {row.mean:.3f}" for row in view.kept)
    title = f"Circuit: {view.found.sized}"
    return Export(
        file=f"{made.file} {len(view.found.circuit)} edges",
        title=title,
        note=f"{view.about}. Faithfulness: {kept}. {made.note}",
        tables=_tables(view, curves),
        figures=lambda: [*figures.values()],
        script=made.script(title, *_script(view, curves is not None)),
    )


def _tables(view: CircuitView, curves: Curves | None):
    found = view.found
    tables = {
        "edges": lambda: _edges(found),
        "faithfulness": lambda: tidy(
            {name: np.array([getattr(row, name) for row in view.kept]) for name in BOUNDS},
            {"edges that stay": [row.name for row in view.kept]},
        ),
        "strongest edges": lambda: _strongest(found),
    }
    if curves is not None:
        tables["faithfulness by size"] = lambda: _by_size(curves)
    return tables


BOUNDS = ("mean", "low", "high")
STRONGEST = 1000  # edges in the file


def _edges(found: Found):
    """Every edge that is kept, once: the drawing shows one for each head that reads it."""
    kept, graph = found.circuit.kept.nonzero().tolist(), found.graph
    axis = {
        "edge": [graph.name(*edge) for edge in kept],
        "sender": [graph.senders[sender] for _, sender in kept],
        "receiver": [graph.receivers[receiver] for receiver, _ in kept],
    }
    return tidy({"share": found.scores.shares[found.circuit.kept].numpy()}, axis)


def _strongest(found: Found):
    rows = found.strongest(STRONGEST)
    names = ("share", "low", "high", "kept")
    return tidy(
        {name: np.array([getattr(row, name) for row in rows]) for name in names},
        {"edge": [row.name for row in rows]},
    )


def _by_size(curves: Curves):
    values = {
        f"{what} {name}": np.array(getattr(one.faithfulness, name))
        for what, one in zip(("signed", "size"), curves, strict=True)
        for name in BOUNDS
    }
    edges = {
        f"{what} edges": one.sizes for what, one in zip(("signed", "size"), curves, strict=True)
    }
    return tidy(values, {"share of all edges": curves[0].fractions, **edges})


def _script(view: CircuitView, curves: bool) -> tuple[Sequence[str], Sequence[str]]:
    """What the script imports, and its lines."""
    question, chosen = view.found.question, view.found.chosen
    scoring = ", ".join(f"{name}={value!r}" for name, value in question.scoring.items())
    judging = ", ".join(f"{name}={value!r}" for name, value in question.judging.items())
    names = ["SEARCHES", "random_circuits", "run_circuits", "score_edges"]
    pins = f".joined({[*chosen.pins]!r})" if chosen.pins else ""
    code = [
        "find, judge = pairs.halves()",
        f"scores = score_edges(model, find, {scoring})",
        f"circuit = SEARCHES[{question.search!r}](scores.graph, scores.shares.abs(), "
        f"{chosen.size}){pins}",
        f"rivals = random_circuits(circuit, {chosen.rivals})",
        f"how = dict({judging})",
        "runs = run_circuits(model, judge, [circuit, circuit.complement(), *rivals], **how)",
        # One pair has no interval.
        TOLD.replace("INTERVAL", ' + f" [{low:.4f}, {high:.4f}]"' if not view.one else ""),
    ]
    if curves:
        names.append("curve")
        code.append(CURVES)
    return [f"workbench.patching.edges:{name}" for name in names], code

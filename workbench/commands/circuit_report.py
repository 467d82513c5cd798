"""What `workbench circuit` shows: tables, JSON, a drawing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.commands import output

if TYPE_CHECKING:  # torch must not load for --help
    from workbench.patching.edges import Circuit, CircuitRuns, Completeness, Curve, EdgeScores


@dataclass(frozen=True)
class Found:
    """A circuit and all that was asked about it."""

    circuit: Circuit
    scores: EdgeScores | None
    runs: CircuitRuns
    rivals: int
    curves: tuple[Curve, Curve] | None
    completeness: Completeness | None
    minimality: dict[str, float] | None


def tell(found: Found, note: str, top: int) -> None:
    """Print what was asked for."""
    output.say(note)
    output.table(
        "faithfulness: 0 is the empty circuit, 1 the whole model",
        ["edges that stay", "faithfulness", "95 % interval"],
        [
            [name, f"{mean:+.3f}", f"{low:+.3f} to {high:+.3f}"]
            for name, mean, low, high in _faithfulness(found)
        ],
    )
    if found.scores is not None:
        edges, graph = found.scores.top(top), found.scores.graph
        shares = found.scores.intervals(edges)
        output.table(
            f"strongest edges, by {found.scores.method}: share of the difference lost without",
            ["edge", "share", "95 % interval"],
            [
                [graph.name(*edge), f"{mean:+.3f}", f"{low:+.3f} to {high:+.3f}"]
                for edge, mean, low, high in zip(
                    edges, shares.mean, shares.low, shares.high, strict=True
                )
            ],
        )
        if found.scores.steps is not None:
            output.say(
                f"shares out of the embedding sum to {found.scores.summed:.3f}: near 1 where "
                f"--steps ({found.scores.steps}) are enough"
            )
    if found.curves is not None:
        _tell_curves(found.curves)
    if found.completeness is not None:
        complete = found.completeness
        output.say(
            f"completeness: without random halves of its components, circuit and model differ in "
            f"faithfulness by up to {complete.gap:.3f} ({len(complete.subsets)} halves)"
        )
    if found.minimality is not None:
        ranked = sorted(found.minimality.items(), key=lambda item: -abs(item[1]))
        output.table(
            "minimality: faithfulness lost without a component, all others kept",
            ["component", "lost"],
            [[name, f"{lost:+.3f}"] for name, lost in ranked[:top]],
        )


def _tell_curves(curves: tuple[Curve, Curve]) -> None:
    signed, absolute = curves
    rows = zip(signed.fractions, signed.faithfulness.mean, absolute.faithfulness.mean, strict=True)
    output.table(
        f"by size: CPR {signed.cpr:.3f} (signed scores), CMD {absolute.cmd:.3f} (their size)",
        ["of all edges", "signed", "by size"],
        [[f"{part:.1%}", f"{float(one):+.3f}", f"{float(two):+.3f}"] for part, one, two in rows],
    )


def _faithfulness(found: Found) -> list[tuple[str, float, float, float]]:
    interval = found.runs.faithfulness()
    names = ["the circuit", "all others"]
    names += [f"random circuit {number + 1}" for number in range(found.rivals)]
    columns = (bound.tolist() for bound in (interval.mean, interval.low, interval.high))
    return list(zip(names, *columns, strict=True))


def plain(found: Found, note: str) -> dict[str, Any]:
    """Everything, for JSON."""
    curves = None
    if found.curves is not None:
        signed, absolute = found.curves
        curves = {
            "fractions": list(signed.fractions),
            "signed": signed.faithfulness.mean.tolist(),
            "absolute": absolute.faithfulness.mean.tolist(),
            "CPR": signed.cpr,
            "CMD": absolute.cmd,
        }
    complete = found.completeness
    return {
        "note": note,
        "edges": list(found.circuit.edges),
        "found": dict(found.circuit.found),
        "shares": None if found.scores is None else _shares(found),
        "faithfulness": [
            {"edges": name, "mean": mean, "low": low, "high": high}
            for name, mean, low, high in _faithfulness(found)
        ],
        "curves": curves,
        "summed": None if found.scores is None else found.scores.summed,
        "completeness": None if complete is None else complete.gap,
        "minimality": found.minimality,
    }


def _shares(found: Found) -> list[float]:
    assert found.scores is not None
    return found.scores.shares[found.circuit.kept].tolist()


def draw(found: Found, note: str) -> str:
    """The circuit's strongest edges, and its curves, as a page."""
    from workbench import figures

    graph, shares = found.circuit.graph, None if found.scores is None else found.scores.shares
    edges = [
        (sender, reader, graph.name(*edge), 1.0 if shares is None else float(shares[edge]))
        for sender, reader, edge in found.circuit.links()
    ]
    title = f"{len(found.circuit):,} edges"
    plots = [figures.circuit(edges, layers=graph.n_layers, heads=graph.n_heads, title=title)]
    if found.curves is not None:
        signed, absolute = found.curves
        plots.append(
            figures.faithfulness(
                signed.fractions,
                {
                    name: (
                        one.faithfulness.mean.numpy(),
                        one.faithfulness.low.numpy(),
                        one.faithfulness.high.numpy(),
                    )
                    for name, one in (("signed scores", signed), ("by size", absolute))
                },
                title=f"CPR {signed.cpr:.3f}, CMD {absolute.cmd:.3f}",
            )
        )
    rows = "; ".join(f"{name} {mean:.3f}" for name, mean, *_ in _faithfulness(found))
    return figures.page(plots, title="Circuit", note=f"{note}. Faithfulness: {rows}.")

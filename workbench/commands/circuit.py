"""`workbench circuit`: the edges that carry an answer, and what such a circuit is worth."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands import options, output
from workbench.commands.circuit_report import Found, draw, plain, tell
from workbench.commands.pairs import add_metric, add_pairs, check, open_metric, open_pairs
from workbench.errors import InputError
from workbench.registry import Command

if TYPE_CHECKING:  # torch must not load for --help
    from workbench.cache import Store
    from workbench.models import Model
    from workbench.patching import Metric
    from workbench.patching.edges import Circuit, EdgeScores
    from workbench.tasks import Pairs


def configure(parser: ArgumentParser) -> None:
    add_pairs(parser)
    how = parser.add_argument_group("how the circuit is found")
    how.add_argument(
        "--method",
        default="EAP-IG",
        help="EAP-IG, EAP, exact (small models) or ACDC (small models) (default: %(default)s)",
    )
    how.add_argument("--steps", type=int, default=5, help="gradients along the line of EAP-IG (5)")
    how.add_argument("--edges", type=int, help="edges of the circuit (200, or all there are)")
    how.add_argument(
        "--search",
        default="greedy",
        help="greedy: edges that lead to the logits; threshold: the largest scores (greedy)",
    )
    how.add_argument("--threshold", type=float, default=0.01, help="of ACDC, in nats (0.01)")
    how.add_argument("--circuit", type=Path, metavar="FILE", help="judge the circuit of a file")
    how.add_argument("--out", type=Path, metavar="FILE", help="write the circuit as JSON")
    judged = parser.add_argument_group("how it is judged")
    add_metric(judged)
    judged.add_argument(
        "--ablation", default="resample", help="resample, mean or zero, outside the circuit"
    )
    judged.add_argument("--random", type=int, default=5, help="random circuits beside it (5)")
    judged.add_argument("--curve", action="store_true", help="faithfulness by size: CPR and CMD")
    judged.add_argument(
        "--thorough", action="store_true", help="completeness, and minimality by component"
    )
    judged.add_argument(
        "--same-pairs",
        action="store_true",
        help="find and judge on all pairs; by default on one half each",
    )
    parser.add_argument("--top", type=int, default=12, help="edges listed (12)")
    options.add_model(parser)
    options.add_store(parser)
    options.add_output(parser)


def run(arguments: Namespace) -> int:
    check(
        arguments,
        (arguments.random >= 0, "--random takes a whole number from 0"),
        (
            arguments.circuit is None or arguments.edges is None,
            "--edges is for finding a circuit, a file has its own; leave one out",
        ),
        (
            arguments.circuit is None or not arguments.curve,
            "--curve ranks edges by scores, which a file has none of; leave --circuit out",
        ),
        (
            arguments.method.upper() != "ACDC" or not arguments.curve,
            "--curve ranks edges by scores, which ACDC has none of; give another --method",
        ),
    )
    # torch loads here, not for --help
    from workbench.cache.resources import spending

    _check_names(arguments)
    metric = open_metric(arguments)
    model, store = options.open_model(arguments), options.open_store(arguments)
    pairs = open_pairs(arguments, model)
    on_all = arguments.same_pairs or arguments.circuit is not None
    search, judge = (pairs, pairs) if on_all else pairs.halves()
    with spending(model.device) as spent:
        circuit, scores = _circuit(arguments, model, search, metric, store)
        found = _judged(arguments, model, judge, metric, store, circuit, scores)
    if arguments.out:
        _write(circuit, arguments.out)
    note = _note(arguments, model, search, judge, found)
    if arguments.json:
        output.dump(plain(found, note) | {"seconds": spent.seconds})
    else:
        tell(found, note, arguments.top)
        output.say(f"{spent.seconds:.1f} s, {spent.host / 1e9:.2f} GB")
    if arguments.html:
        output.write_html(arguments.html, draw(found, note))
    files = [path for path in (arguments.out, arguments.html) if path]
    ids = [tokens.ids for row in pairs for tokens in (row.clean, row.corrupted)]
    output.record("circuit", model, ids, arguments, spent.seconds, files)
    return 0


def _check_names(arguments: Namespace) -> None:
    """Raise `InputError` for names that are not known, before anything is computed."""
    from workbench.patching.edges import ABLATIONS, METHODS, SEARCHES

    known = {"method": (*METHODS, "ACDC"), "search": SEARCHES, "ablation": ABLATIONS}
    for what, names in known.items():
        given = getattr(arguments, what)
        if given not in names and (what, given.upper()) != ("method", "ACDC"):
            raise InputError(f"--{what} {given!r} is not one of {', '.join(names)}")


def _circuit(
    arguments: Namespace, model: Model, pairs: Pairs, metric: Metric, store: Store | None
) -> tuple[Circuit, EdgeScores | None]:
    """The circuit asked for, and the scores that it was found by."""
    from workbench.patching.edges import SEARCHES, Circuit, acdc, read_circuit, score_edges

    if arguments.circuit is not None:
        return read_circuit(arguments.circuit), None
    found = {"model": model.name, "fingerprint": model.identity.fingerprint, "task": pairs.name}
    found |= {"pairs": len(pairs), "seed": arguments.seed or 0, "corruption": arguments.corruption}
    found |= {"metric": metric.name, "at": str(metric.at), "method": arguments.method}
    if arguments.method.upper() == "ACDC":
        with options.bar("edges") as progress:
            one = acdc(
                model, pairs, arguments.threshold, at=metric.at, store=store, progress=progress
            )
        return Circuit(one.graph, one.kept, found | {"threshold": arguments.threshold}), None
    with options.bar("edges") as progress:
        scores = score_edges(
            model,
            pairs,
            metric=metric,
            method=arguments.method,
            steps=arguments.steps,
            store=store,
            progress=progress,
        )
    count = arguments.edges
    if count is None:
        count = min(200, int(scores.graph.valid.sum()))
    one = SEARCHES[arguments.search](scores.graph, scores.shares.abs(), count)
    found |= {"search": arguments.search, "steps": scores.steps}
    return Circuit(one.graph, one.kept, found), scores


def _judged(
    arguments: Namespace,
    model: Model,
    pairs: Pairs,
    metric: Metric,
    store: Store | None,
    circuit: Circuit,
    scores: EdgeScores | None,
) -> Found:
    """The circuit, what is left without it, and random ones; and more where asked for."""
    from workbench.patching.edges import (
        completeness,
        curve,
        minimality,
        random_circuits,
        run_circuits,
    )

    how: dict[str, Any] = {"metric": metric, "ablation": arguments.ablation, "store": store}
    rivals = random_circuits(circuit, arguments.random)
    with options.bar("patched runs") as progress:
        runs = run_circuits(
            model, pairs, [circuit, circuit.complement(), *rivals], **how, progress=progress
        )
    curves = None
    if arguments.curve:
        assert scores is not None, "asked for beside scores alone"
        with options.bar("patched runs, by size") as progress:
            how_curves = {**how, "progress": progress}  # by threshold, as MIB defines them
            curves = (
                curve(model, pairs, scores.graph, scores.shares, **how_curves),
                curve(model, pairs, scores.graph, scores.shares.abs(), **how_curves),
            )
    complete = minimal = None
    if arguments.thorough:
        with options.bar("patched runs, by component") as progress:
            complete = completeness(model, pairs, circuit, **how, progress=progress)
            minimal = minimality(model, pairs, circuit, **how, progress=progress)
    return Found(circuit, scores, runs, len(rivals), curves, complete, minimal)


def _note(arguments: Namespace, model: Model, search: Pairs, judge: Pairs, found: Found) -> str:
    """What was done, on what, and the anchors."""
    made = f"{arguments.method} on {len(search)} pairs of {search.name}"
    judged = "the same" if search is judge else f"{len(judge)} other"
    if arguments.circuit is not None:
        made, judged = str(arguments.circuit), str(len(judge))
        whose = found.circuit.found.get("fingerprint")
        if whose not in (None, model.identity.fingerprint):
            made += f" (found in other weights: {found.circuit.found.get('model')})"
    runs = found.runs
    return (
        f"{len(found.circuit):,} of {int(found.circuit.graph.valid.sum()):,} edges, by {made}; "
        f"judged on {judged} pairs: {runs.metric} "
        f"{float(runs.whole.mean()):.4f} of the whole model, {float(runs.empty.mean()):.4f} of the "
        f"empty circuit ({runs.ablation} ablation); {model.name}, {model.processing}"
    )


def _write(circuit: Circuit, path: Path) -> None:
    try:
        circuit.write(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


COMMAND = Command(
    "the edges that carry an answer: circuits, and what they are worth", configure, run
)

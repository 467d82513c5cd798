"""`workbench attribute`: which activations carry an answer, estimated from few gradients."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from workbench.commands import options, output
from workbench.commands.effects import plain, tell, write
from workbench.commands.pairs import add_pairs, check, open_metric, open_pairs
from workbench.commands.swept import add_swept, numbers, open_places
from workbench.registry import Command

if TYPE_CHECKING:  # torch must not load for --help
    from workbench.patching import Correlation, Estimate, Sweep


def configure(parser: ArgumentParser) -> None:
    add_pairs(parser)
    how = parser.add_argument_group("how it is estimated")
    how.add_argument("--method", default="AtP", help="AtP, AtP* or IG (default: %(default)s)")
    how.add_argument("--steps", type=int, default=16, help="gradients along the line of IG (16)")
    how.add_argument(
        "--exact", action="store_true", help="run the exact sweep too, and tell how near it comes"
    )
    add_swept(parser)
    options.add_model(parser)
    options.add_store(parser)
    options.add_output(parser)


def run(arguments: Namespace) -> int:
    check(arguments)
    # torch loads here, not for --help
    from workbench.patching import attribute_patches, sweep

    metric = open_metric(arguments)
    layers, components = (numbers(arguments, name) for name in ("layers", "components"))
    model, store = options.open_model(arguments), options.open_store(arguments)
    pairs = open_pairs(arguments, model)
    places, why = open_places(arguments, pairs)
    asked: dict[str, Any] = {
        "metric": metric,
        "direction": arguments.direction,
        "places": places,
        "layers": layers,
        "components": components,
        "store": store,
    }
    with options.bar("layers") as progress:
        how = {"method": arguments.method, "steps": arguments.steps, "progress": progress}
        found = attribute_patches(model, pairs, arguments.site, **asked, **how)
    exact = near = None
    if arguments.exact:
        with options.bar("patched runs") as progress:
            exact = sweep(model, pairs, arguments.site, **asked, progress=progress)
        near = _correlation(exact, found)
    effects, shown = found.effects(), pairs.labels(found.places)

    if arguments.json:
        told = plain(model, pairs, found, effects, shown)
        output.dump(told | _estimate(found, exact, near))
    else:
        tell(model, pairs, found, effects, shown, arguments.top, why, exact=exact)
        output.say(_note(found, exact, near))
    if arguments.html:
        write(arguments.html, model, pairs, found, effects, shown, exact=exact)
    files = [arguments.html] if arguments.html else []
    ids = [tokens.ids for row in pairs for tokens in (row.clean, row.corrupted)]
    output.record("attribute", model, ids, arguments, found.spent.seconds, files)
    return 0


def _correlation(exact: Sweep, found: Estimate) -> Correlation | None:
    """None where either is constant: that an estimate sees nothing is a finding, too."""
    from workbench.patching import correlation

    changes = (exact.changes.mean(-1), found.changes.mean(-1))
    if any(bool((one == one.flatten()[0]).all()) for one in changes):
        return None
    return correlation(exact, found, of_means=True)


def _note(found: Estimate, exact: Sweep | None, near: Correlation | None) -> str:
    """What the numbers are, and how near they come to the exact ones."""
    runs = f"estimates by {found.method}, {found.backwards:,} backward passes"
    if exact is None:
        return f"{runs}; --exact runs the exact sweep beside them"
    cost = f"which took {exact.forwards:,} forwards and {exact.spent.seconds:.1f} s"
    if near is None:
        return f"{runs}; no correlation with the exact effects, {cost}: one of the two is constant"
    one = len(exact.clean) == 1
    bounds = "one pair" if one else f"{near.low:.3f} to {near.high:.3f} over pairs"
    r = f"r = {near.r:.3f} ({bounds})"
    return f"{runs}; {r} with the exact effects of {near.cells:,} cells, {cost}"


def _estimate(found: Estimate, exact: Sweep | None, near: Correlation | None) -> dict[str, Any]:
    """What an estimate has beyond a sweep, for JSON."""
    told = {"method": found.method, "steps": found.steps, "backwards": found.backwards}
    if exact is None:
        return told
    return told | {
        "exact": {"mean": exact.effects().mean.tolist(), "seconds": exact.spent.seconds},
        "correlation": None if near is None else asdict(near),
    }


COMMAND = Command("the same estimated from gradients (AtP, AtP*, IG)", configure, run)

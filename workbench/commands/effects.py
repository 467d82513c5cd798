"""What `workbench patch` shows of a sweep: a table, JSON, heatmaps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands import output

if TYPE_CHECKING:  # torch must not load for --help
    from collections.abc import Sequence

    from torch import Tensor

    from workbench.cache.resources import Spent
    from workbench.figures import Figure
    from workbench.models import Model
    from workbench.patching import Interval, Sweep
    from workbench.tasks import Pairs

MOST_HEATMAPS = 16


def tell(
    model: Model,
    pairs: Pairs,
    found: Sweep,
    effects: Interval,
    shown: list[str],
    top: int,
    why: str,
    *,
    exact: Sweep | None = None,
) -> None:
    """Print the anchors, the strongest effects (beside `exact` ones) and what they cost."""
    output.say(_note(model, pairs, found))
    if why:
        output.say(why)
    change = (effects.mean - found.nothing).flatten().abs().nan_to_num(-1.0)
    beside = None if exact is None else exact.effects().mean.flatten()
    rows = []
    for flat in change.argsort(descending=True, stable=True)[:top].tolist():
        rest, place = divmod(flat, len(shown))
        layer, component = divmod(rest, len(found.components))
        mean, low, high = (
            float(bound.flatten()[flat]) for bound in (effects.mean, effects.low, effects.high)
        )
        interval = f"{low:+.3f} to {high:+.3f}" if len(pairs) > 1 else "one pair"
        rows.append([found.name(layer, component), shown[place], f"{mean:+.3f}", interval])
        if beside is not None:
            rows[-1].append(f"{float(beside[flat]):+.3f}")
    output.table(
        f"strongest effects of {change.numel():,}: 0 is corrupted, 1 is clean",
        ["site", "place", "effect", "95 % interval", *([] if beside is None else ["exact"])],
        rows,
    )
    output.say(
        f"{found.forwards:,} forwards, {found.tokens:,} tokens; memory "
        f"{_real(model, found.spent) / 1e9:.2f} GB, {found.predicted / 1e9:.2f} GB predicted; "
        f"{found.spent.seconds:.1f} s"
    )


def _note(model: Model, pairs: Pairs, found: Sweep) -> str:
    """What was done, and both anchors."""
    clean, corrupted = float(found.clean.mean()), float(found.corrupted.mean())
    what = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs of {pairs.name}"
    at = "on average" if found.at == "all" else f"at {found.at}"
    return (
        f"{found.direction} {found.site} over {what}: {found.metric} {at} {clean:.4f} clean, "
        f"{corrupted:.4f} corrupted (means); {model.name}, {model.processing}"
    )


def _real(model: Model, spent: Spent) -> int:
    return spent.device if model.device.type == "cuda" else spent.host


def plain(
    model: Model, pairs: Pairs, found: Sweep, effects: Interval, shown: list[str]
) -> dict[str, Any]:
    """Everything, for JSON."""
    first = pairs.rows[0]
    bounded = len(pairs) > 1  # the bootstrap of one pair is the pair: no interval
    return {
        "model": model.name,
        "fingerprint": model.identity.fingerprint,
        "task": pairs.name,
        "pairs": len(pairs),
        "site": found.site,
        "metric": found.metric,
        "at": found.at,
        "direction": found.direction,
        "layers": list(found.layers),
        "components": list(found.components),
        "places": list(found.places),
        "labels": shown,
        "effects": {
            "axes": ["layer", "component", "place"],
            "mean": _finite(effects.mean),
            "low": _finite(effects.low) if bounded else None,
            "high": _finite(effects.high) if bounded else None,
            "confidence": 0.95,
        },
        "clean": found.clean.tolist(),
        "corrupted": found.corrupted.tolist(),
        "first_pair": {
            "clean": list(first.clean.strings),
            "corrupted": list(first.corrupted.strings),
            "answers": [model.vocabulary.string(token) for token in first.answers],
            "wrongs": [model.vocabulary.string(token) for token in first.wrongs],
            "places": dict(first.places),
        },
        "forwards": found.forwards,
        "tokens": found.tokens,
        "memory": {"predicted": found.predicted, "real": _real(model, found.spent)},
        "seconds": found.spent.seconds,
    }


def _finite(values: Tensor) -> list:
    """As lists; a bound at infinity, where drawn pairs have equal anchors, is null."""
    return values.masked_fill(~values.isfinite(), float("nan")).tolist()


def write(
    path: Path,
    model: Model,
    pairs: Pairs,
    found: Sweep,
    effects: Interval,
    shown: list[str],
    *,
    exact: Sweep | None = None,
) -> None:
    """A page of heatmaps; with `exact` effects, first those against the estimates."""
    from workbench import figures

    plots, left = _heatmaps(pairs, found, effects, shown)
    if exact is not None:
        plots.insert(0, _scatter(found, exact, effects, shown))
    one = pairs.rows[0]
    note = (
        f"{_note(model, pairs, found)}. 0 is corrupted, 1 is clean; 95 % bootstrap intervals over "
        f"pairs. First pair: {one.clean.text!r}, {one.corrupted.text!r}."
    )
    if left:
        note += f" {left} places with weaker effects, or none, are left out."
    output.write_html(path, figures.page(plots, title="Activation patching", note=note))


def _scatter(found: Sweep, exact: Sweep, effects: Interval, shown: list[str]) -> Figure:
    from workbench import figures

    method = getattr(found, "method", "estimate")
    names = [
        f"{found.name(layer, part)} at {place}"
        for layer in range(len(found.layers))
        for part in range(len(found.components))
        for place in shown
    ]
    return figures.estimates(
        exact.effects().mean.flatten().numpy(),
        effects.mean.flatten().numpy(),
        names=names,
        method=method,
        title=f"{found.site}: {method} against the exact effects",
    )


def _heatmaps(
    pairs: Pairs, found: Sweep, effects: Interval, shown: list[str]
) -> tuple[list[Figure], int]:
    """Layer by place, or layer by head at each place; and how many places are left out."""
    from workbench import figures

    mean, low, high = (x.numpy() for x in (effects.mean, effects.low, effects.high))
    change = abs(mean - found.nothing)
    layers = [f"L{layer}" for layer in found.layers]

    def drawn(part: tuple, columns: Sequence[str], axis: str, title: str, names) -> Figure:
        bounds = (low[part], high[part]) if len(pairs) > 1 else (None, None)
        return figures.effects(
            mean[part],
            *bounds,
            layers,
            columns,
            axes=("layer", axis),
            title=title,
            names=names,
            nothing=found.nothing,
            limit=float(change[abs(change) < float("inf")].max(initial=0.0)),
        )

    def named(layer: int, component: int, place: int) -> str:
        return f"{found.name(layer, component, long=True)} at {shown[place]}"

    every, parts = range(len(layers)), range(len(found.components))
    what = f"{found.site}, {found.direction}, {found.metric}"
    if found.components == ("",):
        names = [[named(layer, 0, place) for place in range(len(shown))] for layer in every]
        return [drawn((slice(None), 0), shown, "place", what, names)], 0
    best = change.max(axis=(0, 1))
    order = [place for place in (-best).argsort(kind="stable").tolist() if best[place] > 0]
    chosen = sorted(order[:MOST_HEATMAPS]) or [0]
    plots = []
    for place in chosen:
        names = [[named(layer, part, place) for part in parts] for layer in every]
        title = f"{what}: patched at {shown[place]}"
        axis = "neuron" if found.site == "mlp_post" else "head"
        at = (slice(None), slice(None), place)
        plots.append(drawn(at, list(found.components), axis, title, names))
    return plots, len(shown) - len(chosen)

"""The files of the Patching page, and the figures that it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dashboards.exports import Export, Made, Table, tidy
from dashboards.patching_cell import Inside
from dashboards.patching_sweeps import EXACT
from dashboards.patching_view import PatchingView

if TYPE_CHECKING:  # Plotly loads with the page, not before
    from workbench.figures import Figure

TOLD = """
moved = found.effects()  # mean, low, high: [layer, component, place]
change = (moved.mean - found.nothing).abs().flatten()
for cell in change.argsort(descending=True)[:10].tolist():
    layer, part, place = map(int, unravel_index(tensor(cell), moved.mean.shape))
    mean, low, high = (x[layer, part, place] for x in (moved.mean, moved.low, moved.high))
    print(f"{found.name(layer, part)} at {found.places[place]}: {mean:.4f}"INTERVAL)"""
SAID = """
for name in ("base", "patched", "source"):
    best = getattr(said, name).topk(5)
    print(name, [(model.vocabulary.string(int(i)), round(float(x), 3)) for x, i in zip(*best)])"""


def patching_figures(view: PatchingView, inside: Inside) -> Mapping[str, Figure]:
    """The page's pictures by name."""
    from workbench.figures import effects, estimates, head_effects, pattern

    nothing, cell, mean = view.found.nothing, inside.cell, view.bounds[0]
    found = {
        "map": effects(
            *view.bounds,
            view.layers,
            view.shown,
            axes=("layer", "head" if view.by_head else "place"),
            title=view.what,
            names=view.names,
            nothing=nothing,
            chosen=(cell.row, cell.column),
        )
    }
    if inside.heads is not None:
        heads = inside.heads
        found["heads"] = head_effects(
            heads.mean,
            heads.low,
            heads.high,
            heads.names,
            title=f"Heads of L{cell.layer} at {view.labels[cell.column]}",
            nothing=nothing,
            chosen=inside.head,
        )
    if view.exact_mean is not None:
        found["estimate"] = estimates(
            view.exact_mean.ravel(),
            mean.ravel(),
            names=[name for line in view.names for name in line],
            method=view.method,
            title=view.agreement,
        )
    tokens = view.source.pairs.rows[inside.number].clean.labels
    found["attention"] = pattern(
        inside.attention,
        tokens=[f"{place} {token}" for place, token in enumerate(tokens)],
        title=f"L{cell.layer}H{inside.head}: attention, clean prompt of pair {inside.number}",
    )
    return found


def patching_export(
    view: PatchingView, made: Made, inside: Inside, figures: Mapping[str, Figure]
) -> Export:
    """All effects, the pairs with their anchors, the heads at the cell, and what would be said."""
    return Export(
        file=f"{made.file} {view.found.direction} {view.found.site} {view.method}",
        title=f"Activation patching: {view.what}",
        note=f"{view.anchors}. {made.note}",
        tables=_tables(view, inside),
        figures=lambda: [*figures.values()],
        script=made.script(f"Activation patching: {view.what}", *_script(view, inside)),
    )


def _tables(view: PatchingView, inside: Inside):
    found, rows, heads = view.found, view.source.pairs.rows, inside.heads
    values: dict[str, np.ndarray | None] = {}
    values.update(zip(("effect", "low", "high"), view.bounds, strict=True))
    values["exact effect"] = view.exact_mean
    column = {"place": found.places, "token": view.labels}
    if view.by_head:
        column = {"head": found.components}
    tables = {
        "effects": lambda: tidy(_known(values), {"layer": found.layers}, column),
        "pairs": lambda: tidy(
            {"clean metric": found.clean.numpy(), "corrupted metric": found.corrupted.numpy()},
            {
                "pair": range(len(rows)),
                "clean": [row.clean.text for row in rows],
                "corrupted": [row.corrupted.text for row in rows],
            },
        ),
        f"next tokens of {inside.name}": lambda: _said(inside),
    }
    if heads is not None:
        tables[f"heads at {inside.name}"] = lambda: tidy(
            _known({"effect": heads.mean, "low": heads.low, "high": heads.high}),
            {"head": heads.names},
        )
    return tables


def _known(values: Mapping[str, np.ndarray | None]) -> Mapping[str, np.ndarray]:
    """Without what there is not: bounds of one pair, an exact sweep beside itself."""
    return {name: array for name, array in values.items() if array is not None}


def _said(inside: Inside) -> Table:
    said = inside.said
    columns = {
        "token": np.array([[*one.tokens] for one in said], dtype=object),
        "logit": np.stack([one.logits for one in said]),
        "probability": np.stack([one.probs for one in said]),
    }
    runs, ranks = [one.run for one in said], range(1, len(said[0].tokens) + 1)
    return tidy(columns, {"run": runs}, {"rank": ranks})


def _script(view: PatchingView, inside: Inside) -> tuple[Sequence[str], Sequence[str]]:
    """What the script imports, and its lines."""
    names, code = _sweep_lines(view)
    more, lines = _cell_lines(view, inside)
    # One pair has no interval.
    interval = ' + f" [{low:.4f}, {high:.4f}]"' if len(view.source.pairs) > 1 else ""
    return [*names, *more, "torch:tensor", "torch:unravel_index"], [
        *code,
        TOLD.replace("INTERVAL", interval),
        *lines,
        SAID,
    ]


def _sweep_lines(view: PatchingView) -> tuple[list[str], list[str]]:
    site, how = view.found.site, view.asked.how.items()
    code = [f"how = dict({', '.join(f'{name}={value!r}' for name, value in how)})"]
    exact = f"sweep(model, pairs, {site!r}, **how)"
    if view.method == EXACT:
        return ["workbench.patching:sweep"], [*code, f"found = {exact}"]
    names = ["workbench.patching:attribute_patches"]
    asked = f"model, pairs, {site!r}, method={view.method!r}"
    code.append(f"found = attribute_patches({asked}, **how)")
    if view.exact is not None:
        names += [f"workbench.patching:{name}" for name in ("correlation", "sweep")]
        code += [f"exact = {exact}", "print(correlation(exact, found, of_means=True))"]
    return names, code


def _cell_lines(view: PatchingView, inside: Inside) -> tuple[list[str], list[str]]:
    names, found, cell = ["workbench.patching:patched_logits"], view.found, inside.cell
    part = "" if cell.component is None else f", component={cell.component}"
    code = [
        f"pair = pairs.rows[{inside.number}]",
        f"said = patched_logits(model, pair, {found.site!r}, {cell.layer}, {cell.at!r}{part}, "
        f"direction={found.direction!r})",
    ]
    if inside.heads is not None:
        names.append("workbench.patching:sweep")
        places = "all" if cell.place == "all" else [cell.at]
        code += [
            f"how['places'] = {places!r}",
            f"heads = sweep(model, pairs, 'z', layers=[{cell.layer}], **how)",
        ]
    names.append("workbench.attention:patterns")
    code += [
        "clean = pair.clean.tensor(model.device)",
        f"attention = patterns(model, clean).weights[{cell.layer}, 0, {inside.head}]",
    ]
    return names, code

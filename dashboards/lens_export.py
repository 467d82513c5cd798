"""The files of the Lens page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dashboards.components import RankCurve
from dashboards.exports import Export, Made, positions, tidy
from dashboards.lens_view import VALUES, LensView

VALUE_CODE: dict[str, str] = dict(zip(VALUES, ("top_probs[:, :, 0]", "entropy", "kl"), strict=True))
TOLD = """
for layer, row in zip(found.layers, found.top_ids[:, :, 0].tolist()):
    print(layer, [model.vocabulary.string(token) for token in row])
print(f"rank of {model.vocabulary.string(token)!r} after position {position}:")
for layer, rank, prob in zip(found.layers, fate.rank + 1, fate.prob):
    print(f"{layer} {rank} p = {prob:.4f}")"""


def lens_export(
    view: LensView, made: Made, value: str, cell: tuple[int, int], curve: RankCurve, followed: str
) -> Export:
    """Top tokens of every cell, the table's values, and the rank curve of the selected cell."""
    title = f"Logit lens, {value}"
    fate = f"rank of {curve.name} after position {cell[1]}"

    def figures():
        from workbench.figures import lens, ranks

        labels = [label.text for label in view.labels]
        top = [[view.names[int(token)] for token in row] for row in view.top_ids[:, :, 0]]
        table = lens(
            view.values[value], top=top, tokens=labels, layers=view.layers, name=value, title=title
        )
        rank, prob = (np.asarray(column, dtype=float) for column in (curve.ranks, curve.probs))
        return [table, ranks(rank, prob, layers=view.layers, title=fate)]

    layers, places = {"layer": view.layers}, positions(view.strings)
    best = {"rank": range(1, view.top_ids.shape[2] + 1)}
    tops = {"predicted": view.strings_of(view.top_ids), "probability": view.top_probs}
    fates = {"rank": np.asarray(curve.ranks), "probability": np.asarray(curve.probs)}
    return Export(
        file=f"{made.file} {value}",
        title=title,
        note=made.note,
        tables={
            "table": lambda: tidy(
                {"predicted": tops["predicted"][:, :, 0], **view.values}, layers, places
            ),
            "top tokens": lambda: tidy(tops, layers, places, best),
            f"rank after position {cell[1]}": lambda: tidy(fates, layers),
        },
        figures=figures,
        script=made.script(title, *_script(value, cell, followed)),
    )


def _script(
    value: str, cell: tuple[int, int], followed: str
) -> tuple[Sequence[str], Sequence[str]]:
    """What the script imports, and its lines."""
    row, position = cell
    token = f"int(found.top_ids[{row}, position, 0])"
    names = [f"workbench.lens:{name}" for name in ("follow", "lens", "residuals")]
    if followed:
        token = f"model.token_id({followed!r})"
    return names, [
        "resid, _ = residuals(model, ids)",
        "found = lens(resid, model.unembed)",
        f"value = found.{VALUE_CODE[value]}  # {value} [layer, position]",
        f"position = {position}",
        f"token = {token}",
        "fate = follow(resid[:, position], model.unembed, token)",
        TOLD,
    ]

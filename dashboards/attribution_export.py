"""The files of the Attribution page, and the figures that it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dashboards.attribution_view import NEURONS, AttributionView, Inside, Part
from dashboards.exports import Export, Made, tidy

if TYPE_CHECKING:  # Plotly loads with the page, not before
    from workbench.figures import Figure

TOLD = """
print(f"difference {found.logit_difference.item():.4f}, sum {found.total.item():.4f}, "
      f"remainder {found.remainder.item():.1e}")
for name, share in found.top(10):
    print(f"{name}: {share:.4f}")"""


def attribution_figures(view: AttributionView, part: Part, inside: Inside) -> Mapping[str, Figure]:
    """The page's three pictures by name."""
    from workbench.figures import contributions, head_shares, shares

    return {
        "components": contributions(
            view.bars, columns=view.columns, names=view.names, title=view.sum
        ),
        "heads": head_shares(
            view.heads,
            chosen=None if part.head is None else (part.layer, part.head),
            title="Shares of the heads",
        ),
        "inside": shares(inside.values, names=inside.names, axis=inside.axis, title=inside.title),
    }


def attribution_export(
    view: AttributionView, made: Made, part: Part, inside: Inside, figures: Mapping[str, Figure]
) -> Export:
    """All components, all heads, and the inside of the chosen part."""
    parts = {"component": list(view.parts)}
    layers, heads = {"layer": range(view.heads.shape[0])}, {"head": range(view.heads.shape[1])}
    return Export(
        file=made.file,
        title=f"Direct logit attribution: {view.about}",
        note=f"{view.sum}. {made.note}",
        tables={
            "components": lambda: tidy(
                {"share": np.array([*view.parts.values()], np.float32)}, parts
            ),
            "heads": lambda: tidy({"share": view.heads}, layers, heads),
            str(part): lambda: tidy({"share": inside.values}, inside.columns),
        },
        figures=lambda: [*figures.values()],
        script=made.script(f"Direct logit attribution: {view.about}", *_script(view, part)),
    )


def _script(view: AttributionView, part: Part) -> tuple[Sequence[str], Sequence[str]]:
    """What the script imports, and its lines."""
    (answer, wrong), words = view.pair, view.words
    if part.mlp:
        look, inside = "neurons", f"neurons(model, asked, {part.layer}, k={NEURONS}).values[0]"
    else:
        heads = "[0, 0].sum(0)" if part.head is None else f"[0, 0, {part.head}]"
        look, inside = "by_source", f"by_source(model, asked, [{part.layer}]){heads}"
    names = [f"workbench.attribution:{name}" for name in ("Question", "attribute", look)]
    return [*names, "torch:tensor"], [
        f"answer, wrong = tensor([{answer}]), tensor([{wrong}])  # {words[0]!r}, {words[1]!r}",
        f"asked = Question(ids[:1], answer, wrong, position=tensor([{view.position}]))",
        "found = attribute(model, asked)",
        "heads, mlps = found.heads[0], found.mlps[0]  # [layer, head], [layer]",
        f"inside = {inside}",
        TOLD,
        f'print("{part}:", [round(share, 4) for share in inside.tolist()])',
    ]

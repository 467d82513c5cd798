"""The files of a head's weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dashboards.exports import Export, Made, tidy
from dashboards.weights_view import COUNT, KINDS, SIGNS, TOKENS, WeightsView

NAMES = ("copying_scores", "directions", "ov", "partners", "qk")
TOLD = """
print(f"copying score of {head}: {copying[head.layer, head.head]:.4f}")
for kind, found in circuits.items():
    for value, left, right in zip(found.values, found.left_ids, found.right_ids):
        ends = [[model.vocabulary.string(i) for i in ids[0].tolist()] for ids in (left, right)]
        print(f"{kind} {value:.4f} {ends[0]} -> {ends[1]}")
for number, kind in enumerate("QKV"):
    for name, scores in (("reads from", met.earlier), ("is read by", met.later)):
        layer, other = divmod(int(scores[number].nan_to_num(-1).argmax()), scores.shape[2])
        print(f"{kind}: {name} L{layer}H{other} {scores[number, layer, other]:.4f}")"""


def partners_figure(view: WeightsView):
    """Composition with every other head, by layer and head."""
    from workbench.figures import head_scores

    title = f"Composition of {view.head} with earlier and later heads (random: {view.baseline:.3f})"
    return head_scores(view.strongest, name="strongest of Q, K, V", title=title, least=0.0)


def weights_export(view: WeightsView, made: Made) -> Export:
    """Copying scores of all heads, tokens at the circuits' ends, composition scores."""
    n_layers, n_heads = view.copying.shape
    layers, heads = {"layer": range(n_layers)}, {"head": range(n_heads)}
    title = f"{view.head}, from its weights"
    return Export(
        file=f"{made.file} {view.head}",
        title=title,
        note=f"{made.about}; copying score {view.copies}",
        tables={
            "copying scores": lambda: tidy({"copying score": view.copying}, layers, heads),
            "directions": lambda: _directions(view),
            "composition": lambda: tidy(
                {"score": view.composition}, {"with": KINDS}, layers, heads
            ),
        },
        figures=lambda: [partners_figure(view)],
        script=made.script(
            title,
            ["workbench:Head", *(f"workbench.circuits:{name}" for name in NAMES)],
            [
                f"head = Head({view.head.layer}, {view.head.head})",
                "copying = copying_scores(model)  # [layer, head]",
                "circuits = {",
                *(
                    f"    {kind!r}: directions(model, {kind.lower()}(model, head), "
                    f"count={COUNT}, k={TOKENS}),"
                    for kind in view.circuits
                ),
                "}",
                "met = partners(model, head)",
                "# [Q K V, layer, head]: read from earlier heads, by later ones",
                "composition = met.earlier.where(~met.earlier.isnan(), met.later)",
                TOLD,
            ],
        ),
    )


def _directions(view: WeightsView) -> Iterator[Sequence[object]]:
    """Both circuits' tokens in one table."""
    both = list(view.circuits.values())
    columns = {
        "left token": np.stack([ends.left for ends in both]),
        "left score": np.stack([ends.left_scores for ends in both]),
        "right token": np.stack([ends.right for ends in both]),
        "right score": np.stack([ends.right_scores for ends in both]),
    }
    n_directions, _, k = both[0].left.shape
    return tidy(
        columns,
        {"circuit": list(view.circuits)},
        {"direction": range(n_directions)},
        {"sign": SIGNS},
        {"rank": range(1, k + 1)},
    )

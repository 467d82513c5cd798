"""The files of the Attention page."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.attention_view import KINDS, SHOWN, AttentionView
from dashboards.exports import Export, Made, positions, tidy
from workbench.sites import Head

WEIGHTED = """def weighted(ids):
    found, values = patterns(model, ids), capture(model, ids, "*.v").activations.values()
    return stack([value_weighted(w, v)[0] for w, v in zip(found.weights, values)])

"""
WEIGHTS = {KINDS[0]: "patterns(model, {ids}).weights[:, 0]", KINDS[1]: "weighted({ids})"}
OF_HEADS = {SHOWN[0]: "[{head}]", SHOWN[1]: ".mean(0)", SHOWN[2]: ".amax(0)"}
TOLD = """
for index in scores.flatten().argsort(descending=True)[:5].tolist():
    layer, head = divmod(index, scores.shape[1])
    print(f"L{layer}H{head} {scores[layer, head]:.4f}")
for query, row in enumerate(pattern):
    key = int(row.abs().argmax())
    print(f"{query} {strings[query]!r}: {row[key]:.4f} at {key} {strings[key]!r}")"""


def attention_export(
    view: AttentionView, made: Made, head: Head, score: str, shown: str, other: str | None
) -> Export:
    """Scores of all heads and the zoomed pattern; `other` is the Python of the prompt taken off."""
    title, scores, pattern = view.title(head, shown), view.scores[score], view.pattern(head, shown)

    def figures():
        from workbench.figures import head_scores
        from workbench.figures import pattern as zoom

        labels = [label.text for label in view.labels]
        return [
            zoom(pattern, tokens=labels, title=title, limit=view.limit, signed=view.signed),
            head_scores(scores, name=score, title=f"{score} of all heads"),
        ]

    queries, keys = (positions(view.strings, name) for name in ("query", "key"))
    layers, heads = (
        {name: range(n)} for name, n in zip(("layer", "head"), scores.shape, strict=True)
    )
    return Export(
        file=f"{made.file} {title}",
        title=title,
        note=made.note,
        tables={
            "pattern": lambda: tidy({view.what: pattern}, queries, keys),
            "scores": lambda: tidy(view.scores, layers, heads),
        },
        figures=figures,
        script=made.script(title, *_script(view.kind, head, score, shown, other)),
    )


def _script(
    kind: str, head: Head, score: str, shown: str, other: str | None
) -> tuple[Sequence[str], Sequence[str]]:
    """What the script imports, and its lines."""
    names, code = ["workbench.attention:patterns"], []
    if kind == KINDS[1]:
        names += ["torch:stack", "workbench:capture", "workbench.attention:value_weighted"]
        code.append(WEIGHTED)
    code.append(f"scores = patterns(model, ids).scores({score!r})  # [layer, head]")
    weights = WEIGHTS[kind].format(ids="ids")
    if other is not None:
        code.append(f"other = {other}.tensor(model.device)[:, :ids.shape[1]]")
        weights += f" - {WEIGHTS[kind].format(ids='other')}"
    one = OF_HEADS[shown].format(head=head.head)
    return names, [
        *code,
        f"weights = ({weights}).float()  # [layer, head, query, key]",
        f"pattern = weights[{head.layer}]{one}",
        TOLD,
    ]

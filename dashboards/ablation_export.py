"""Files of next tokens before and after an edit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dashboards.ablation_view import HOW, TOP, AblationView, NextTokens
from dashboards.exports import Export, Made, tidy

if TYPE_CHECKING:  # Plotly must not load before a button is pressed
    from workbench.figures import Figure

TOPS = f"""both = (change.before, change.after)
before, after = (top_tokens(logits[0, -1], {TOP}) for logits in both)
for one, p, other, q in zip(before.ids, before.probabilities, after.ids, after.probabilities):
    names = [model.vocabulary.string(int(token)) for token in (one, other)]
    print(f"{{names[0]!r}} {{p:.4f}}   {{names[1]!r}} {{q:.4f}}")
print(f"KL {{change.kl[0, -1]:.4f}} after the last token, {{change.mean_kl:.4f}} on average")"""
EDITS = {HOW[0]: 'zero("{head}.z")', HOW[1]: 'mean(model, "{head}.z", prompt).edits'}
PROMPT = "prompt = from_ids(model.vocabulary, ids[0].tolist(), bos={bos})"


def ablation_export(view: AblationView, made: Made, *, bos: bool) -> Export:
    """The next tokens as a table, a page and a script."""
    title = f"Next token without {view.head} ({view.how})"
    return Export(
        file=f"{made.file} without {view.head} {view.how}",
        title=title,
        note=f"{told(view.next)} {made.note}",
        tables={"next tokens": lambda: rows(view.next)},
        figures=lambda: [token_figure(view.next, title)],
        script=made.script(title, *_script(view, bos)),
    )


def told(found: NextTokens) -> str:
    """How far the predictions moved, in words."""
    still = " The edit moved nothing: what was put in was there already." if found.still else ""
    return (
        f"KL(before || after) is {found.kl:.4f} nats after the last token, {found.mean_kl:.4f} "
        f"on average over the positions.{still}"
    )


def rows(found: NextTokens) -> Iterable[Sequence[object]]:
    """The table as CSV wants it."""
    return tidy(found.columns, {"rank": range(1, 1 + len(found.tokens["before"]))})


def token_figure(found: NextTokens, title: str) -> Figure:
    """The table as a page wants it."""
    from workbench.figures import token_table

    return token_table(found.shown, title=title)


def _script(view: AblationView, bos: bool) -> tuple[Sequence[str], Sequence[str]]:
    """What the script imports, and its lines."""
    edit = EDITS[view.how].format(head=view.head)
    names = ["workbench.interventions:changed", "workbench.metrics:top_tokens"]
    names.append(f"workbench.interventions:{edit.partition('(')[0]}")
    code = [f"change = changed(model, ids[:1], {edit})", TOPS]
    if view.how == HOW[1]:
        names.append("workbench.models:from_ids")
        code.insert(0, PROMPT.format(bos=bos))
    return names, code

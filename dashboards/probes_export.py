"""The files of the Probes page, and the figures that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dashboards.exports import Export, Made, positions, tidy
from dashboards.probes_box import script_of
from dashboards.probes_view import ProbesView

if TYPE_CHECKING:  # Plotly loads with the page, not before
    from workbench.figures import Figure
    from workbench.models import Tokens

SWEEP = """found = sweep(
    model, labelled, {sites}, {kind!r}, random={random}, among={among}, seed={seed},
)
columns = by_site(found, among={chosen})
for row, site in enumerate(found.reports):
    print(site, *(f"{{name}} {{values[row]:.4f}};" for name, values in columns.items()))
report = list(reports_of(found, {chosen}).values())[{row}].evaluation
print(report.confusion.tolist())  # rows: the true class; columns: the answer
print(calibration_of(report))  # confidence, accuracy, answers by bin"""
READ = """ids = tensor([{ids}], device=model.device)
task = found.tasks.index({task!r})
shares = token_scores(model, found[{site!r}], ids)[:, task]
for token, row in zip(ids[0].tolist(), shares.tolist()):
    print(repr(model.vocabulary.string(token)), *(f"{{x:.4f}}" for x in row))"""


def curve(view: ProbesView, site: str) -> Figure:
    """The page's curve: accuracy by site, its controls beside it."""
    from probes.sweep_figures import accuracy_and_controls

    labels = view.sweep.labels
    among = f" among {', '.join(view.asked.among)}" if view.asked.among else ""
    title = f"{labels}{among}: {view.sweep.kind} probes beside their controls"
    at = view.sites.index(site)
    return accuracy_and_controls(view.sites, view.columns, chosen=at, title=title)


def inside(view: ProbesView, site: str) -> dict[str, Figure]:
    """The chosen site's confusion, and its calibration where answers have a confidence."""
    from probes.summary import calibration_of
    from probes.sweep_figures import confusion, reliability

    found = view.report(site)
    counts = found.confusion.numpy()
    figures = {"confusion": confusion(counts, found.classes, title=f"Answers at {site}")}
    if found.calibration is not None:
        figures["reliability"] = reliability(
            *calibration_of(found),
            error=found.calibration.error,
            title=f"How sure, how often right, at {site}",
        )
    return figures


def probes_export(
    view: ProbesView, made: Made, site: str, task: str, tokens: Tokens, shares: np.ndarray
) -> Export:
    """The sweep, the chosen site, and the tokens [pos, class] of one task."""
    title = f"Probes: {view.sweep.labels}, {view.sweep.kind}, {site}"
    found, classes = view.report(site), view.sweep.classes
    counts = found.confusion.numpy()
    answers = np.array([classes[best] for best in shares.argmax(1)], dtype=object)
    read = {"answer": answers, **{name: shares[:, n] for n, name in enumerate(classes)}}
    axes = {"true class": found.classes}, {"answer": found.classes}

    def figures() -> Sequence[Figure]:
        from probes.sweep_figures import token_shares

        told = f"{task} at {site}"
        drawn = token_shares(shares, tokens.labels, classes, title=told)
        return [curve(view, site), *inside(view, site).values(), drawn]

    tables = {
        "sites": lambda: tidy(view.columns, {"site": view.sites}),
        "confusion": lambda: tidy({"answers": counts}, *axes),
        "tokens": lambda: tidy(read, positions(tokens.strings)),
    }
    if found.calibration is not None:
        bins = {
            name: getattr(found.calibration, name).numpy() for name in ("confidence", "accuracy")
        }
        bins["answers"] = found.calibration.count.numpy()
        tables["calibration"] = lambda: tidy(bins, {"bin": range(len(bins["answers"]))})
    return Export(
        file=f"{made.file} {view.sweep.labels} {view.sweep.kind} {site}",
        title=title,
        note=f"{view.about}. {view.worth(site)}. {made.note}",
        tables=tables,
        figures=figures,
        script=made.script(title, *_script(view, site, task, tokens)),
    )


def _script(
    view: ProbesView, site: str, task: str, tokens: Tokens
) -> tuple[Sequence[str], Sequence[str]]:
    """What the script imports, and its lines."""
    asked = view.asked
    imports, labels = script_of(asked)
    names = [*imports, "torch:tensor", "probes.sweep:sweep"]
    names += [f"probes.summary:{n}" for n in ("by_site", "calibration_of", "reports_of")]
    names.append("probes.summary:token_scores")
    if asked.random:
        names.append("workbench.models:untrained")
    return names, [
        *labels,
        SWEEP.format(
            sites=list(asked.sites),
            kind=asked.kind,
            random="untrained(model)" if asked.random else None,
            among=asked.among,
            chosen=bool(asked.among),
            seed=asked.seed,
            row=view.sites.index(site),
        ),
        READ.format(ids=list(tokens.ids), task=task, site=site),
    ]

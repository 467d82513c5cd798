"""The files of the Training page, and the figure that it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dashboards.exports import Export, Made
from dashboards.training_view import STATE, WHAT, TrainingView

if TYPE_CHECKING:  # Plotly loads with the page, not before
    from workbench.figures import Figure


def made_of(view: TrainingView) -> Made:
    """What the page was made from."""
    path = str(view.folder.resolve() / STATE)
    return Made(
        about=f"{view.sort}, {path}",
        note=view.standing,
        code=[f"card = read_card(Path({path!r}), what={WHAT!r})"],
        names=["pathlib:Path", "workbench.carded:read_card"],
        file=f"training {view.name}",
    )


def curves(view: TrainingView, log_steps: bool) -> Figure:
    """All of its log."""
    from workbench.figures.training import training_curves

    return training_curves(view.panels, title=title(view), log_steps=log_steps)


def title(view: TrainingView) -> str:
    return f"Training of {view.sort}: {view.done:,} of {view.total:,} steps"


def training_export(view: TrainingView, log_steps: bool) -> Export:
    """The log as a table, the curves, and the script that draws them."""
    made = made_of(view)

    def rows() -> Iterator[Sequence[object]]:
        yield "quantity", "name", "step", "value"
        for quantity, named in view.panels.items():
            for name, (steps, values) in named.items():
                for step, value in zip(steps, values, strict=True):
                    yield quantity, name, int(step), value

    names = ["workbench.figures.training:panels", "workbench.figures.training:training_curves"]
    return Export(
        file=made.file,
        title=title(view),
        note=f"{made.about}. {made.note}",
        tables={"log": rows},
        figures=lambda: [curves(view, log_steps)],
        script=made.script(
            title(view),
            names,
            [
                f"figure = training_curves(panels(card), title={title(view)!r}, "
                f"log_steps={log_steps})",
                'figure.write_html("training.html")',
            ],
        ),
    )

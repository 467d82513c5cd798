"""The files of the Othello page, the figures that it shows, and what its canvas is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dashboards.components import BoardEdit
from dashboards.exports import Export, Made, Table, tidy
from dashboards.othello_box import GameAsked, Moment
from dashboards.othello_view import MARKS, OthelloView

if TYPE_CHECKING:  # Plotly loads with the page, not before
    from probes.othello.changing import Changed
    from workbench.figures import Figure

RUNS = {"before": "as it is", "after": "changed", "random": "random direction"}
SHOWN = 16  # squares in the bars
CONTROLS = ("random weights", "embedding only", "control task", "shuffled labels")
NUMBERS = ("accuracy", "low", "high", *CONTROLS, "commonest class")
READ = """probe = probes[{reading!r}][{site!r}]
game = play(model, moves)
names = [name(sequences.board, square) for square in range(sequences.board.n_squares)]
row = {row}  # after move {number}
scores = game.read(probe)[row]  # [square, (black, white, empty)]
for square in range(len(names)):
    held, read = game.held[row, square], scores[square].argmax()
    print(names[square], "black white empty".split()[held], "right" if read == held else "WRONG",
          scores[square].round(4), f"next move {{game.probability[row, square]:.4f}}")
print(f"illegal mass {{game.illegal[row]:.4f}}")"""
CHANGE = """fitted = probes[{reading!r}].probes
sites = list(fitted)[{first}:{end}]
changed = change(model, game, {number}, {changes}, fitted, sites, {alpha!r})
for run in ("before", "after", "random"):
    print(run, f"illegal on the board as it is {{changed.illegal(run, edited=False):.4f}}, "
          f"on the changed one {{changed.illegal(run, edited=True):.4f}}, "
          f"errors there {{changed.errors(run, edited=True)}}")"""


def board_edit(view: OthelloView, moment: Moment, changed: Changed) -> BoardEdit:
    """What the canvas is told of a change."""
    head = ["", "illegal, board as it is", "illegal, changed board", "errors there (top N)"]
    rows = [
        [
            name,
            f"{changed.illegal(run, edited=False):.3f}",
            f"{changed.illegal(run, edited=True):.3f}",
            str(changed.errors(run, edited=True)),
        ]
        for run, name in RUNS.items()
    ]
    return BoardEdit(
        changes=dict(moment.changes),
        held=changed.held,
        legal=changed.edited,
        reading=changed.scores[view.site],
        probability=changed.after,
        told=told(view, moment, changed),
        table=[head, *rows],
    )


def told(view: OthelloView, moment: Moment, changed: Changed | None) -> str:
    """A moment and its numbers, in words."""
    start = f"After move {moment.number}, {view.side(moment.number)} to move"
    if changed is None:
        return f"{start}: illegal mass {view.game.illegal[moment.number - 1]:.4f}"
    words = {"flip": "flipped", "erase": "erased"}
    what = ", ".join(f"{view.names[square]} {words[how]}" for square, how in moment.changes)
    parts = ", ".join(
        f"{name} {changed.illegal(run, edited=True):.4f}" for run, name in RUNS.items()
    )
    return f"{start}, {what} at {_span(view)}: illegal mass on the changed board: {parts}"


def accuracy(view: OthelloView) -> dict[str, Figure]:
    """The page's curves: both sorts of probes after every layer, the controls of the one shown.

    On all squares, where empty ones are easy, and on discs, whose colour alone is told.
    """
    from probes.figures import accuracy_by_layer
    from probes.summary import by_site
    from probes.sweep_figures import add_controls

    layers = [f"L{layer}" for layer in range(len(view.probes))]
    titles = {
        "all squares": "All squares: right of three classes",
        "discs": "Discs alone: whose they are",
    }

    def drawn(which: str) -> Figure:
        found = {
            name: by_site(sweep, among=which == "discs") for name, sweep in view.sweeps.items()
        }
        shown = found[view.push.reading]
        figure = accuracy_by_layer(
            layers,
            {name: (one["accuracy"], one["low"], one["high"]) for name, one in found.items()},
            {name: one["commonest class"] for name, one in found.items()},
            chosen=(view.push.reading, view.push.layer),
            title=titles[which],
        )
        add_controls(figure, layers, {name: shown[name] for name in CONTROLS})
        return figure

    return {which: drawn(which) for which in titles}


def othello_export(
    view: OthelloView, made: Made, asked: GameAsked, moment: Moment, changed: Changed | None
) -> Export:
    """The board as it stands, with what is read and played, and the curves."""
    title = f"Othello: {told(view, moment, changed)}"

    def figures() -> Sequence[Figure]:
        from probes.figures import board

        row = moment.number - 1
        held, read, legal = view.game.held[row], view.scores[row], view.game.legal[row]
        if changed is not None:
            held, read, legal = changed.held, changed.scores[view.site], changed.edited
        shown = board(
            held,
            read,
            legal,
            names=view.names,
            last=int(view.game.moves[row]),
            title=f"After move {moment.number}: {view.reader}",
        )
        return [shown, _bars(view, moment, changed), *accuracy(view).values()]

    return Export(
        file=f"{made.file} move {moment.number}",
        title=title,
        note=f"{title}. {view.about}. {made.note}",
        tables={
            "board": lambda: _squares(view, moment, changed),
            "accuracy": lambda: _accuracies(view),
        },
        figures=figures,
        script=made.script(title, *_script(view, asked, moment)),
    )


def _bars(view: OthelloView, moment: Moment, changed: Changed | None) -> Figure:
    from probes.figures import move_bars

    row = moment.number - 1
    before, now = view.game.probability[row], view.game.legal[row]
    rows = {"as it is": before}
    if changed is not None:
        rows |= {"changed": changed.after, "random direction": changed.random}
    edited = now if changed is None else changed.edited
    best = np.argsort(-np.max(list(rows.values()), axis=0))[:SHOWN].tolist()
    return move_bars(
        [view.names[square] for square in best],
        [MARKS[bool(now[square]), bool(edited[square])] for square in best],
        {name: values[best] for name, values in rows.items()},
        title=told(view, moment, changed),
    )


def _squares(view: OthelloView, moment: Moment, changed: Changed | None) -> Table:
    """A row for each square, of the board as it is and of the changed one."""
    row, words = moment.number - 1, np.array(["black", "white", "empty"], dtype=object)
    game = view.game
    values: dict[str, np.ndarray] = {
        "held": words[game.held[row]],
        **{f"reads {word}": view.scores[row, :, place] for place, word in enumerate(words)},
        "legal": game.legal[row],
        "probability": game.probability[row],
    }
    if changed is not None:
        scores = changed.scores[view.site]
        values |= {
            "changed: held": words[changed.held],
            **{f"changed: reads {word}": scores[:, place] for place, word in enumerate(words)},
            "changed: legal": changed.edited,
            "changed: probability": changed.after,
            "random direction: probability": changed.random,
        }
    return tidy(values, {"square": view.names})


def _accuracies(view: OthelloView) -> Table:
    """A row for each sort of probes, all squares or discs, and layer, with all controls."""
    from probes.summary import by_site

    found = [[by_site(one, among=discs) for discs in (False, True)] for one in view.sweeps.values()]
    values = {what: np.array([[one[what] for one in two] for two in found]) for what in NUMBERS}
    squares = {"squares": ("all", "discs")}
    return tidy(values, {"probes": list(view.sweeps)}, squares, {"layer": range(len(view.probes))})


def _span(view: OthelloView) -> str:
    first, last = view.push.first, view.push.last
    layers = f"L{first}" if first == last else f"L{first} to L{last}"
    return f"{layers}, strength {view.push.alpha:g}"


def _script(
    view: OthelloView, asked: GameAsked, moment: Moment
) -> tuple[Sequence[str], Sequence[str]]:
    """What the script imports, and its lines."""
    site = f"{view.push.layer}.resid_post"
    names = ["probes.othello.games:name", "probes.othello.labels:sequences_of"]
    names += [f"probes.othello.position:{one}" for one in ("board_probes", "play")]
    if asked.text:
        names.append("probes.othello.records:parse_games")
    if moment.changes:
        names.append("probes.othello.changing:change")
    code = [
        "sequences = sequences_of(model.vocabulary)",
        f"moves = {asked.code}",
        "probes = board_probes(model)  # seconds: 1,000 random games",
        READ.format(
            reading=view.push.reading, site=site, row=moment.number - 1, number=moment.number
        ),
    ]
    if moment.changes:
        code.append(
            CHANGE.format(
                number=moment.number,
                changes=dict(moment.changes),
                reading=view.push.reading,
                first=view.push.first,
                end=view.push.last + 1,
                alpha=view.push.alpha,
            )
        )
    return names, code

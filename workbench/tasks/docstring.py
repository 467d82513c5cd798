'''Docstrings: which of a function's arguments is the next to be described.

    def port(self, load, size, files, last, page, read):
        """oil column piece

        :param files: crime population
        :param last: unit dark
        :param

goes on with ` page`. Heimersheim and Janiak 2023, "A circuit for Python docstrings in a 4-layer
attention-only transformer"; their labels for positions (`A_def`, `B_doc`) are ours.
'''

from collections.abc import Mapping
from random import Random

from workbench.models import Model
from workbench.tasks.drawing import check_corruption, drawn
from workbench.tasks.pairs import Pairs
from workbench.tasks.words import at_least, ids_of
from workbench.tasks.writing import contrast

TEMPLATE = '''def {method}(self, {first}, {second}, {A_def}, {B_def}, {C_def}, {last}):
    """{w1} {w2} {w3}

    :param {A_doc}: {w4} {w5}
    :param {B_doc}: {w6} {w7}
    :param'''
NAMES = (
    *("load", "size", "files", "page", "names", "read", "port", "model", "data", "text", "path"),
    *("name", "time", "key", "value", "code", "line", "input", "output", "target", "source"),
    *("index", "count", "list", "file", "group", "user", "type", "state", "mode", "result"),
    *("order", "label", "point", "table", "image", "color", "width", "height", "length", "date"),
    *("number", "base", "start", "step", "rate", "depth", "token", "root", "node", "limit"),
    *("offset", "field", "item", "header", "body", "title", "message", "event", "status"),
)
WORDS = (
    *("oil", "column", "piece", "crime", "population", "unit", "dark", "street", "horse", "river"),
    *("garden", "music", "winter", "paper", "bridge", "silver", "ocean", "market", "doctor"),
    *("village", "window", "engine", "season", "forest", "captain", "circle", "hunger", "letter"),
)
CORRUPTIONS = {
    "unrelated": "definition and docstring have other arguments, and not the same ones",
    "renamed": "all arguments have other names, alike in definition and docstring",
}
_ARGUMENTS = ("first", "second", "A_def", "B_def", "C_def", "last")
_DESCRIBED = ("A_doc", "B_doc")


def docstring(model: Model, n: int, seed: int = 0, *, corruption: str = "unrelated") -> Pairs:
    """The answer is the third of the described arguments, wrong are all others of both prompts."""
    check_corruption(corruption, CORRUPTIONS)
    needed = 2 * len(_ARGUMENTS) + len(_DESCRIBED)
    names = at_least(model, NAMES, needed, task="docstring", what="argument names")
    words = at_least(model, WORDS, 8, task="docstring", what="words")
    random = Random(f"docstring/{seed}")
    rows = []
    for chosen in drawn(
        "docstring",
        [names] * len(_ARGUMENTS),
        n,
        seed,
        fits=lambda *names: len(set(names)) == len(names),
    ):
        others = random.sample([name for name in names if name not in chosen], needed - len(chosen))
        method, *said = random.sample(words, 8)
        frame = {"method": method, **{f"w{at + 1}": word for at, word in enumerate(said)}}
        clean = _named(chosen, chosen[2:4])
        if corruption == "renamed":
            corrupted = _named(others[:6], others[2:4])
        else:
            corrupted = _named(others[:6], others[6:])
        wrongs = [*(name for name in chosen if name != clean["C_def"]), *others[:6]]
        rows.append(
            contrast(
                model,
                TEMPLATE,
                {**frame, **clean},
                {**frame, **corrupted},
                answers=ids_of(model, clean["C_def"]),
                wrongs=[ids_of(model, name)[0] for name in wrongs],
                places=("A_def", "B_def", "C_def", *_DESCRIBED),
            )
        )
    return Pairs("docstring", tuple(rows))


def _named(arguments, described) -> Mapping[str, str]:
    """The words of a prompt that are argument names."""
    keys, words = (*_ARGUMENTS, *_DESCRIBED), (*arguments, *described)
    return dict(zip(keys, words, strict=True))

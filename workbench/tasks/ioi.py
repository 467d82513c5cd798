"""Indirect object identification: who receives, after a sentence that names two and one again.

"When Mary and John went to the store, John gave a drink to" is answered by the indirect object
(IO, Mary), not by the subject, who stands there twice (S1 and S2). Wang et al. 2022,
arXiv 2211.00593.
"""

from collections.abc import Mapping
from dataclasses import replace
from random import Random

from workbench.models import Model
from workbench.tasks.drawing import check_corruption, drawn
from workbench.tasks.names import FEMALE, MALE
from workbench.tasks.pairs import Pairs
from workbench.tasks.words import at_least, ids_of
from workbench.tasks.writing import contrast

TEMPLATES = (
    "When {first} and {second} went to the {place}, {S2} gave a {object} to",
    "Then, {first} and {second} had a lot of fun at the {place}. {S2} gave a {object} to",
    "While {first} and {second} were working at the {place}, {S2} gave a {object} to",
    "While {first} and {second} were walking to the {place}, {S2} handed a {object} to",
    "After the lunch, {first} and {second} went to the {place}. {S2} gave a {object} to",
)
ORDERS = {"ABBA": ("IO", "S1"), "BABA": ("S1", "IO")}
PLACES = ("store", "garden", "restaurant", "school", "hospital", "office", "house", "station")
OBJECTS = ("ring", "book", "bone", "ball", "computer", "necklace", "drink", "snack")
CORRUPTIONS = {
    "s2-io": "the second subject is the indirect object, which turns the answer round",
    "s2-third": "the second subject is a third person: either of the two may be meant",
    "abc": "three other persons: the prompt says nothing of the two",
}
_NAMES_NEEDED = 5  # two of them, and three others for "abc"


def ioi(model: Model, n: int, seed: int = 0, *, corruption: str = "s2-io") -> Pairs:
    """Pairs of five templates with either order of the names; the wrong token is the subject."""
    check_corruption(corruption, CORRUPTIONS)
    names = at_least(model, (*MALE, *FEMALE), _NAMES_NEEDED, task="ioi", what="names")
    forms = [(template, order) for template in TEMPLATES for order in ORDERS.values()]
    chosen = drawn(
        "ioi",
        [forms, names, names, PLACES, OBJECTS],
        n,
        seed,
        fits=lambda _form, io, subject, _place, _object: io != subject,
    )
    random = Random(f"ioi corrupted/{seed}")
    rows = []
    for (template, order), io, subject, place, what in chosen:
        clean = {"IO": io, "S1": subject, "S2": subject, "place": place, "object": what}
        # Three are drawn whatever the corruption is, so that all corruptions share the clean ones.
        others = random.sample([name for name in names if name not in (io, subject)], 3)
        made = contrast(
            model,
            template.replace("first", order[0]).replace("second", order[1]),
            clean,
            {**clean, **_corrupted(corruption, io, others)},
            answers=ids_of(model, io),
            wrongs=ids_of(model, subject),
            places=("IO", "S1", "S2"),
        )
        rows.append(replace(made, places={**made.places, "S1+1": made.places["S1"] + 1}))
    return Pairs("ioi", tuple(rows))


def _corrupted(corruption: str, io: str, others: list[str]) -> Mapping[str, str]:
    """The names that are others in the corrupted prompt."""
    if corruption == "abc":
        return dict(zip(("IO", "S1", "S2"), others, strict=True))
    return {"S2": io if corruption == "s2-io" else others[0]}

"""Subject-verb agreement across an attractor: a noun of the other number stands before the verb.

"The keys near the cabinet" goes on with `are`, though `cabinet` is nearer. Linzen, Dupoux and
Goldberg 2016, arXiv 1611.01368.
"""

from workbench.models import Model
from workbench.tasks.drawing import drawn
from workbench.tasks.pairs import Pairs
from workbench.tasks.words import ids_of, token_of
from workbench.tasks.writing import contrast

TEMPLATE = "The {subject} {link} the {attractor}"
LINKS = ("near", "behind", "beside")
_SUBJECTS = (
    *("key", "book", "picture", "letter", "painting", "chair", "table", "lamp", "phone", "box"),
    *("truck", "car", "boat", "tree", "flower", "sign", "toy", "bottle"),
)
_ATTRACTORS = (
    *("cabinet", "desk", "door", "window", "house", "building", "bridge", "river", "road"),
    *("garden", "wall", "shop"),
)
VERBS = ("is", "are")
SINGULAR, PLURAL = 0, 1


def agreement(model: Model, n: int, seed: int = 0) -> Pairs:
    """Singular and plural subjects in turn; corrupted is the same subject in the other number."""
    verbs = [token_of(model, verb, task="agreement") for verb in VERBS]
    nouns, attractors = (_aligned(model, words) for words in (_SUBJECTS, _ATTRACTORS))
    rows = []
    for number, subject, link, attractor in drawn(
        "agreement",
        [(SINGULAR, PLURAL), nouns, LINKS, attractors],
        n,
        seed,
    ):
        other = 1 - number
        words = {"link": link, "attractor": attractor[other]}
        rows.append(
            contrast(
                model,
                TEMPLATE,
                {**words, "subject": subject[number]},
                {**words, "subject": subject[other]},
                answers=[verbs[number]],
                wrongs=[verbs[other]],
                places=("subject", "attractor"),
            )
        )
    return Pairs("agreement", tuple(rows))


def _aligned(model: Model, nouns: tuple[str, ...]) -> list[tuple[str, str]]:
    """Both numbers of each noun of which they have as many tokens."""
    sizes = {noun: [len(ids_of(model, word)) for word in (noun, f"{noun}s")] for noun in nouns}
    return [(noun, f"{noun}s") for noun, (one, many) in sizes.items() if one == many > 0]

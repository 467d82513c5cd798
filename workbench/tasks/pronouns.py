"""Gendered pronouns: "So John is a good friend, isn't" goes on with `he`.

Mathwin and Corlouer et al. 2023, "Identifying a preliminary circuit for predicting gendered
pronouns in GPT-2 small". Their baseline is `That person`; here it is a name of the other
gender, so that all but the gender is alike.
"""

from random import Random

from workbench.models import Model
from workbench.tasks.drawing import drawn
from workbench.tasks.names import FEMALE, MALE
from workbench.tasks.pairs import Pairs
from workbench.tasks.words import ids_of, token_of
from workbench.tasks.writing import contrast

TEMPLATES = (
    "So {subject} is a really good {role}, isn't",
    "So {subject} is such a great {role}, isn't",
)
ROLES = ("friend", "teacher", "student", "neighbor", "player", "writer", "cook", "driver")
PRONOUNS = {"he": MALE, "she": FEMALE}


def pronouns(model: Model, n: int, seed: int = 0) -> Pairs:
    """Men's and women's names in turn; corrupted is a name of the other gender."""
    tokens = {pronoun: token_of(model, pronoun, task="pronouns") for pronoun in PRONOUNS}
    sizes = {name: len(ids_of(model, name)) for name in (*MALE, *FEMALE)}
    names = [name for name, size in sizes.items() if size]

    def partners(pronoun: str, name: str) -> list[str]:
        mine = PRONOUNS[pronoun]
        return [b for b in names if b not in mine and sizes[b] == sizes[name]]

    random = Random(f"pronouns corrupted/{seed}")
    rows = []
    for pronoun, name, template, role in drawn(
        "pronouns",
        [list(PRONOUNS), names, TEMPLATES, ROLES],
        n,
        seed,
        fits=lambda pronoun, name, *_: name in PRONOUNS[pronoun] and bool(partners(pronoun, name)),
    ):
        rows.append(
            contrast(
                model,
                template,
                {"subject": name, "role": role},
                {"subject": random.choice(partners(pronoun, name)), "role": role},
                answers=[tokens[pronoun]],
                wrongs=[token for other, token in tokens.items() if other != pronoun],
                places=("subject", "role"),
            )
        )
    return Pairs("pronouns", tuple(rows))

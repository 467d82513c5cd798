"""The tasks by name, as a command line and a page list them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from workbench.errors import InputError
from workbench.models import Model
from workbench.tasks.agreement import agreement
from workbench.tasks.docstring import CORRUPTIONS as DOCSTRING_CORRUPTIONS
from workbench.tasks.docstring import docstring
from workbench.tasks.greater_than import greater_than
from workbench.tasks.induction import CORRUPTIONS as INDUCTION_CORRUPTIONS
from workbench.tasks.induction import induction
from workbench.tasks.ioi import CORRUPTIONS as IOI_CORRUPTIONS
from workbench.tasks.ioi import ioi
from workbench.tasks.pairs import Pairs
from workbench.tasks.pronouns import pronouns
from workbench.tasks.recall import capitals, languages


@dataclass(frozen=True)
class Task:
    """A task known by name.

    `generator(model, n, seed)` makes the same pairs for the same vocabulary, n and seed. Where
    there are several `corruptions` (name -> a line about it, the default first), it takes one.
    """

    about: str
    source: str
    generator: Callable[..., Pairs]
    corruptions: Mapping[str, str] = field(default_factory=dict)

    def pairs(self, model: Model, n: int, seed: int = 0, *, corruption: str | None = None) -> Pairs:
        """`n` pairs, corrupted in the way that is named, or in the task's first."""
        if corruption is None:
            return self.generator(model, n, seed)
        if not self.corruptions:
            raise InputError(
                f"corruption {corruption!r}: prompts about {self.about} are corrupted in one way "
                "only; leave it out"
            )
        return self.generator(model, n, seed, corruption=corruption)


TASKS: Mapping[str, Task] = {
    "ioi": Task(
        about="who is given something, of two people of whom one is named twice",
        source="Wang et al. 2022, arXiv 2211.00593",
        generator=ioi,
        corruptions=IOI_CORRUPTIONS,
    ),
    "capitals": Task(
        about="the capital of a country",
        source="Hernandez et al. 2023, arXiv 2308.09124",
        generator=capitals,
    ),
    "languages": Task(
        about="the official language of a country",
        source="Hernandez et al. 2023, arXiv 2308.09124",
        generator=languages,
    ),
    "agreement": Task(
        about="is or are, after a subject and a noun of the other number",
        source="Linzen, Dupoux and Goldberg 2016, arXiv 1611.01368",
        generator=agreement,
    ),
    "pronouns": Task(
        about="he or she, after a first name",
        source="Mathwin et al. 2023, Apart Research Mechanistic Interpretability Hackathon",
        generator=pronouns,
    ),
    "greater-than": Task(
        about="a year later than the one in which something began",
        source="Hanna, Liu and Variengien 2023, arXiv 2305.00586",
        generator=greater_than,
    ),
    "induction": Task(
        about="what followed a token before, among random tokens; works with every vocabulary",
        source="Olsson et al. 2022, arXiv 2209.11895",
        generator=induction,
        corruptions=INDUCTION_CORRUPTIONS,
    ),
    "docstring": Task(
        about="the next argument of a Python function that its docstring describes",
        source="Heimersheim and Janiak 2023, A circuit for Python docstrings in a 4-layer "
        "attention-only transformer",
        generator=docstring,
        corruptions=DOCSTRING_CORRUPTIONS,
    ),
}


def task(name: str) -> Task:
    """The task of a name; `InputError` lists the names there are."""
    if name not in TASKS:
        raise InputError(f"there is no task {name!r}; there are {', '.join(TASKS)}")
    return TASKS[name]

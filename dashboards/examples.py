"""The gallery: examples that are one click from a working picture."""

from collections.abc import Mapping
from dataclasses import dataclass, field

REAL = "smollm2-135m"


@dataclass(frozen=True)
class Example:
    """A page with its settings and the place to look at, and what there is to see."""

    page: str
    title: str
    about: str
    settings: Mapping[str, str]
    place: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> dict[str, str]:
        """The query of the address that opens it."""
        return {**self.settings, **self.place}


EXAMPLES = (
    Example(
        "Attention",
        "Induction on random tokens",
        "50 random tokens, repeated. Which heads look at what came after the same token before? "
        "L18H6, then L17H3, L17H4 and L17H5.",
        {
            "model": REAL,
            "input": "random tokens",
            "seed": "2",
            "score": "induction",
        },
        {"head": "L18H6"},
    ),
    Example(
        "Attention",
        "Who got the drink? (IOI)",
        "Mary and John, and John gives: L23H3 looks from the end at the name said twice.",
        {
            "model": REAL,
            "prompt": "When Mary and John went to the store, John gave a drink to",
            "score": "previous token",
        },
        {"head": "L23H3"},
    ),
    Example(
        "Lens",
        "A capital, layer by layer",
        "“Paris” is nowhere for 25 layers, then first in the last one.",
        {"model": REAL, "prompt": "The capital of France is"},
    ),
    Example(
        "Lens",
        "Subject and verb, an attractor between",
        "“keys … cabinet”: does the verb agree with the right noun, and from which layer on?",
        {"model": REAL, "prompt": "The keys to the old wooden cabinet", "follow": " are"},
    ),
    Example(
        "Lens",
        "Where the model fails",
        "Adding two-digit numbers: the right digit never gets to the top. "
        "The lens shows a guess, not a sum.",
        {"model": REAL, "prompt": "Q: What is 34 + 58? A: 34 + 58 = ", "follow": "9"},
    ),
    Example(
        "Attribution",
        "Who writes “Mary”? (IOI)",
        "The logit of “ Mary” less that of “ John” as a sum. L23H3 has the largest share: it looks "
        "at the second “ John” and lowers that name.",
        {
            "model": REAL,
            "prompt": "When Mary and John went to the store, John gave a drink to",
            "answer": " Mary",
            "wrong": " John",
        },
        {"part": "L23H3"},
    ),
    Example(
        "Attribution",
        "Who writes “Paris”?",
        "Mostly the last two MLPs, and L23H4, which brings its share from “ France”.",
        {
            "model": REAL,
            "prompt": "The capital of France is",
            "answer": " Paris",
            "wrong": " the",
        },
        {"part": "L23H4"},
    ),
    Example(
        "Attention",
        "An induction circuit by hand",
        "Two layers with integer weights: L0H1 looks back by one, L1H2 completes the pattern.",
        {
            "model": "induction-by-hand",
            "prompt": "a b c d e a b c d",
            "score": "induction",
        },
        {"head": "L1H2"},
    ),
)


def examples(page: str) -> list[Example]:
    """The examples of one page."""
    return [example for example in EXAMPLES if example.page == page]

"""Explanations by a language model of the user's, and what they are worth on held-out text.

Nothing here asks a network: the two roles are plain functions of texts, handed in. The score is
the detection score of Paulo et al. 2024 (arXiv:2410.13928): given the explanation alone, in which
texts is the latent active?
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae.activity import Activity
from sae.features import Example, example
from sae.rules import STRONG
from workbench.corpus import Corpus
from workbench.errors import InputError

Explainer = Callable[[Sequence[str]], str]
"""Texts in which a latent is strongly active, those tokens in «», to what they have in common."""
Detector = Callable[[str, Sequence[str]], Sequence[bool]]
"""An explanation and texts, to whether the latent is active in each."""


@dataclass(frozen=True)
class Contexts:
    """Texts about one latent: to explain it by, and held-out ones where it is strong or silent."""

    shown: tuple[str, ...]
    strong: tuple[str, ...]
    silent: tuple[str, ...]


@dataclass(frozen=True)
class Detection:
    """An explanation, and in which of the held-out texts it was said to hold."""

    explanation: str
    hits: int
    n_strong: int
    false_alarms: int
    n_silent: int

    @property
    def f1(self) -> float:
        """Of finding the strong ones."""
        return 2 * self.hits / (self.hits + self.false_alarms + self.n_strong)

    @property
    def balanced_accuracy(self) -> float:
        """The mean of what is right among the strong and among the silent; chance is 0.5."""
        return (self.hits / self.n_strong + 1 - self.false_alarms / self.n_silent) / 2


def contexts(
    found: Activity,
    corpus: Corpus,
    train: Bool[np.ndarray, "context pos"],
    held_out: Bool[np.ndarray, "context pos"],
    latent: int,
    string: Callable[[int], str],
    *,
    n: int = 20,
    seed: int = 0,
) -> Contexts:
    """`n` texts of each sort at most, drawn by `seed`, one of a context; `string` names a token.

    `train` and `held_out` are those of `sae.samples.Samples`. Strong is above 0.3 of the largest
    activation; silent texts are held-out ones in which the latent is nowhere active. Raises
    `InputError` for another corpus, and for a latent that is not strong in both parts.
    """
    if found.corpus != corpus.digest:
        raise InputError("this activity is of another corpus; make it again")
    places, values = found.of(latent)
    limit = STRONG * float(values.max()) if len(values) else 0.0
    strong = places[values > limit]
    draw = np.random.default_rng(seed)
    sides = []
    for part in (train.ravel(), held_out.ravel()):
        mine = draw.permutation(strong[torch.from_numpy(part[strong.numpy()])].numpy())
        sides.append(_apart(corpus, places, values, mine, n))
    if not all(sides):
        raise InputError(
            f"latent {latent} is not strongly active both in training and in held-out text; "
            "explain another"
        )
    elsewhere = draw.permutation(np.flatnonzero(held_out.ravel()))
    silent = _apart(corpus, places, values, elsewhere, n, silent=True)
    return Contexts(
        tuple(_told(one, string, limit) for one in sides[0]),
        tuple(_told(one, string) for one in sides[1]),
        tuple(_told(one, string) for one in silent),
    )


def detected(about: Contexts, explain: Explainer, detect: Detector, seed: int = 0) -> Detection:
    """Ask for an explanation, then which texts it fits, in an order that says nothing.

    Raises `InputError` unless there is an answer for each text.
    """
    explanation = explain(about.shown)
    texts = [*about.strong, *about.silent]
    order = np.random.default_rng(seed).permutation(len(texts))
    answers = list(detect(explanation, [texts[i] for i in order]))
    if len(answers) != len(texts):
        raise InputError(f"the detector gave {len(answers)} answers on {len(texts)} texts")
    said = np.empty(len(texts), dtype=bool)
    said[order] = answers
    n = len(about.strong)
    return Detection(explanation, int(said[:n].sum()), n, int(said[n:].sum()), len(about.silent))


def _apart(
    corpus: Corpus,
    places: Int[Tensor, " active"],
    values: Float[Tensor, " active"],
    order: Int[np.ndarray, " chosen"],
    n: int,
    *,
    silent: bool = False,
) -> list[Example]:
    """The first `n`, one of a context; `silent`: only where the latent says nothing around."""
    found: dict[int, Example] = {}
    for place in order.tolist():
        if len(found) == n:
            break
        one = example(corpus, places, values, place)
        if not (silent and bool(one.values.any())):
            found.setdefault(one.context, one)
    return list(found.values())


def _told(one: Example, string: Callable[[int], str], limit: float = torch.inf) -> str:
    """The text, tokens above `limit` in marks."""
    pairs = zip(one.ids.tolist(), one.values.tolist(), strict=True)
    return "".join(f"«{string(t)}»" if v > limit else string(t) for t, v in pairs)

"""Rules that say when a latent is active, found by counting, and scored on text held out.

No model is asked. A rule is a list of tokens, of pairs of tokens one after the other, or of the
token before; what it has to tell apart are strong activations, those above 0.3 of the latent's
largest: a rule for any activation, however faint, fits random directions as well.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from sae.activity import Activity, activity, each
from sae.dictionary import SAE
from sae.samples import Samples
from workbench.cache import Progress
from workbench.cache.files import write_whole
from workbench.carded import fewest_bytes
from workbench.corpus import PUT_IN, Corpus
from workbench.errors import MISFITS, InputError

FORMAT = 1
STRONG = 0.3  # of the largest activation
_SMALLEST = 5  # strong activations, for a rule to be looked for
_LONGEST = 50  # tokens or pairs in a rule
SORTS = ("token", "previous", "pair")
Words = Int[np.ndarray, " place"]


@dataclass(frozen=True)
class Rule:
    """When a latent is said to be active: at `words` of a `sort`, the surest first.

    A word of the sort "pair" is (previous token, token). `f1` is on held-out text, against strong
    activations, `precision` and `recall` are its parts; `trained` is the F1 where it was found.
    """

    sort: str
    words: tuple[tuple[int, ...], ...]
    trained: float
    f1: float
    precision: float
    recall: float
    n_strong: int


@dataclass(frozen=True, eq=False)
class Text:
    """A corpus as words of each sort at each place, and what may be counted on which side."""

    words: Mapping[str, Words]
    names: Mapping[str, Int[np.ndarray, "word part"]]
    train: Bool[np.ndarray, " place"]
    held_out: Bool[np.ndarray, " place"]


def text_of(
    corpus: Corpus,
    train: Bool[np.ndarray, "context pos"],
    held_out: Bool[np.ndarray, "context pos"],
) -> Text:
    """What rules are made of. Both parts lack BOS and padding."""
    if train.shape != corpus.ids.shape or held_out.shape != corpus.ids.shape:
        raise InputError(
            f"the parts are {train.shape}; give them in the corpus' {corpus.ids.shape}"
        )
    ids = np.asarray(corpus.ids, dtype=np.int64)
    before = np.roll(ids, 1, axis=1)
    before[:, 0] = PUT_IN
    words, names = {}, {}
    size = int(ids.max()) + 2
    for sort, coded in (
        ("token", ids),
        ("previous", before),
        ("pair", (before + 1) * size + ids),
    ):
        known, numbers = np.unique(coded, return_inverse=True)
        words[sort] = numbers.reshape(-1)
        parts = (known // size - 1, known % size) if sort == "pair" else (known,)
        names[sort] = np.stack(parts, axis=1)
    return Text(words, names, train.ravel(), held_out.ravel())


def explain(found: Activity, text: Text, progress: Progress | None = None) -> list[Rule | None]:
    """The best rule of each latent; None where it is hardly ever strongly active."""
    totals = {
        sort: np.bincount(words[text.train], minlength=len(text.names[sort]))
        for sort, words in text.words.items()
    }
    held = {
        sort: np.bincount(words[text.held_out], minlength=len(text.names[sort]))
        for sort, words in text.words.items()
    }
    rules: list[Rule | None] = []
    n = len(found.offsets) - 1
    for latent, places, values in each(found):
        rules.append(_best(places.numpy(), values.numpy(), text, totals, held))
        if progress is not None and (latent % 64 == 63 or latent == n - 1):
            progress(latent + 1, n)
    return rules


def of_random_directions(
    sae: SAE, samples: Samples, k: int, progress: Progress | None = None
) -> list[Rule | None]:
    """Rules of as many random directions, the `k` largest of a row active: what is easily had.

    They read the same rows, about their mean, and are explained in the same way.
    """
    draw = torch.Generator().manual_seed(0)
    rows = normalize(torch.randn(sae.W_enc.shape, generator=draw), dim=1)
    zero = torch.zeros_like(sae.b_enc)
    other = replace(sae, W_enc=rows, b_enc=zero, b_in=samples.mean, k=k, threshold=None)
    text = text_of(samples.harvest.corpus, samples.train, samples.held_out)
    return explain(activity(other, samples, progress), text)


def _best(
    places: Int[np.ndarray, " active"],
    values: Float[np.ndarray, " active"],
    text: Text,
    totals: Mapping[str, Int[np.ndarray, " word"]],
    held: Mapping[str, Int[np.ndarray, " word"]],
) -> Rule | None:
    if not len(values):
        return None
    strong = places[values > STRONG * values.max()]
    training, tested = strong[text.train[strong]], strong[text.held_out[strong]]
    if len(training) < _SMALLEST:
        return None
    best, sort_of, words_of = -1.0, SORTS[0], np.empty(0, dtype=np.int64)
    for sort in SORTS:
        f1, words = _chosen(text.words[sort][training], totals[sort])
        if f1 > best + 0.02:  # a longer rule has to earn it
            best, sort_of, words_of = f1, sort, words
    hits = int(np.isin(text.words[sort_of][tested], words_of).sum())
    said = int(held[sort_of][words_of].sum())
    precision = hits / said if said else 0.0
    recall = hits / len(tested) if len(tested) else float("nan")
    f1 = 2 * hits / (said + len(tested)) if said + len(tested) else float("nan")
    names = tuple(tuple(int(one) for one in text.names[sort_of][word]) for word in words_of)
    return Rule(sort_of, names, best, f1, precision, recall, len(strong))


def _chosen(
    strong: Int[np.ndarray, " n"], totals: Int[np.ndarray, " word"]
) -> tuple[float, Int[np.ndarray, " chosen"]]:
    """The words with the best F1 together: those with the largest share of strong places."""
    words, hits = np.unique(strong, return_counts=True)
    order = np.argsort(-(hits / totals[words]), kind="stable")[:_LONGEST]
    caught, said = hits[order].cumsum(), totals[words[order]].cumsum()
    scores = 2 * caught / (said + len(strong))
    last = int(scores.argmax())
    return float(scores[last]), words[order[: last + 1]]


def worded(rule: Rule | None, string: Callable[[int], str], n: int = 6) -> str:
    """A rule in words, its first `n`; `string` gives a token's text."""
    if rule is None:
        return "none"
    words = [
        " ".join(repr(string(token)) if token >= 0 else "(start)" for token in word)
        for word in rule.words[:n]
    ]
    more = f" and {len(rule.words) - n} more" if len(rule.words) > n else ""
    return f"{rule.sort}: {', '.join(words)}{more}"


def save_rules(rules: Sequence[Rule | None], path: Path) -> None:
    """Write them as JSON, whole or not at all. Raises `InputError` where the disk refuses."""
    told = [rule and asdict(rule) for rule in rules]
    try:
        write_whole(path, json.dumps({"format": FORMAT, "rules": told}).encode())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def load_rules(path: Path) -> list[Rule | None]:
    """Raises `InputError` for a file that is not one of `save_rules`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']}")
        return [
            rule and Rule(**{**rule, "words": _tuples(rule["words"])}) for rule in found["rules"]
        ]
    except (OSError, *MISFITS) as error:
        raise InputError(f"{path} holds no rules ({error}); make them again") from error


def _tuples(words: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(word) for word in words)


def rule_tensors(rules: Sequence[Rule | None]) -> dict[str, Tensor]:
    """Rules as a few small tensors, for a file of all latents; `rules_of` reads them."""
    given = [rule for rule in rules if rule is not None]
    sorts = [-1 if rule is None else SORTS.index(rule.sort) for rule in rules]
    words = [(*word, -1)[:2] for rule in given for word in rule.words]
    whole = {
        "sorts": sorts,
        "lengths": [len(rule.words) for rule in given],
        "words": words or torch.empty(0, 2),
        "strong": [rule.n_strong for rule in given],
    }
    scores = [[rule.trained, rule.f1, rule.precision, rule.recall] for rule in given]
    return {
        **{
            f"rule_{k}": fewest_bytes(torch.as_tensor(v, dtype=torch.int32))
            for k, v in whole.items()
        },
        "rule_scores": torch.tensor(scores, dtype=torch.float64).reshape(-1, 4),
    }


def rules_of(tensors: Mapping[str, Tensor]) -> tuple[Rule | None, ...]:
    """What `rule_tensors` made them of."""
    whole = {
        name: (tensors[f"rule_{name}"].int() - 1).tolist()
        for name in ("sorts", "lengths", "words", "strong")
    }
    words, each = (
        iter(whole["words"]),
        zip(whole["lengths"], whole["strong"], tensors["rule_scores"].tolist(), strict=True),
    )
    rules: list[Rule | None] = []
    for sort in whole["sorts"]:
        if sort < 0:
            rules.append(None)
            continue
        length, strong, scores = next(each)
        parts = 2 if SORTS[sort] == "pair" else 1
        mine = tuple(tuple(next(words)[:parts]) for _ in range(length))
        rules.append(Rule(SORTS[sort], mine, *scores, n_strong=strong))
    return tuple(rules)


def median_f1(rules: Sequence[Rule | None]) -> float:
    """Over latents that have a rule and were strongly active on held-out text."""
    scores = torch.tensor([rule.f1 for rule in rules if rule is not None and rule.f1 == rule.f1])
    return float(scores.median()) if len(scores) else float("nan")

"""What a patched run is judged by: numbers from logits, at one position or over all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.errors import InputError
from workbench.metrics import kl_divergence
from workbench.tasks import Pair

Logits = Float[Tensor, "row kept d_vocab"]
Measured = Float[Tensor, "row kept"]


@dataclass(frozen=True)
class Wanted:
    """What the logits of each row are held against.

    `answers` and `wrongs` are token ids, -1 where a row has fewer than another; `clean` are the
    logits of the clean run.
    """

    answers: Int[Tensor, "row answer"]
    wrongs: Int[Tensor, "row wrong"]
    clean: Logits

    def of(self, rows: Int[Tensor, " some"]) -> "Wanted":
        """The same for some rows, in any order and as often as they are named."""
        return Wanted(self.answers[rows], self.wrongs[rows], taken(self.clean, rows))

    def among(self, tokens: Int[Tensor, " token"]) -> "Wanted":
        """The same where logits are those of `tokens`, ascending, which hold all named here."""
        answers, wrongs = (
            torch.where(ids < 0, ids, torch.searchsorted(tokens, ids))
            for ids in (self.answers, self.wrongs)
        )
        return Wanted(answers, wrongs, self.clean)


Measure = Callable[[Logits, Wanted], Measured]


def logit_difference(logits: Logits, wanted: Wanted) -> Measured:
    """Mean logit of the answers less that of the wrong tokens (Wang et al. 2022)."""
    return _mean(logits, wanted.answers) - _mean(logits, wanted.wrongs)


def probability(logits: Logits, wanted: Wanted) -> Measured:
    """Probability of the answers, together."""
    return log_probability(logits, wanted).exp()


def probability_difference(logits: Logits, wanted: Wanted) -> Measured:
    """Probability of the answers less that of the wrong tokens (Hanna et al. 2023)."""
    wrong = _total(logits.float().log_softmax(-1), wanted.wrongs).exp()
    return probability(logits, wanted) - wrong


def log_probability(logits: Logits, wanted: Wanted) -> Measured:
    """Log-probability of the answers, together, in nats."""
    return _total(logits.float().log_softmax(-1), wanted.answers)


def kl(logits: Logits, wanted: Wanted) -> Measured:
    """KL(clean || run) in nats: 0 is the clean run's own distribution."""
    clean, found = (x.float().log_softmax(-1) for x in (wanted.clean, logits))
    return kl_divergence(clean, found)


def top_1(logits: Logits, wanted: Wanted) -> Measured:
    """Whether the likeliest token is an answer."""
    best = logits.argmax(-1, keepdim=True)
    return (best == wanted.answers[:, None]).any(-1).float()


MEASURES: Mapping[str, Measure] = {
    "logit difference": logit_difference,
    "probability": probability,
    "probability difference": probability_difference,
    "log-prob": log_probability,
    "KL": kl,
    "top-1 accuracy": top_1,
}
"""All measures by the name under which commands and pages show them."""


@dataclass(frozen=True)
class Metric:
    """A measure, and where it is taken: at a place of each pair, or as the mean over `all`."""

    name: str
    measure: Measure
    at: str | int = "end"

    @classmethod
    def named(cls, name: str, at: str | int = "end") -> "Metric":
        """One of `MEASURES`. Raises `InputError` for others."""
        if name not in MEASURES:
            raise InputError(f"metric {name!r} is not one of {', '.join(MEASURES)}")
        return cls(name, MEASURES[name], at)

    @classmethod
    def of(cls, given: "str | Metric | Measure") -> "Metric":
        """A metric as it is, by name, or from a measure of one's own, over all positions."""
        if isinstance(given, Metric):
            return given
        if isinstance(given, str):
            return cls.named(given)
        return cls(getattr(given, "__name__", "a metric of your own"), given, at="all")

    @property
    def everywhere(self) -> bool:
        return self.at == "all"

    def columns(self, pairs: Sequence[Pair]) -> Int[Tensor, "pair 1"] | None:
        """The position in each pair's prompts; None for all of them."""
        if self.everywhere:
            return None
        return torch.tensor([[pair.at(self.at)] for pair in pairs])

    def tokens(self, pairs: Sequence[Pair]) -> Int[Tensor, " token"] | None:
        """All that it looks at the logits of, ascending; None for the whole vocabulary."""
        if self.measure is not logit_difference:
            return None
        return torch.tensor(sorted({id for pair in pairs for id in (*pair.answers, *pair.wrongs)}))

    def __call__(self, logits: Logits, wanted: Wanted) -> Float[Tensor, " row"]:
        """One number for each row. Raises `InputError` for NaN and for what is no `[row, kept]`."""
        measured = self.measure(logits, wanted)
        if measured.ndim != 2 or len(measured) != len(logits):
            raise InputError(
                f"the metric {self.name} returned shape {tuple(measured.shape)} of logits "
                f"{tuple(logits.shape)}; it must return [row, kept]: a number for each row and "
                "position"
            )
        found = measured.float().mean(-1)
        if not bool(found.isfinite().all()):
            raise InputError(
                f"the metric {self.name} is not finite on {int((~found.isfinite()).sum())} of "
                f"{len(found)} runs; load the model in float32, or look at the metric"
            )
        return found


def wanted_of(pairs: Sequence[Pair], clean: Logits) -> Wanted:
    """Answers, wrong tokens and clean logits of some pairs."""
    answers, wrongs = (
        _padded([getattr(pair, name) for pair in pairs]).to(clean.device)
        for name in ("answers", "wrongs")
    )
    return Wanted(answers, wrongs, clean)


def taken(tensor: Float[Tensor, "pair ..."], rows: Int[Tensor, " row"]) -> Tensor:
    """`tensor[rows]`, without a copy where all are one row: logits of all positions are large."""
    if bool((rows == rows[0]).all()):
        return tensor[rows[0]].expand(len(rows), *tensor.shape[1:])
    return tensor[rows]


def _padded(rows: Sequence[Sequence[int]]) -> Int[Tensor, "row most"]:
    most = max(map(len, rows))
    return torch.tensor([[*row, *[-1] * (most - len(row))] for row in rows], dtype=torch.long)


def _chosen(
    values: Logits, ids: Int[Tensor, "row some"], fill: float
) -> Float[Tensor, "row kept some"]:
    """The values at some ids; `fill` where a row has no such id."""
    index = ids.clamp_min(0)[:, None].expand(-1, values.shape[1], -1)
    return values.gather(-1, index).float().masked_fill((ids < 0)[:, None], fill)


def _mean(logits: Logits, ids: Int[Tensor, "row some"]) -> Measured:
    """Mean logit of the ids; 0 without any."""
    count = (ids >= 0).sum(-1).clamp_min(1)
    return _chosen(logits, ids, 0.0).sum(-1) / count[:, None]


def _total(log_probs: Logits, ids: Int[Tensor, "row some"]) -> Measured:
    return _chosen(log_probs, ids, -torch.inf).logsumexp(-1)

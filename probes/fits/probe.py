"""A probe: frozen weights at one site that score every class of every task, of one model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from workbench.directions import Direction, check_made_for, from_tensor
from workbench.errors import InputError
from workbench.models import Model
from workbench.sites import Site

Scale = Literal["logits", "shares", "none"]
"""What scores are: logits, regressed one-hots (they sum to 1), or only an order."""
SCALES: Mapping[str, Scale] = {"ridge": "shares", "mean-difference": "none"}  # else logits


@dataclass(frozen=True, eq=False, kw_only=True)
class Probe:
    """What all probes have: where, of which model (name and identity; None: of any), how fitted.

    `strength` is what scikit-learn calls alpha (ridge) or C (logistic), on the activations as
    they are; None for kinds that have none.
    """

    site: Site
    kind: str
    tasks: tuple[str, ...]
    classes: tuple[str, ...]
    strength: float | None = None
    model: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        """How long the vectors are that it reads."""
        raise NotImplementedError

    @property
    def scale(self) -> Scale:
        return SCALES.get(self.kind, "logits")

    def scores(self, x: Float[Tensor, "row d"]) -> Float[Tensor, "row task class"]:
        """A score for every class; the highest is the answer.

        Raises `InputError` for activations of another width.
        """
        raise NotImplementedError

    def predict(self, x: Float[Tensor, "row d"]) -> Int[Tensor, "row task"]:
        """The class with the highest score."""
        return self.scores(x).argmax(-1)

    def _fitting(self, x: Float[Tensor, "row d"]) -> Float[Tensor, "row d"]:
        if x.shape[1] != self.width:
            raise InputError(
                f"the probe at {self.site} reads vectors of {self.width} values, these have "
                f"{x.shape[1]}; give activations of its own model and site"
            )
        return x


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearProbe(Probe):
    """Scores are `x weight + bias`."""

    weight: Float[Tensor, "d task class"]
    bias: Float[Tensor, "task class"]

    @property
    def width(self) -> int:
        return len(self.weight)

    def scores(self, x: Float[Tensor, "row d"]) -> Float[Tensor, "row task class"]:
        """Logits of a logistic probe, regressed one-hots of a ridge.

        Raises `InputError` for activations of another width.
        """
        return _affine(self._fitting(x), self.weight, self.bias)


@dataclass(frozen=True, eq=False, kw_only=True)
class MLPProbe(Probe):
    """Logits are `relu(x inner + inner_bias) weight + bias`: the non-linear control."""

    inner: Float[Tensor, "d hidden"]
    inner_bias: Float[Tensor, " hidden"]
    weight: Float[Tensor, "hidden task class"]
    bias: Float[Tensor, "task class"]

    @property
    def width(self) -> int:
        return len(self.inner)

    def scores(self, x: Float[Tensor, "row d"]) -> Float[Tensor, "row task class"]:
        """Logits. Raises `InputError` for activations of another width."""
        hidden = (self._fitting(x) @ self.inner.to(x) + self.inner_bias.to(x)).relu()
        return _affine(hidden, self.weight, self.bias)


def direction(probe: Probe, task: str, class_: str, against: str | None = None) -> Direction:
    """A linear probe's column of a class, or that of the class minus that of `against`.

    It is the probe's model's and refused by others. Raises `InputError` for a probe that is not
    linear or reads all heads at once, for names it does not know, and for a class it never saw.
    """
    if not isinstance(probe, LinearProbe):
        raise InputError(
            f"a probe of kind {probe.kind!r} has no direction; fit a linear one (ridge, logistic, "
            "mean-difference)"
        )
    if probe.site.head is None and probe.site.kind.head_axis is not None:
        raise InputError(
            f"the probe at {probe.site} reads all heads at once, which a direction does not; fit "
            f"one on a head, such as L{probe.site.layer}H0.{probe.site.name}, or at a site such as "
            f"{probe.site.layer}.resid_post"
        )
    columns = probe.weight[:, _index(task, "task", probe.tasks)]
    vector = columns[:, _index(class_, "class", probe.classes)]
    name = f"{task}: {class_}"
    if against is not None:
        vector = vector - columns[:, _index(against, "class", probe.classes)]
        name += f" - {against}"
    made = f"column of a {probe.kind} probe at {probe.site}, {name}"
    return replace(
        from_tensor(vector, probe.site, name=name, made=made, model=None), model=probe.model
    )


def check_probe(probe: Probe, model: Model) -> None:
    """Raise `InputError` unless the probe is of this model: its site, width and identity."""
    check_made_for(
        model, f"the probe at {probe.site}", probe.site, probe.width, probe.model, flat=True
    )


def _affine(
    x: Float[Tensor, "row d"], weight: Float[Tensor, "d task class"], bias: Tensor
) -> Float[Tensor, "row task class"]:
    return (x @ weight.to(x).flatten(1)).unflatten(1, weight.shape[1:]) + bias.to(x)


def _index(wanted: str, what: str, known: Sequence[str]) -> int:
    if wanted not in known:
        raise InputError(f"the probe has no {what} {wanted!r}; it has {', '.join(known)}")
    return known.index(wanted)

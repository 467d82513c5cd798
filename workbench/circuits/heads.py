"""A head's two circuits, in the basis of the residual stream."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from workbench.models import Model
from workbench.models.weights import (
    FactoredMatrix,
    attention_weights,
    by_head,
    check_head,
    check_queries,
    norm,
    rotation,
)
from workbench.sites import Head


@dataclass(frozen=True)
class Circuit:
    """One head's OV (from source to what it writes) or QK (from query to key).

    A rotary model's QK depends on how far the key stands before the query: `distance`, None
    where position does not enter.
    """

    head: Head
    kind: Literal["OV", "QK"]
    matrix: FactoredMatrix
    distance: int | None = None


@dataclass(frozen=True)
class Folded:
    """One layer's heads in the basis of the residual, norm and centring folded in."""

    queries: Float[Tensor, "head d_model d_head"]
    keys: Float[Tensor, "head d_model d_head"]
    values: Float[Tensor, "head d_model d_head"]
    output: Float[Tensor, "head d_head d_model"]


def ov(model: Model, head: Head) -> Circuit:
    """What the head writes into the residual, given what it attends to."""
    layer = folded(model, head)
    return Circuit(head, "OV", FactoredMatrix(layer.values[head.head], layer.output[head.head]))


def qk(model: Model, head: Head, *, distance: int = 0) -> Circuit:
    """How the head scores a key that stands `distance` positions before the query.

    Distance 0 is the circuit without rotation: where positions are rotary, what the head would
    see in its own position. Raises `InputError` for a distance outside the context.
    """
    layer, turn = folded(model, head), rotation(model, distance)
    check_queries(model, head.layer)
    queries, keys = layer.queries[head.head], layer.keys[head.head]
    turned = queries if turn is None else queries @ turn
    return Circuit(
        head, "QK", FactoredMatrix(turned, keys.T), distance=None if turn is None else distance
    )


def folded(model: Model, head: Head) -> Folded:
    """The layer of a head. Raises `InputError` for a head out of range."""
    check_head(model, head)
    n_heads = model.architecture.n_heads
    weights, before = attention_weights(model, head.layer), norm(model, head.layer)
    return Folded(
        queries=before.folded(weights.W_Q.float()),
        keys=by_head(before.folded(weights.W_K.float()), n_heads),
        values=by_head(before.folded(weights.W_V.float()), n_heads),
        output=norm(model).centred(weights.W_O.float(), axis=-1),
    )


def layers(model: Model) -> Iterator[Folded]:
    """Every layer. Raises `InputError` for a model that has none."""
    check_head(model, Head(0, 0))
    return (folded(model, Head(layer, 0)) for layer in range(model.architecture.n_layers))

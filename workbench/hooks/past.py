"""Keys and values of positions already computed, so that a forward need not compute them again."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from workbench.errors import InputError
from workbench.models import Model


@dataclass(frozen=True)
class Past:
    """Keys (rotated) and values of the first positions, layer by layer; never written to.

    A layer holds the rows that are there: all, unless rows start at several layers. With
    `rows`, a batch's rows go on from these, each as often as it is named; what they need is
    gathered layer by layer, where the forward comes to it, and let go.
    """

    keys: tuple[Float[Tensor, "_ kv_head pos d_head"], ...]
    values: tuple[Float[Tensor, "_ kv_head pos d_head"], ...]
    rows: Int[Tensor, " row"] | None = field(default=None, kw_only=True)

    @property
    def length(self) -> int:
        return self.keys[0].shape[2]

    def upto(self, position: int) -> "Past":
        """The positions before `position` alone, as views."""
        if not 0 < position <= self.length:
            raise InputError(
                f"position {position} is outside the {self.length} positions kept; "
                f"give 1 to {self.length}"
            )
        return Past(
            tuple(keys[:, :, :position] for keys in self.keys),
            tuple(values[:, :, :position] for values in self.values),
            rows=self.rows,
        )

    def last(self, n: int) -> "Past":
        """The last `n` positions (all, where there are fewer), as views."""
        return Past(
            tuple(keys[:, :, -n:] for keys in self.keys),
            tuple(values[:, :, -n:] for values in self.values),
            rows=self.rows,
        )

    def of(self, rows: Int[Tensor, " row"]) -> "Past":
        """The same for some rows of a batch, as views."""
        return replace(self, rows=rows if self.rows is None else self.rows[rows])


def check_past(past: Past, tokens: Int[Tensor, "batch pos"], model: Model) -> None:
    """Raise `InputError` unless the past is of as many rows, and of a model like this one."""
    sizes = model.architecture

    def told(layers: int, rows: int, heads: int, d_head: int, *kind: object) -> str:
        where = " on ".join(map(str, kind))
        return f"{layers} layers x {rows} rows x {heads} heads of {d_head}, {where}"

    keys = past.keys[0]
    rows, heads, _, d_head = keys.shape
    rows = rows if past.rows is None else len(past.rows)
    found = told(len(past.keys), rows, heads, d_head, keys.dtype, keys.device)
    expected = told(
        sizes.n_layers, len(tokens), sizes.n_kv_heads, sizes.d_head, model.dtype, model.device
    )
    if found != expected:
        raise InputError(
            f"the past holds {found}; these tokens and this model need {expected}; give the "
            "`past` of a run of this model on the same rows"
        )


def as_cache(past: Past | None, *, grows: bool) -> DynamicCache:
    """The Hub library's cache over the same tensors; its updates make new ones.

    Where it `grows`, it keeps what is added; otherwise a layer's are let go when it is done.
    """
    cache = DynamicCache()
    for keys, values in zip(past.keys, past.values, strict=True) if past else ():
        rows = past.rows if past else None
        if grows and rows is not None:
            keys, values, rows = keys[rows], values[rows], None
        layer = DynamicLayer() if grows else _Fixed(rows)
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values  # `update` would copy them first
        cache.layers.append(layer)
    return cache


class _Fixed(DynamicLayer):
    """Keys and values of earlier positions, to be put before those of the rows that are there."""

    def __init__(self, rows: Int[Tensor, " row"] | None) -> None:
        super().__init__()
        self.rows = rows

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Both in full; nothing is kept."""
        here = slice(None) if self.rows is None else self.rows[: len(key_states)]
        assert self.keys is not None and self.values is not None
        return (
            torch.cat([self.keys[here], key_states], dim=-2),
            torch.cat([self.values[here], value_states], dim=-2),
        )


def from_cache(cache: DynamicCache) -> Past:
    """What a forward left in the cache."""
    keys, values = [], []
    for layer in cache.layers:
        if not isinstance(layer, DynamicLayer) or layer.keys is None or layer.values is None:
            raise InputError(
                "this model's cache is not one of keys and values for every position; run all "
                "positions without `past` and `keep_past`"
            )
        keys.append(layer.keys)
        values.append(layer.values)
    return Past(tuple(keys), tuple(values))

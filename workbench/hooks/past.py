"""Keys and values of positions already computed, so that a forward need not compute them again."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from workbench.errors import InputError


@dataclass(frozen=True)
class Past:
    """Keys (rotated) and values of the first positions, layer by layer; never written to."""

    keys: tuple[Float[Tensor, "batch kv_head pos d_head"], ...]
    values: tuple[Float[Tensor, "batch kv_head pos d_head"], ...]

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
        )

    def last(self, n: int) -> "Past":
        """The last `n` positions (all, where there are fewer), as views."""
        return Past(
            tuple(keys[:, :, -n:] for keys in self.keys),
            tuple(values[:, :, -n:] for values in self.values),
        )


def as_cache(past: Past | None) -> DynamicCache:
    """The Hub library's cache over the same tensors; its updates make new ones."""
    if past is None:
        return DynamicCache()
    return DynamicCache(list(zip(past.keys, past.values, strict=True)))


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

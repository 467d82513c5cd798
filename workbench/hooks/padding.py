"""Padded positions of a site's tensor: what stands there is nobody's activation."""

from jaxtyping import Bool
from torch import Tensor

from workbench.sites import Site


def fill_padding(
    tensor: Tensor, site: Site, real: Bool[Tensor, "batch pos"] | None, value: float
) -> Tensor:
    """`value` wherever the position (of a pattern: the query's) is padding."""
    if real is None or bool(real.all()):
        return tensor
    axis = site.kind.position_axes[0]
    head_axis = site.kind.head_axis
    if site.head is not None and head_axis is not None and head_axis < axis:
        axis -= 1
    if tensor.shape[axis] != real.shape[1]:  # logits kept at few columns: none is padding
        return tensor
    shape = [len(real), *([1] * (tensor.ndim - 1))]
    shape[axis] = real.shape[1]
    return tensor.masked_fill(~real.view(shape), value)

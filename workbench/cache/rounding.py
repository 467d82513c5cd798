"""Another dtype for activations, with what that loses stated, and overflow refused."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from workbench.errors import InputError
from workbench.models import DTYPES
from workbench.sites import Site

# Elements whose error is taken at once: on the CPU, what a few temporaries fit into its cache.
_PIECE, _PIECE_ON_DEVICE = 2**17, 2**24


@dataclass(frozen=True)
class Rounding:
    """What rounding to a stored dtype lost.

    `relative` is the Frobenius norm of the error over that of the values, `largest` the
    largest error of any value, `norm` the Frobenius norm of the values; all over the values
    that are finite. `relative` and `largest` are 0 and `norm` not taken where nothing was rounded.
    """

    relative: float = 0.0
    largest: float = 0.0
    norm: float = 0.0

    def to_json(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def over(cls, parts: Iterable["Rounding"]) -> "Rounding":
        """The rounding of several tensors taken together."""
        parts = tuple(parts)
        error = math.fsum((part.relative * part.norm) ** 2 for part in parts)
        norm = math.fsum(part.norm**2 for part in parts)
        largest = max((part.largest for part in parts), default=0.0)
        return cls(math.sqrt(error / norm) if norm else 0.0, largest, math.sqrt(norm))


def dtype_named(name: str | None, model_dtype: torch.dtype) -> str:
    """The name of a stored dtype, the model's own for None. Raises `InputError` for others."""
    name = name or str(model_dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(f"dtype {name!r} is not one of {', '.join(DTYPES)}")
    return name


def rounded(tensor: Tensor, dtype: torch.dtype, site: Site | str) -> tuple[Tensor, Rounding]:
    """`tensor` as `dtype`, and what that lost.

    Raises `InputError` where a finite value would become infinite.
    """
    stored = tensor.to(dtype)
    if torch.promote_types(tensor.dtype, dtype) == dtype:
        return stored, Rounding()  # it holds every value
    size = _PIECE if tensor.device.type == "cpu" else _PIECE_ON_DEVICE
    pieces = zip(tensor.flatten().split(size), stored.flatten().split(size), strict=True)
    return stored, Rounding.over(_lost(piece, kept, site) for piece, kept in pieces)


def _lost(tensor: Tensor, stored: Tensor, site: Site | str) -> Rounding:
    values = tensor.float()
    error = stored.float().sub_(values)  # exact: the two are close, or one is 0
    norm, lost, largest = _norms(values, error)
    if not math.isfinite(norm + lost):
        finite = tensor.isfinite()
        _check_overflow(values, stored, finite, site)
        values, error = torch.where(finite, values, 0), torch.where(finite, error, 0)
        norm, lost, largest = _norms(values.double(), error.double())
    return Rounding(lost / norm if norm else 0.0, largest, norm)


def _norms(values: Tensor, error: Tensor) -> list[float]:
    """At once, because a device is waited for each time."""
    least, most = error.aminmax()
    return torch.stack([values.norm(), error.norm(), torch.maximum(most, -least)]).tolist()


def _check_overflow(values: Tensor, stored: Tensor, finite: Tensor, site: Site | str) -> None:
    over = stored.isinf() & finite
    if bool(over.any()):
        value = float(values[over].abs().max())
        wide = "bfloat16" if value <= torch.finfo(torch.bfloat16).max else "float32"
        raise InputError(
            f"site {site} holds {value:,.0f}, which {str(stored.dtype).removeprefix('torch.')} "
            f"(at most {torch.finfo(stored.dtype).max:,.0f}) cannot hold; store it as {wide}"
        )

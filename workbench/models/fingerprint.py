"""Who a model is: a digest that moves whenever anything that can change a number moves."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import xxhash
from torch import Tensor, nn

# What a config says about where it came from, not about what it computes.
_VOLATILE = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}


@dataclass(frozen=True)
class Identity:
    """Everything about a model that can change an activation, each field on its own."""

    config: str
    weights: str
    processing: str
    compute_dtype: str
    attention: str

    @property
    def fingerprint(self) -> str:
        """One digest over all fields, 32 hex digits."""
        return digest(asdict(self))


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON value with sorted keys, 32 hex digits."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def config_digest(config: Mapping[str, Any]) -> str:
    """Digest of a config without its names, versions and dtypes."""
    return digest({k: v for k, v in config.items() if k not in _VOLATILE})


def weights_digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Digest over names, dtypes, shapes and bytes of all tensors, 32 hex digits.

    XXH3-128 per tensor: this guards against mix-ups, not against forgery, and runs at
    memory speed (a cryptographic hash is some ten times slower).
    """
    whole = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        whole.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        whole.update(xxhash.xxh3_128(raw.data).digest())
    return whole.hexdigest()[:32]


def rounded_digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """The digest of weights rounded to bfloat16: one for a model in float32 and in bfloat16."""
    return weights_digest(
        (name, tensor.bfloat16() if tensor.is_floating_point() else tensor)
        for name, tensor in tensors
    )


def named_tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Parameters and buffers of a module, tied ones once."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def versions(module: nn.Module) -> tuple[tuple[int, int, int], ...]:
    """Moves whenever a parameter or buffer is replaced or edited in place.

    Edits inside `.data` (or a NumPy view) leave no trace and are not seen.
    """
    return tuple(
        (id(tensor), tensor.data_ptr(), tensor._version) for _, tensor in named_tensors(module)
    )

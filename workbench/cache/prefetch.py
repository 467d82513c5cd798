"""Batches drawn and copied to the device while the one before is computed with."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

Told = TypeVar("Told")
Batch = tuple[Mapping[str, Tensor], Told]
"""tensors by name, and what goes with them"""


def ahead(batches: Iterator[Batch[Told]], device: torch.device) -> Iterator[Batch[Told]]:
    """The same batches in the same order, on `device`; one is always under way.

    A thread reads the next batch, and on CUDA copies it from pinned memory in a stream of its own,
    so that neither the disk nor the bus is waited for. An error of `batches` is raised where its
    batch is asked for.
    """
    side = torch.cuda.Stream(device) if device.type == "cuda" else None

    def fetch() -> Batch[Told] | None:
        found = next(batches, None)
        if found is None:
            return None
        tensors, told = found
        with torch.cuda.stream(side):  # None: no stream is chosen
            moved = {name: _moved(tensor, device) for name, tensor in tensors.items()}
        if side is not None:
            side.synchronize()
        return moved, told

    with ThreadPoolExecutor(1, "ahead") as reader:
        coming = reader.submit(fetch)
        while (batch := coming.result()) is not None:
            coming = reader.submit(fetch)
            if side is not None:
                _keep_for_use(batch[0], device)
            yield batch


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    if tensor.device == device:
        return tensor
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)


def _keep_for_use(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Made in another stream: their memory must not be reused before the work here is done."""
    for tensor in tensors.values():
        tensor.record_stream(torch.cuda.current_stream(device))

"""This process among those that `torchrun` started together; without it there is one, the first.

No engine of our own: torchrun tells each process its rank, torch.distributed carries tensors.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from workbench.errors import InputError

if TYPE_CHECKING:  # commands ask for their rank before they need torch
    from torch import Tensor


Thing = TypeVar("Thing")


def rank() -> int:
    """From 0; the first one tells, records and writes for all."""
    return _told("RANK", 0)


def world() -> int:
    """How many processes there are."""
    return _told("WORLD_SIZE", 1)


def local_rank() -> int:
    """Among the processes of this machine: the number of its device."""
    return _told("LOCAL_RANK", 0)


def share(total: int, what: str) -> slice:
    """This rank's part of `total` things that all have in the same order.

    Raises `InputError` where they cannot be dealt out evenly.
    """
    if total % world():
        raise InputError(
            f"{what} of {total} cannot be dealt out to {world()} ranks; give a multiple of them"
        )
    each = total // world()
    return slice(rank() * each, (rank() + 1) * each)


def wait_for_all() -> None:
    """Go on when every rank has come here."""
    if world() > 1:
        _joined().barrier()


def averaged(tensor: Tensor) -> Tensor:
    """The mean over ranks, the same bits on each."""
    return tensor if world() == 1 else _reduced(tensor, "SUM") / world()


def least(tensor: Tensor) -> Tensor:
    """The smallest over ranks, element by element."""
    return tensor if world() == 1 else _reduced(tensor, "MIN")


def added(tensor: Tensor) -> Tensor:
    """The sum over ranks."""
    return tensor if world() == 1 else _reduced(tensor, "SUM")


def gathered(tensor: Tensor) -> Tensor:
    """All ranks' tensors one after the other along the first axis, in the order of ranks.

    They may differ in length.
    """
    if world() == 1:
        return tensor
    import torch

    dist, size = _joined(), tensor.new_tensor([len(tensor)], dtype=torch.long)
    sizes = [torch.empty_like(size) for _ in range(world())]
    dist.all_gather(sizes, size)
    lengths = [int(one) for one in sizes]
    padded = tensor.new_zeros(max(lengths), *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    found = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(found, padded)
    return torch.cat([one[:length] for one, length in zip(found, lengths, strict=True)])


def exchanged(thing: Thing) -> list[Thing]:
    """All ranks' things, in the order of ranks; each rank gets every one."""
    if world() == 1:
        return [thing]
    found: list = [None] * world()
    _joined().all_gather_object(found, thing)
    return found


def _reduced(tensor: Tensor, how: str) -> Tensor:
    dist, found = _joined(), tensor.clone()
    dist.all_reduce(found, getattr(dist.ReduceOp, how))
    return found


def _joined():
    """torch.distributed, this process among the others."""
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return distributed


def _told(name: str, default: int) -> int:
    word = os.environ.get(name, str(default))
    if not word.isdigit():
        raise InputError(f"{name} is {word!r}, which torchrun would not say; unset it")
    return int(word)

"""Batches read ahead: the same, in their order, one under way; an error where it belongs."""

import threading
from collections.abc import Iterator

import pytest
import torch

from workbench.cache.prefetch import ahead

CPU = torch.device("cpu")
Numbered = tuple[dict[str, torch.Tensor], int]


def numbered(n: int, drawn: list[int]) -> Iterator[Numbered]:
    for number in range(n):
        drawn.append(number)
        yield {"x": torch.full((3,), float(number))}, number


def test_the_same_batches_in_their_order() -> None:
    found = list(ahead(numbered(5, []), CPU))
    assert [number for _, number in found] == [0, 1, 2, 3, 4]
    assert [float(tensors["x"].sum()) for tensors, _ in found] == [0, 3, 6, 9, 12]


def test_one_is_under_way_while_another_is_worked_on() -> None:
    reached, drawn = threading.Event(), []

    def batches() -> Iterator[Numbered]:
        for batch in numbered(4, drawn):
            if batch[1] == 1:
                reached.set()
            yield batch

    read = ahead(batches(), CPU)
    assert next(read)[1] == 0
    assert reached.wait(10), "the second batch is not read before it is asked for"
    read.close()  # type: ignore[attr-defined]
    assert drawn == [0, 1]


def test_an_error_is_raised_where_its_batch_is_asked_for() -> None:
    def batches() -> Iterator[Numbered]:
        yield from numbered(2, [])
        raise OSError("the disk is gone")

    read = ahead(batches(), CPU)
    assert [next(read)[1], next(read)[1]] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(read)

"""Sparse products against the same with all the zeros."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

from sae import kernels
from sae.kernels import Codes


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plain_top_k(pre: Tensor, k: int) -> Tensor:
    values, latents = pre.topk(k)
    return torch.zeros_like(pre).scatter(1, latents, values.relu())


def plain_batch_top_k(pre: Tensor, k: int) -> Tensor:
    flat = pre.relu().flatten()
    values, places = flat.topk(k * len(pre))
    return torch.zeros_like(flat).scatter(0, places, values).view_as(pre)


@settings(deadline=None, max_examples=40)
@given(some.integers(1, 9), some.sampled_from([5, 32, 240, 256]), some.integers(0, 99), some.data())
def test_top_k_is_the_k_largest(rows: int, latents: int, seed: int, data: some.DataObject):
    k = data.draw(some.integers(1, min(9, latents)))
    pre = drawn(rows, latents, seed=seed)
    codes = kernels.top_k(pre, k)
    assert torch.equal(codes.dense(), plain_top_k(pre, k))
    assert codes.offsets.diff().tolist() == [k] * rows


def test_top_k_finds_neighbours_that_share_a_group():
    """Groups are every sixteenth of a row: the k largest may all lie in one."""
    pre = torch.zeros(1, 256)
    pre[0, torch.arange(0, 256, 16)[:8]] = torch.arange(1.0, 9.0)
    pre[0, 1:9] = torch.arange(11.0, 19.0)
    assert torch.equal(kernels.top_k(pre, 4).dense(), plain_top_k(pre, 4))
    assert torch.equal(kernels.top_k(pre.flip(1), 8).dense(), plain_top_k(pre.flip(1), 8))


@settings(deadline=None, max_examples=40)
@given(some.integers(1, 9), some.integers(1, 12), some.integers(0, 99), some.floats(0, 4))
def test_batch_top_k_is_exact_whatever_the_guess(rows: int, k: int, seed: int, warm: float):
    pre = drawn(rows, 24, seed=seed)
    expected = plain_batch_top_k(pre, k)
    assert torch.equal(kernels.batch_top_k(pre, k, warm).dense(), expected)


def test_batch_top_k_may_leave_a_row_empty():
    pre = torch.tensor([[0.1, -1.0], [5.0, 4.0]])
    codes = kernels.batch_top_k(pre, 1)
    assert codes.offsets.tolist() == [0, 0, 2]


@pytest.fixture(params=["top_k", "batch_top_k", "nothing"])
def codes(request: pytest.FixtureRequest) -> Codes:
    pre = drawn(7, 48, seed=3)
    if request.param == "top_k":
        return kernels.top_k(pre, 5)
    if request.param == "batch_top_k":
        return kernels.batch_top_k(pre, 5)
    return kernels.above(pre, 99.0)


def test_products_equal_the_dense_ones(codes: Codes):
    weight, rows = drawn(48, 6, seed=1), drawn(7, 6, seed=2)
    acts = codes.dense()
    at = (codes.rows, codes.latents)
    torch.testing.assert_close(kernels.decode(codes, weight), acts @ weight)
    torch.testing.assert_close(kernels.dots(codes, rows, weight), (rows @ weight.T)[at])
    torch.testing.assert_close(kernels.gathered(codes, codes.values, rows), acts.T @ rows)
    torch.testing.assert_close(kernels.summed(codes, codes.values), acts.sum(0))


def test_parts_add_up(codes: Codes):
    cut = [part.dense() for part in kernels.parts(codes, (3, 20, 48))]
    assert torch.equal(torch.stack(cut).sum(0), codes.dense())
    assert not cut[0][:, 3:].any() and not cut[1][:, :3].any() and not cut[1][:, 20:].any()

"""Dictionaries on a GPU: the sparse kernels against plain sums, a training step against the CPU."""

import pytest
import torch
from torch import Tensor

from sae import kernels
from sae.recipe import KINDS, Recipe
from sae.training import Training

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
D, WIDTH, K, N = 64, 512, 12, 96


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).cuda()


@pytest.mark.parametrize("choose", [kernels.top_k, kernels.batch_top_k])
def test_kernels_are_the_plain_sums(choose) -> None:
    pre, rows, weight = drawn(N, WIDTH), drawn(N, D, seed=1), drawn(WIDTH, D, seed=2)
    codes = choose(pre, K)
    dense = codes.dense()
    if choose is kernels.top_k:
        kept = torch.zeros_like(pre).scatter(1, pre.topk(K).indices, 1.0)
    else:
        kept = pre >= pre.flatten().topk(K * N).values[-1]
    assert torch.equal(dense, kept * pre.relu())
    torch.testing.assert_close(kernels.decode(codes, weight), dense @ weight, atol=1e-4, rtol=1e-5)
    products = (rows @ weight.T)[codes.rows, codes.latents]
    torch.testing.assert_close(kernels.dots(codes, rows, weight), products, atol=1e-4, rtol=1e-5)
    gathered = kernels.gathered(codes, codes.values, rows)
    torch.testing.assert_close(gathered, dense.T @ rows, atol=1e-4, rtol=1e-5)
    summed = kernels.summed(codes, codes.values)
    torch.testing.assert_close(summed, dense.sum(0), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("transcoder", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_step_equals_the_cpu(kind: str, transcoder: bool) -> None:
    recipe = Recipe(
        kind, WIDTH, K, 0.3, batch=N, warmup=0, aux=0.5, dead_after=2 * N, skip=transcoder
    )
    x, y = drawn(N, D, seed=3), drawn(N, D, seed=4) if transcoder else None
    here, there = (
        Training(recipe, drawn(D, seed=5), torch.device(name), D if transcoder else None)
        for name in ("cpu", "cuda")
    )
    for training in (here, there):
        training.silent[::5] = 10**6
    own, other = (
        one.slopes(x.to(one.silent.device), None if y is None else y.to(one.silent.device))
        for one in (here, there)
    )
    assert other.loss == pytest.approx(own.loss, rel=1e-4)
    for name, grad in own.by_weight.items():
        scale = float(grad.abs().max())
        found = other.by_weight[name].cpu()
        torch.testing.assert_close(found, grad, rtol=1e-3, atol=1e-4 * scale)
    here.step(own, N)
    there.step(other, N)
    for name, weight in here.weights.items():
        # Adam's first step is the sign of a gradient: one near 0 may go either way
        far = (there.weights[name].cpu() - weight).abs() > 1e-4
        assert float(far.float().mean()) < 0.01, name
    assert torch.equal(there.silent.cpu(), here.silent)

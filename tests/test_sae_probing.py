"""Sparse probes against scikit-learn's, and on properties whose latents are known."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from sae import kernels
from sae.sparse_probing import Questions, dense_probes, logistic, sparse_probes
from workbench.errors import InputError


def drawn(rows: int, latents: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    dense = torch.rand(rows, latents, generator=draw)
    return dense * (torch.rand(rows, latents, generator=draw) < 0.3)


@pytest.mark.parametrize("apart", [False, True])
def test_the_fit_is_scikit_learns(apart: bool):
    draw = torch.Generator().manual_seed(0)
    x = 5 * torch.randn(300, 4, generator=draw) + 20
    y = x @ torch.tensor([0.3, -0.2, 0.0, 0.1]) > 4
    if not apart:
        y ^= torch.rand(300, generator=draw) < 0.1
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(x.numpy(), y.numpy())
    found = logistic(x, y)
    expected = torch.from_numpy(theirs.coef_[0]).double()
    torch.testing.assert_close(found[:-1], expected, rtol=2e-3, atol=2e-4)
    said = (x.double() @ found[:-1] + found[-1] > 0).numpy()
    assert (said == theirs.predict(x.numpy())).all()


def test_one_latent_is_enough_where_it_is_the_property():
    """And two, where the property is that either is active."""
    here, there = drawn(3000, 20, 0), drawn(2000, 20, 1)

    def asked(dense: Tensor) -> Tensor:
        return torch.stack([dense[:, 3] > 0, (dense[:, 5] > 0) | (dense[:, 9] > 0)], 1)

    questions = Questions(asked(here), asked(there))
    codes = kernels.above(here, 0.0), kernels.above(there, 0.0)
    found = sparse_probes(*codes, questions)
    assert float(found[1][0]) > 0.9 and float(found[2][1]) > 0.9
    assert float(found[1][1]) < 0.85
    by_chance = sparse_probes(*codes, questions.shuffled(0))
    assert all(0.42 < float(score) < 0.58 for scores in by_chance.values() for score in scores)
    assert all(score > 0.8 for score in dense_probes(here, there, questions))


def test_latents_are_chosen_by_the_difference_of_means():
    """Latent 0 is active more often, latent 1 more strongly: the strong one counts."""
    draw = torch.Generator().manual_seed(0)
    held = torch.rand(4000, 1, generator=draw) < 0.5
    often = (torch.rand(4000, generator=draw) < 0.1 + 0.8 * held[:, 0]).float()
    strong = 50 * (torch.rand(4000, generator=draw) < 0.1 * held[:, 0]).float()
    codes = kernels.above(torch.stack([often, strong], 1), 0.0)
    found = sparse_probes(codes, codes, Questions(held, held))
    assert float(found[1]) == pytest.approx(0.55, abs=0.02)
    assert float(found[2]) == pytest.approx(0.9, abs=0.02)


def test_shuffling_keeps_how_many_have_a_property():
    held = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) < 0.2
    found = Questions(held, held[:100]).shuffled(0)
    assert found.train.sum(0).tolist() == held.sum(0).tolist()
    assert not torch.equal(found.train, held)


def test_a_property_too_rare_to_be_tested_is_refused():
    dense = drawn(200, 5, 0)
    codes = kernels.above(dense, 0.0)
    held = dense[:, :1] > 0
    rare = torch.zeros_like(held)
    rare[:19] = True
    with pytest.raises(InputError, match="had or lacked by 19 rows to test on"):
        sparse_probes(codes, codes, Questions(held, rare))

"""Losses against the Hub library's own, padding that does not count, differences by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from workbench.errors import InputError
from workbench.hooks import run
from workbench.metrics import kl_divergence, logit_difference, mean_loss, perplexity, token_loss
from workbench.models import Model, pad


def logits_of(model: Model, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    found = run(model, ids, mask=mask).logits
    assert found is not None
    return found


def test_the_mean_loss_is_the_hub_librarys(tiny, hub, ids, family) -> None:
    logits = logits_of(tiny(family), ids)
    with torch.no_grad():
        theirs = hub(family)(ids, labels=ids).loss
    assert_close(mean_loss(logits, ids), theirs, atol=1e-5, rtol=0)
    assert_close(perplexity(logits, ids), theirs.exp(), atol=0, rtol=1e-4)
    assert_close(token_loss(logits, ids).mean(), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_count(tiny, hub, ids, family, side) -> None:
    rows = [ids[0, :4].tolist(), ids[1].tolist(), ids[0, :9].tolist()]
    batch = pad(rows, side=side)
    logits = logits_of(tiny(family), batch.ids, batch.mask)
    losses = token_loss(logits, batch.ids, batch.mask)
    own = []
    for row, found in zip(rows, losses, strict=True):
        alone = torch.tensor([row])
        own.append(token_loss(logits_of(tiny(family), alone), alone)[0])
        assert_close(found[~found.isnan()], own[-1], atol=1e-5, rtol=0)
    assert int(losses.isnan().sum()) == 3 * 11 - (3 + 11 + 8)
    assert_close(mean_loss(logits, batch.ids, batch.mask), torch.cat(own).mean())
    with torch.no_grad():  # their loss over the longest row alone
        theirs = hub(family)(ids[1:], labels=ids[1:]).loss
    assert_close(own[1].mean(), theirs, atol=1e-5, rtol=0)


def test_the_loss_at_a_position_is_on_the_token_after_it() -> None:
    logits = torch.full((1, 3, 4), -1000.0)
    for position, said in enumerate((2, 1, 3)):
        logits[0, position, said] = 0
    found = token_loss(logits, torch.tensor([[0, 2, 0]]))
    assert found.tolist() == [[0.0, 1000.0]]


def test_even_logits_hesitate_between_all() -> None:
    ids = torch.tensor([[3, 1, 2]])
    assert float(perplexity(torch.zeros(1, 3, 7), ids)) == pytest.approx(7)
    assert float(mean_loss(torch.zeros(1, 3, 7), ids)) == pytest.approx(math.log(7))


def test_a_fault_in_the_model_is_not_taken_for_padding() -> None:
    logits = torch.zeros(1, 3, 4)
    logits[0, 1] = torch.nan
    mask = torch.tensor([[True, True, True]])
    assert bool(mean_loss(logits, torch.tensor([[0, 1, 2]]), mask).isnan())


@pytest.mark.parametrize("mask", [None, torch.tensor([[True]])])
def test_a_single_token_has_no_loss(mask) -> None:
    with pytest.raises(InputError, match="a loss needs two tokens"):
        mean_loss(torch.zeros(1, 1, 4), torch.tensor([[1]]), mask)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_a_difference_is_between_two_logits(seed: int, deep: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 3) if deep else (4,)
    logits = torch.randn(*shape, 9, generator=generator)
    answer, wrong = (torch.randint(9, shape, generator=generator) for _ in range(2))
    found = logit_difference(logits, answer, wrong)
    assert found.shape == shape
    for place in torch.cartesian_prod(*(torch.arange(n) for n in shape)).reshape(-1, len(shape)):
        at = tuple(place.tolist())
        assert found[at] == logits[at][answer[at]] - logits[at][wrong[at]]
    assert_close(logit_difference(logits, wrong, answer), -found)
    assert_close(logit_difference(logits + 5, answer, wrong), found, atol=1e-5, rtol=0)


def test_kl_is_that_of_torch_and_0_of_the_same() -> None:
    logits = torch.randn(2, 3, 5, 40, generator=torch.Generator().manual_seed(1)) * 5
    p, q = logits.log_softmax(-1)
    expected = torch.nn.functional.kl_div(q, p, reduction="none", log_target=True).sum(-1)
    assert_close(kl_divergence(p, q), expected)
    assert not kl_divergence(p, p).any()
    logits[0, ..., 3] = -torch.inf
    p, q = logits.log_softmax(-1)
    assert bool(kl_divergence(p, p).eq(0).all()) and bool(kl_divergence(q, p).isinf().all())
    assert bool(kl_divergence(p, q).isfinite().all())

"""The logit lens: its last row is the model, its numbers are those of the definitions."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from workbench.cache import Store
from workbench.errors import InputError
from workbench.hooks import run
from workbench.lens import Lens, follow, lens, residuals


@pytest.fixture
def read(tiny, ids, family, processing) -> tuple[Lens, torch.Tensor]:
    """The lens on a tiny model and the model's own log-probabilities."""
    model = tiny(family, processing)
    resid, _ = residuals(model, ids[:1])
    logits = run(model, ids[:1]).logits
    assert logits is not None
    assert resid.shape == (4, 12, 24)
    return lens(resid, model.unembed, k=300), logits[0].log_softmax(-1)


def test_the_last_row_is_the_models_own_output(read) -> None:
    found, final = read
    assert found.layers == ["embed", "L0", "L1", "L2"]
    assert torch.equal(found.traced, final.argmax(-1))
    assert (found.rank[-1] == 0).all()
    assert_close(found.kl[-1], torch.zeros(12), atol=1e-6, rtol=0)
    assert_close(found.prob[-1], final.exp().amax(-1), atol=1e-5, rtol=0)
    spread = torch.empty_like(final).scatter_(1, found.top_ids[-1], found.top_probs[-1])
    assert_close(spread, final.exp(), atol=1e-5, rtol=0)


def test_earlier_rows_are_further_away(read) -> None:
    found, _ = read
    assert (found.kl[0] > found.kl[-1]).all()
    assert (found.kl >= 0).all()


@pytest.mark.parametrize("traced", [0, 17, 299])
def test_a_traced_token_against_brute_force(tiny, ids, family, processing, traced: int) -> None:
    model = tiny(family, processing)
    resid, _ = residuals(model, ids[:1])
    found = lens(resid, model.unembed, traced=traced, k=3)
    assert found.top_ids.shape == found.top_probs.shape == (4, 12, 3)
    final = model.unembed(resid[-1]).softmax(-1)
    for row in range(4):
        for position in range(12):
            probs = model.unembed(resid[row, position]).softmax(-1)
            order = probs.argsort(descending=True).tolist()
            assert int(found.rank[row, position]) == order.index(traced)
            expected = (
                probs[traced],
                torch.special.entr(probs).sum(),
                (final[position] * (final[position] / probs).log()).sum(),
            )
            own = (found.prob, found.entropy, found.kl)
            for value, by_hand in zip(own, expected, strict=True):
                assert_close(value[row, position], by_hand, atol=1e-5, rtol=1e-4)
            assert found.top_ids[row, position].tolist() == order[:3]
        fate = follow(resid[:, 5], model.unembed, traced)
        assert_close(fate.prob, found.prob[:, 5], atol=1e-6, rtol=1e-4)
        assert torch.equal(fate.rank, found.rank[:, 5])


def test_entropy_of_even_and_of_certain() -> None:
    unembed = nn.Identity()
    even, certain = torch.zeros(1, 8), torch.tensor([[1000.0, *[0.0] * 7]])
    found = lens(torch.stack([even, certain]), unembed, k=99)
    assert_close(found.entropy, torch.tensor([[math.log(8)], [0.0]]))
    assert_close(found.kl, torch.tensor([[math.log(8)], [0.0]]))
    assert found.top_ids.shape == (2, 1, 8), "no more than the vocabulary"


def test_the_first_row_is_the_embedding(tiny, ids, family) -> None:
    model = tiny(family)
    resid, _ = residuals(model, ids[:1])
    ran = run(model, ids[:1], read=["0.resid_pre", "0.resid_post"])
    assert torch.equal(resid[0], ran["0.resid_pre"][0])
    assert torch.equal(resid[1], ran["0.resid_post"][0])


def test_residuals_come_from_the_store(tiny, ids, tmp_path) -> None:
    store = Store(tmp_path / "store")
    (first, taken), (again, cached) = (residuals(tiny("neox"), ids[:1], store) for _ in range(2))
    assert (taken.whole, cached.whole) == (False, True)
    assert torch.equal(first, again)


def test_progress_sees_every_layer(tiny, ids) -> None:
    resid, _ = residuals(tiny("gpt2"), ids[:1])
    seen = []

    def watch(layers):
        for layer in layers:
            seen.append(layer)
            yield layer

    lens(resid, tiny("gpt2").unembed, progress=watch)
    assert len(seen) == 4


@pytest.mark.parametrize("text", ["a", " the", "<|endoftext|>"])
def test_a_single_token_has_an_id(tiny, text: str) -> None:
    model = tiny("gpt2")
    assert model.vocabulary.string(model.token_id(text)) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (" an", r"' an' is not a single token but 2 \(' ' 'an'\); words .* begin with a space"),
        ("", r"'' is not a single token but 0 \(none\)"),
        ("é", r"is not a single token but 2 \('\\\\xc3' '\\\\xa9'\)"),
    ],
)
def test_other_texts_are_told(tiny, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        tiny("gpt2").token_id(text)


def test_a_token_that_the_letters_lack_is_told(by_hand) -> None:
    assert by_hand.token_id("b") == 2
    with pytest.raises(InputError, match="'é' is not in this model's vocabulary"):
        by_hand.token_id("é")

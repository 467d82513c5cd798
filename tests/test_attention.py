"""Head scores: against loops that anybody can read, and against a model written by hand."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from workbench import attention
from workbench.attention import (
    SCORES,
    corpus_scores,
    head_score,
    patterns,
    repeated_random,
    value_weighted,
)
from workbench.cache import Store, capture
from workbench.corpus import from_ids
from workbench.errors import InputError
from workbench.models import pad
from workbench.models.by_hand import INDUCTION, PREVIOUS_TOKEN
from workbench.sites import Head

NAN = float("nan")


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Causal attention of some heads over tokens from a small alphabet."""
    batch, heads, length = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    ids = torch.randint(0, draw(st.integers(1, 9)), (batch, length), generator=generator)
    scores = torch.randn(batch, heads, length, length, generator=generator)
    visible = torch.ones(length, length).tril().bool()
    return scores.masked_fill(~visible, -math.inf).softmax(-1), ids


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else NAN


def of_query(name: str, row: list[float], q: int, ids: list[int]) -> float | None:
    """A score at one query as its definition reads; None where it is not defined there."""
    before = [k for k in range(q) if ids[k] == ids[q]]
    if name == "entropy":
        return -sum(p * math.log(p) for p in row if p > 0)
    if name in ("induction", "duplicate token"):
        after = name == "induction"
        return sum(row[k + after] for k in before) if before else None
    return row[{"previous token": q - 1, "first token": 0, "self": q}[name]] if q else None


def looped(name: str, pattern: Tensor, ids: Tensor) -> Tensor:
    """One number at a time."""
    found = []
    for head in range(pattern.shape[1]):
        values = [
            of_query(name, pattern[b, head, q].tolist(), q, ids[b].tolist())
            for b, q in itertools.product(*map(range, ids.shape))
        ]
        found.append(mean([value for value in values if value is not None]))
    return torch.tensor(found)


@pytest.mark.parametrize("name", SCORES)
@given(batches())
def test_scores_are_their_definitions(name: str, batch: tuple[Tensor, Tensor]) -> None:
    pattern, ids = batch
    expected = looped(name, pattern, ids)
    assert_close(head_score(name, pattern, ids), expected, atol=1e-5, rtol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("name", "undefined"),
    [
        ("induction", "no repeats"),
        ("duplicate token", "no repeats"),
        ("previous token", "one token"),
        ("first token", "one token"),
        ("self", "one token"),
    ],
)
def test_a_score_without_queries_is_not_a_number(name: str, undefined: str) -> None:
    length = 1 if undefined == "one token" else 4
    pattern = torch.eye(length).expand(2, 3, -1, -1)
    ids = torch.arange(length).expand(2, -1)
    assert head_score(name, pattern, ids).isnan().all()
    assert head_score("entropy", pattern, ids).tolist() == [0, 0, 0]


def test_entropy_of_even_attention_is_the_log_of_the_keys() -> None:
    even = torch.full((1, 1, 1, 8), 1 / 8)
    ids = torch.zeros(1, 8).long()
    found = SCORES["entropy"](even.expand(1, 1, 8, 8), ids, ids == 0)
    assert_close(found, torch.full((1, 1, 8), math.log(8)))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", SCORES)
def test_scores_of_a_padded_batch_pool_its_prompts(tiny, family: str, name: str, side) -> None:
    """Token 0, which stands in for padding, is in the prompts as well."""
    model = tiny(family)
    rows = [[0, 9, 9, 0], [7, 3, 200, 3, 7, 3, 0], [12]]
    batch = pad(rows, side=side)
    found = patterns(model, batch.ids, mask=batch.mask).scores(name)
    values = []
    for row in rows:
        ids = torch.tensor([row])
        alone = patterns(model, ids).weights
        values.append(torch.cat([SCORES[name](w, ids, ids >= 0) for w in alone]))
    expected = torch.cat(values, dim=2).nanmean(dim=2)
    assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_value_weighting_of_a_padded_batch(tiny, family: str) -> None:
    model, rows = tiny(family), [[5, 9, 11], [7, 3, 200, 41]]
    batch = pad(rows, side="left")
    taken = capture(model, batch.ids, ["1.pattern", "1.v"], mask=batch.mask)
    found = value_weighted(taken["1.pattern"], taken["1.v"])
    alone = capture(model, torch.tensor(rows[:1]), ["1.pattern", "1.v"])
    expected = value_weighted(alone["1.pattern"], alone["1.v"])
    assert_close(found[0, :, 1:, 1:], expected[0], atol=1e-5, rtol=1e-5)


# Over a corpus


def test_scores_over_a_corpus_pool_its_contexts(tiny, family: str) -> None:
    model = tiny(family)
    rows = torch.randint(0, 12, (7, 10), generator=torch.Generator().manual_seed(5))
    found = corpus_scores(model, from_ids("drawn", rows), batch=3)
    at_once = patterns(model, rows)
    assert found.contexts == 7
    for name in SCORES:
        assert_close(found.mean[name], at_once.scores(name), atol=1e-5, rtol=1e-5)
    fewer = corpus_scores(model, from_ids("drawn", rows), contexts=2)
    assert_close(fewer.mean["self"], patterns(model, rows[:2]).scores("self"))


def test_the_error_of_a_corpus_score_is_the_spread_of_redrawn_corpora(tiny) -> None:
    """Against the bootstrap over contexts; queries per context differ for this score."""
    model, generator = tiny("gpt2"), torch.Generator().manual_seed(0)
    rows = torch.randint(0, 30, (60, 12), generator=generator)
    found = corpus_scores(model, from_ids("drawn", rows), batch=20)
    weights = patterns(model, rows).weights[1].float()
    values = SCORES["induction"](weights, rows, rows >= 0)
    drawn = [
        values[torch.randint(0, 60, (60,), generator=generator)].nanmean(dim=(0, 2))
        for _ in range(400)
    ]
    expected = torch.stack(drawn).std(dim=0)
    assert_close(found.error["induction"][1], expected, atol=0, rtol=0.2)
    one = corpus_scores(model, from_ids("drawn", rows[:1]))
    assert one.error["self"].isnan().all()


# The model written by hand


def test_heads_written_by_hand_score_one_and_the_rest_chance(by_hand) -> None:
    length, n = 20, 41
    found = patterns(by_hand, repeated_random(by_hand, length=length, batch=3))
    late = [1 / (i + 1) for i in range(length + 1, n)]  # queries that have seen their token
    chance = {
        "previous token": mean([1 / (i + 1) for i in range(1, n)]),
        "induction": mean(late),
        "duplicate token": mean(late),
        "first token": mean([1 / (i + 1) for i in range(1, n)]),
        "self": mean([1 / (i + 1) for i in range(1, n)]),
        "entropy": mean([math.log(i + 1) for i in range(n)]),
    }
    assert set(chance) == set(SCORES)
    for name, expected in chance.items():
        scores = found.scores(name)
        assert scores.shape == (2, 4)
        for head in (Head(layer, head) for layer in range(2) for head in range(4)):
            score = float(scores[head.layer, head.head])
            if head not in (PREVIOUS_TOKEN, INDUCTION):
                assert score == pytest.approx(expected, abs=1e-6), (name, head)
    assert float(found.scores("previous token")[0, 1]) == 1.0
    assert float(found.scores("induction")[1, 2]) == 1.0
    assert (Head(0, 1), Head(1, 2)) == (PREVIOUS_TOKEN, INDUCTION)


def test_one_heads_pattern(by_hand) -> None:
    tokens = by_hand.tokenize("a b c a")
    found = patterns(by_hand, tokens.tensor())
    looks = found.of(PREVIOUS_TOKEN)[0].argmax(-1).tolist()
    assert looks == [0, 0, 1, 2, 3]
    assert int(found.of(INDUCTION)[0, 4].argmax()) == 2, "from the second a to what followed it"
    for head in (Head(2, 0), Head(0, 4)):
        with pytest.raises(
            InputError, match=f"{head} is out of range: layers run from 0 to 1, hea"
        ):
            found.of(head)
    with pytest.raises(InputError, match="score 'inducton' is not one of induction, previous"):
        found.scores("inducton")


def test_patterns_come_from_the_store(tiny, ids, tmp_path) -> None:
    store = Store(tmp_path / "store")
    first, again = (patterns(tiny("llama"), ids, store) for _ in range(2))
    assert first.weights.shape == (3, 2, 6, 12, 12)
    assert not first.capture.whole
    assert again.capture.whole
    assert torch.equal(first.weights, again.weights)


# Weighted by values


def test_value_weighted_by_hand() -> None:
    pattern = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[1.0, 0.0], [0.25, 0.75]]])[None]
    v = torch.tensor([[[[3.0, 4.0]], [[0.0, 10.0]]]])  # norms 5 and 10, one value head
    expected = torch.tensor([[[0.5, 0.0], [0.25, 0.5]], [[0.5, 0.0], [0.125, 0.75]]])[None]
    assert_close(value_weighted(pattern, v), expected)


def test_value_weighted_gives_each_group_its_own_values() -> None:
    pattern = torch.ones(1, 4, 1, 2)
    v = torch.zeros(1, 2, 2, 3)
    v[0, 0, 0, 0], v[0, 1, 0, 0] = 1, 2  # first group: norms 1, 2
    v[0, 0, 1, 0], v[0, 1, 1, 0] = 8, 2  # second group: norms 8, 2
    expected = [[0.5, 1.0], [0.5, 1.0], [1.0, 0.25], [1.0, 0.25]]
    assert value_weighted(pattern, v)[0, :, 0].tolist() == expected


def test_values_of_zero_are_not_undefined() -> None:
    assert not value_weighted(torch.ones(1, 1, 2, 2), torch.zeros(1, 2, 1, 3)).isnan().any()


# Random tokens, repeated


@pytest.mark.parametrize("length", [1, 5, 20])
def test_repeated_random(tiny, by_hand, length: int) -> None:
    for model in (by_hand, tiny("gpt2")):
        tokens = repeated_random(model, length=length, batch=3, seed=1)
        assert tokens.shape == (3, 1 + 2 * length)
        assert (tokens[:, 0] == model.vocabulary.bos_id).all()
        assert torch.equal(tokens[:, 1 : 1 + length], tokens[:, 1 + length :])
        for row in tokens[:, 1:]:
            assert len(set(row.tolist())) == length, "each token once in a block"
            assert not set(row.tolist()) & set(model.vocabulary.special_ids)
            assert max(row.tolist()) < model.vocabulary.size
        again = repeated_random(model, length=length, batch=3, seed=1)
        other = repeated_random(model, length=length, batch=3, seed=2)
        assert torch.equal(tokens, again)
        assert not torch.equal(tokens, other)
        assert not torch.equal(tokens[0], tokens[1])


def test_blocks_shrink_to_context_and_vocabulary(tiny, by_hand) -> None:
    assert repeated_random(tiny("gpt2"), length=500).shape == (4, 63)  # 64 hold BOS + 2 x 31
    assert repeated_random(by_hand, length=500).shape == (4, 53)  # 26 letters


def test_a_thumbnail_keeps_a_stripe_of_one_cell() -> None:
    stripe = torch.diag(torch.ones(90), -10)[None, None]
    small = attention.thumbnails(stripe, side=25)
    assert small.shape == (1, 1, 25, 25)
    assert int(small.max()) == 255
    assert int((small == 255).any(-1).sum()) >= 22, "in every row that it crosses"
    signed = attention.thumbnails(stripe - 0.5 * torch.eye(100), side=100)
    assert sorted(set(signed.flatten().tolist())) == [64, 128, 255]

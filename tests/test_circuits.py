"""Circuits of weights: they are what the heads do, TransformerLens' numbers, and known answers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge

from workbench import circuits
from workbench.circuits import COMPOSITIONS, Circuit, ov, qk
from workbench.errors import InputError
from workbench.hooks import run
from workbench.models import Model, load
from workbench.models.by_hand import INDUCTION, LETTERS, PREVIOUS_TOKEN
from workbench.models.weights import embedding_weights, norm
from workbench.sites import Head

HEADS = [Head(0, 2), Head(2, 1)]


def product(circuit: Circuit) -> Tensor:
    found = circuit.matrix.AB
    assert isinstance(found, Tensor)
    return found


def native(kind: str | None, seed: int, **sizes: int) -> Model:
    """Random heads: nothing was trained."""
    given: Any = {"n_layers": 3, "n_heads": 4, "d_head": 8, "d_model": 48, "d_vocab": 27, **sizes}
    config = TransformerBridgeConfig(
        **given, n_ctx=8, attn_only=True, normalization_type=kind, act_fn="relu", seed=seed
    )
    bridge = TransformerBridge.boot_native(config)
    for number, parameter in enumerate(bridge.original_model.parameters()):
        generator = torch.Generator().manual_seed(seed * 1000 + number)
        parameter.data.normal_(0.0, 0.3, generator=generator)
    return Model(
        "random", build=lambda: bridge, plain=None, vocabulary=LETTERS, processing="raw",
        config={}, family="native",
    )  # fmt: skip


@pytest.fixture
def silent(copied, family, processing) -> Model:
    """A tiny model without the biases that circuits leave out."""
    model = load(str(copied(family)), device="cpu", processing=processing)
    with torch.no_grad():
        for name, parameter in model.weights.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    return model


def test_qk_is_how_the_head_scores(silent, ids, family) -> None:
    ran = run(silent, ids, read=["*.resid_pre", "*.scores"])
    for head in HEADS:
        x = ran[f"{head.layer}.resid_pre"][0]
        scores = ran[f"{head.layer}.scores"][0, head.head]
        scale = norm(silent, head.layer).scale(x)
        for distance in (0, 1, 4):
            circuit = qk(silent, head, distance=distance)
            assert circuit.distance == (None if family == "gpt2" else distance)
            own = x @ product(circuit) @ x.T / scale[:, None] / scale
            own = own / silent.architecture.d_head**0.5
            found = own.diagonal(-distance)
            assert_close(found, scores.diagonal(-distance), atol=1e-4, rtol=1e-4)


def test_ov_is_what_the_head_writes(silent, ids) -> None:
    ran = run(silent, ids, read=["*.resid_pre", "*.pattern", "*.result"])
    for head in HEADS:
        x = ran[f"{head.layer}.resid_pre"][0]
        moved = x @ product(ov(silent, head)) / norm(silent, head.layer).scale(x)[:, None]
        own = ran[f"{head.layer}.pattern"][0, head.head] @ moved
        wrote = norm(silent).centred(ran[f"{head.layer}.result"][0, :, head.head], axis=-1)
        assert_close(own, wrote, atol=1e-4, rtol=1e-4)


def test_raw_and_folded_have_the_same_circuits(tiny, family) -> None:
    raw, folded = tiny(family), tiny(family, "folded")
    left, right = torch.tensor([5, 9, 200]), torch.tensor([3, 299, 0, 8])
    for head in HEADS:
        for circuit in (ov, qk):
            pair = circuit(raw, head), circuit(folded, head)
            assert_close(product(pair[0]), product(pair[1]), atol=1e-5, rtol=1e-4)
            tokens, again = (
                circuits.token_scores(model, one, left, right)
                for model, one in zip((raw, folded), pair, strict=True)
            )
            assert_close(tokens, again, atol=1e-4, rtol=1e-4)
            found, same = (
                circuits.directions(model, one, count=2, k=4)
                for model, one in zip((raw, folded), pair, strict=True)
            )
            assert_close(found.values, same.values, atol=1e-4, rtol=1e-4)
            assert_close(found.right_scores, same.right_scores, atol=1e-3, rtol=1e-3)
    assert_close(
        circuits.copying_scores(raw), circuits.copying_scores(folded), atol=1e-3, rtol=1e-3
    )
    for kind in COMPOSITIONS:
        pair = circuits.composition(raw, kind), circuits.composition(folded, kind)
        assert_close(*pair, atol=1e-5, rtol=1e-4, equal_nan=True)


def test_folded_circuits_are_transformer_lens(tiny, family) -> None:
    model = tiny(family, "folded")
    for head in HEADS:
        for mine, theirs in ((ov, model.bridge.OV), (qk, model.bridge.QK)):
            own = product(mine(model, head))
            assert_close(own, theirs[head.layer, head.head].AB, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", COMPOSITIONS)
def test_compositions_are_transformer_lens(tiny, family, kind) -> None:
    model = tiny(family, "folded")
    found, theirs = circuits.composition(model, kind), model.bridge.all_composition_scores(kind)
    later = ~found.isnan()
    for source in range(3):
        for layer in range(3):
            assert bool((later[source, :, layer] == (source < layer)).all())
    assert_close(found[later], theirs.scores.detach()[later], atol=1e-5, rtol=1e-4)


def test_partners_are_a_row_and_a_column_of_all(tiny, family, processing) -> None:
    model, head = tiny(family, processing), Head(1, 2)
    found = circuits.partners(model, head)
    for row, kind in enumerate(COMPOSITIONS):
        whole = circuits.composition(model, kind)
        assert_close(found.earlier[row], whole[:, :, 1, 2], atol=1e-5, rtol=1e-5, equal_nan=True)
        assert_close(found.later[row], whole[1, 2], atol=1e-5, rtol=1e-5, equal_nan=True)
    assert found.baseline == circuits.baseline(model)


def brute(model: Model, head: Head) -> Tensor:
    """W_E OV W_U over the whole vocabulary, the folding written out."""
    weights, last = embedding_weights(model), norm(model)
    logits = weights.W_E @ product(ov(model, head)) @ (last.weight[:, None] * weights.W_U)
    return logits - logits.mean(1, keepdim=True)


def test_token_scores_are_the_whole_circuits(tiny, family, processing) -> None:
    model, head = tiny(family, processing), HEADS[1]
    left, right = torch.tensor([7, 299]), torch.tensor([0, 7, 120])
    found = circuits.token_scores(model, ov(model, head), left, right)
    assert_close(found, brute(model, head)[left][:, right], atol=1e-4, rtol=1e-4)
    W_E = embedding_weights(model).W_E
    scores = circuits.token_scores(model, qk(model, head), left, right)
    assert_close(scores, W_E[left] @ product(qk(model, head)) @ W_E[right].T, atol=1e-4, rtol=1e-4)


def test_eigenvalues_are_those_of_the_whole_circuit(tiny, family, processing) -> None:
    model = tiny(family, processing)
    scores = circuits.copying_scores(model)
    assert scores.shape == (3, model.architecture.n_heads)
    for head in HEADS:
        found = circuits.eigenvalues(model, head)
        whole = torch.linalg.eigvals(brute(model, head).double())
        largest = whole[whole.abs().argsort(descending=True)[: len(found)]]
        assert_close(
            found.abs().sort().values.double(), largest.abs().sort().values, rtol=1e-3, atol=1e-3
        )
        assert_close(found.real.sum(), whole.real.sum().float(), rtol=1e-3, atol=1e-3)
        own = circuits.copying_score(found)
        assert_close(own, scores[head.layer, head.head], atol=1e-5, rtol=1e-4)


def test_directions_are_the_singular_ones(tiny, family, processing) -> None:
    model, head = tiny(family, processing), HEADS[0]
    W_E = embedding_weights(model).W_E
    for circuit, whole in (
        (ov(model, head), brute(model, head)),
        (qk(model, head), W_E @ product(qk(model, head)) @ W_E.T),
    ):
        found = circuits.directions(model, circuit, count=2, k=3)
        u, s, vh = torch.linalg.svd(product(circuit))
        assert_close(found.values, s[:2], atol=1e-4, rtol=1e-4)
        for direction in range(2):
            along = W_E @ u[:, direction]
            along = along * torch.sign(along[along.abs().argmax()])
            best, worst = along.topk(3), (-along).topk(3)
            assert found.left_ids[direction].tolist() == [
                best.indices.tolist(),
                worst.indices.tolist(),
            ]
            assert_close(found.left_scores[direction, 0], best.values, atol=1e-4, rtol=1e-4)
            assert_close(found.left_scores[direction, 1], -worst.values, atol=1e-4, rtol=1e-4)
            # Both ends carry one sign: their outer product is the circuit's part, token to token.
            left, right = found.left_ids[direction], found.right_ids[direction]
            own = found.left_scores[direction, :, :1] * found.right_scores[direction] * s[direction]
            parts = (u[:, direction, None] * s[direction]) @ vh[direction, None]
            ends = Circuit(head, circuit.kind, type(circuit.matrix)(parts, torch.eye(24)))
            for sign in range(2):
                scores = circuits.token_scores(model, ends, left[sign, :1], right[sign])
                assert_close(scores[0], own[sign], atol=1e-3, rtol=1e-3)
                assert bool((own[sign] > 0).all()), whole.shape


def test_the_head_written_by_hand_copies(by_hand) -> None:
    values = circuits.eigenvalues(by_hand, INDUCTION)
    assert sorted(values.real.round().tolist())[-26:] == [10.0] * 26, "the mean of 27 is centred"
    assert float(circuits.copying_score(values)) == pytest.approx(1)
    scores = circuits.copying_scores(by_hand)
    assert int((~scores.isnan()).sum()) == 1, "no other head reaches the logits directly"
    every = torch.arange(27)
    table = circuits.token_scores(by_hand, ov(by_hand, INDUCTION), every, every)
    assert_close(table, 10 * (torch.eye(27) - 1 / 27), atol=1e-4, rtol=1e-5)


def test_the_head_written_by_hand_composes_through_its_keys(by_hand) -> None:
    found = circuits.partners(by_hand, INDUCTION)
    source = found.earlier[:, PREVIOUS_TOKEN.layer, PREVIOUS_TOKEN.head]
    assert source.tolist() == pytest.approx([0, 27**-0.5, 0], abs=1e-6)
    assert float(source[1]) > 2 * found.baseline
    others = found.earlier.clone()
    others[:, PREVIOUS_TOKEN.layer, PREVIOUS_TOKEN.head] = torch.nan
    assert bool(others.isnan().all()), "heads without weights compose with nothing"
    assert bool(found.later.isnan().all()), "nothing comes after"
    back = circuits.partners(by_hand, PREVIOUS_TOKEN).later[:, INDUCTION.layer, INDUCTION.head]
    assert_close(back, source)


@pytest.mark.parametrize("kind", ["LN", "RMS", None])
def test_random_heads_compose_at_the_baseline(kind: str | None) -> None:
    """Negative control, and the formula: the mean square over random heads is the baseline's."""
    for which in COMPOSITIONS:
        found = torch.stack([circuits.composition(native(kind, seed), which) for seed in range(6)])
        scores = found[~found.isnan()]
        assert scores.square().mean().sqrt() == pytest.approx(
            circuits.baseline(native(kind, 0)), rel=0.04
        )
        assert float(scores.max()) < 1.6 * float(scores.mean())


def test_the_baseline_is_that_of_a_random_turn() -> None:
    """Whatever the spectra: one strong direction composes like many, on average."""
    model = native(None, 0)
    first, second = (product(ov(model, Head(layer, 0))) for layer in (0, 1))
    for left in (first, torch.outer(first[:, 0], first[0])):
        squares = []
        for seed in range(800):
            noise = torch.randn(48, 48, generator=torch.Generator().manual_seed(seed))
            turn = torch.linalg.qr(noise).Q
            score = (left @ turn @ second).norm() / left.norm() / second.norm()
            squares.append(score.square())
        found = float(torch.stack(squares).mean().sqrt())
        assert found == pytest.approx(circuits.baseline(model), rel=0.03)


def test_random_heads_do_not_copy() -> None:
    scores = torch.stack([circuits.copying_scores(native("LN", seed)) for seed in range(6)])
    assert abs(float(scores.mean())) < 0.15
    assert float(scores.abs().max()) < 0.9


def test_a_planted_head_copies_and_one_that_suppresses_does_not() -> None:
    model = native(None, 1, d_head=48)
    attention = model.bridge.blocks[0].attn
    weights = embedding_weights(model)
    back = torch.linalg.pinv(weights.W_U)  # logits to the residual
    for head, sign in ((0, 1.0), (1, -1.0)):
        rows = slice(head * 48, (head + 1) * 48)
        with torch.no_grad():
            attention.v.weight[rows] = torch.eye(48)
            map_to_itself = sign * torch.linalg.pinv(weights.W_E) @ back
            attention.o.weight[:, rows] = map_to_itself.T
    scores = circuits.copying_scores(model)
    assert scores[0, :2].tolist() == pytest.approx([1, -1], abs=1e-3)


@pytest.mark.parametrize("what", [ov, qk, circuits.eigenvalues, circuits.partners])
def test_a_head_out_of_range_is_told(tiny, what: Callable) -> None:
    for head in (Head(0, 3), Head(3, 0)):
        told = f"head {head} is out of range: layers run from 0 to 2, heads from 0 to 2"
        with pytest.raises(InputError, match=told):
            what(tiny("gpt2"), head)


@pytest.mark.parametrize("token", [-1, 300])
def test_a_token_outside_the_vocabulary_is_told(tiny, token: int) -> None:
    model = tiny("gpt2")
    known, unknown = torch.tensor([1]), torch.tensor([1, token])
    for left, right in ((known, unknown), (unknown, known)):
        with pytest.raises(InputError, match=f"token id {token} is outside the vocabulary of 300"):
            circuits.token_scores(model, ov(model, Head(0, 0)), left, right)


def test_copying_needs_one_vocabulary() -> None:
    model = native(None, 0, d_vocab_out=5)
    with pytest.raises(InputError, match="reads 27 tokens and predicts 5: copying is not defined"):
        circuits.copying_scores(model)


def test_a_model_without_layers_has_no_heads() -> None:
    for what in (circuits.copying_scores, lambda model: ov(model, Head(0, 0))):
        with pytest.raises(InputError, match="text-0l has no layers, and so no heads"):
            what(load("text-0l", device="cpu"))


@pytest.mark.real_model
def test_heads_of_the_real_model(smollm2) -> None:
    scores = circuits.copying_scores(smollm2)
    assert float(scores[29, 1]) > 0.98, "writes the name it looks at"
    assert float(scores[29, 0]) < -0.98, "takes away the name it looks at"
    found = circuits.partners(smollm2, Head(18, 6))
    best = found.earlier[1].nan_to_num(0).flatten().argsort(descending=True)[:2].tolist()
    assert {str(Head(i // 9, i % 9)) for i in best} == {"L17H8", "L16H0"}, "L16H0: previous token"
    assert float(found.earlier[1, 16, 0]) > 3 * found.baseline

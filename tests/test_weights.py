"""Weights by name and head: they compute what the model computes, and are read alive."""

import json

import pytest
import torch
from einops import einsum
from torch import Tensor, nn
from torch.testing import assert_close

from workbench.errors import InputError
from workbench.hooks import run
from workbench.models import Model, load
from workbench.models.weights import (
    attention_weights,
    by_head,
    embedding_weights,
    mlp_weights,
    norm,
    rotation,
)


def added(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias


def test_heads_read_and_write_with_them(tiny, ids, family, processing) -> None:
    model = tiny(family, processing)
    read = ["1.attn_in", "1.q", "1.k", "1.v", "1.z", "1.attn_out"]
    ran, weights = run(model, ids, read=read), attention_weights(model, 1)
    for name in "QKV":
        matrix, bias = getattr(weights, f"W_{name}"), getattr(weights, f"b_{name}")
        own = added(einsum(ran["1.attn_in"], matrix, "b p m, h m d -> b p h d"), bias)
        assert_close(own, ran[f"1.{name.lower()}"], atol=1e-5, rtol=0)
    out = added(einsum(ran["1.z"], weights.W_O, "b p h d, h d m -> b p m"), weights.b_O)
    assert_close(out, ran["1.attn_out"], atol=1e-5, rtol=0)
    assert len(weights.W_K) == model.architecture.n_kv_heads
    assert (weights.b_O is None) == (family == "llama")


def test_shared_keys_stand_at_each_heads_index(tiny, ids) -> None:
    model = tiny("llama")
    weights = attention_weights(model, 0)
    keys = by_head(weights.W_K, 6)
    assert keys.shape == weights.W_Q.shape
    ran = run(model, ids, read=["0.attn_in", "0.q", "0.scores"])
    for head in range(6):  # the first position is not rotated against itself
        query, key = ran["0.q"][0, 0, head], ran["0.attn_in"][0, 0] @ keys[head]
        assert_close(query @ key / 2, ran["0.scores"][0, head, 0, 0], atol=1e-5, rtol=0)


def test_mlps_read_and_write_with_them(tiny, ids, family, processing) -> None:
    model = tiny(family, processing)
    ran = run(model, ids, read=["2.mlp_in", "2.mlp_pre", "2.mlp_post", "2.mlp_out"])
    weights = mlp_weights(model, 2)
    assert (weights.W_gate is None) == (family != "llama")
    into = weights.W_in if weights.W_gate is None else weights.W_gate
    pre = added(ran["2.mlp_in"] @ into, weights.b_in)
    assert_close(pre, ran["2.mlp_pre"], atol=1e-5, rtol=0)
    out = added(ran["2.mlp_post"] @ weights.W_out, weights.b_out)
    assert_close(out, ran["2.mlp_out"], atol=1e-5, rtol=0)


def test_tokens_go_in_and_out_with_them(tiny, ids, family, processing) -> None:
    model = tiny(family, processing)
    ran = run(model, ids, read=["embed", "0.resid_pre", "ln_final"], stop="never")
    weights = embedding_weights(model)
    assert_close(weights.W_E[ids], ran["embed"], atol=1e-6, rtol=0)
    start = ran["embed"] if weights.W_pos is None else ran["embed"] + weights.W_pos[: ids.shape[1]]
    assert (weights.W_pos is None) == (family != "gpt2")
    assert_close(start, ran["0.resid_pre"], atol=1e-5, rtol=0)
    assert_close(ran["ln_final"] @ weights.W_U + weights.b_U, ran.logits, atol=1e-5, rtol=0)


def test_norms_are_the_models(tiny, ids, family, processing) -> None:
    model = tiny(family, processing)
    ran = run(model, ids, read=["*.resid_*", "1.attn_in", "ln_final"])
    for found, x, y in (
        (norm(model, 1), ran["1.resid_pre"], ran["1.attn_in"]),
        (norm(model), ran["2.resid_post"], ran["ln_final"]),
    ):
        assert found.centres == (family != "llama")
        probe = torch.randn(24, 5, generator=torch.Generator().manual_seed(1))
        own = x @ found.folded(probe) / found.scale(x)[..., None] + found.bias @ probe
        assert_close(own, y @ probe, atol=1e-5, rtol=0)


EPSILON = {"gpt2": "layer_norm_epsilon", "neox": "layer_norm_eps", "llama": "rms_norm_eps"}


def test_a_norm_takes_its_own_epsilon(copied, ids, family) -> None:
    """At the usual 1e-5 a wrong one would not be seen."""
    config = copied(family) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), EPSILON[family]: 0.5}))
    model = load(str(config.parent), device="cpu")
    ran, found = run(model, ids, read=["2.resid_post", "ln_final"]), norm(model)
    x = ran["2.resid_post"]
    assert found.eps == 0.5
    own = x @ found.folded(torch.eye(24)) / found.scale(x)[..., None] + found.bias
    assert_close(own, ran["ln_final"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("distance", [0, 1, 5])
def test_rotation_stands_between_query_and_key(tiny, ids, family, distance: int) -> None:
    model = tiny(family)
    turn = rotation(model, distance)
    if family == "gpt2":
        assert turn is None
        return
    assert turn is not None
    ran = run(model, ids, read=["1.q", "1.k", "1.scores"])
    group = model.architecture.n_heads // model.architecture.n_kv_heads
    query = ran["1.q"][0, 7]
    key = ran["1.k"][0, 7 - distance].repeat_interleave(group, 0)
    score = einsum(query, turn, key, "h d, d e, h e -> h") / model.architecture.d_head**0.5
    assert_close(score, ran["1.scores"][0, :, 7, 7 - distance], atol=1e-5, rtol=0)


def test_an_edit_in_place_is_seen(copied, family, processing) -> None:
    model = load(str(copied(family)), device="cpu", processing=processing)
    ids = torch.tensor([[3, 4, 5]])

    def all_of_them(model: Model) -> list[Tensor]:
        attention, mlp, ends = (
            attention_weights(model, 1), mlp_weights(model, 1), embedding_weights(model),
        )  # fmt: skip
        return [
            attention.W_Q, attention.W_K, attention.W_V, attention.W_O, mlp.W_in, mlp.W_out,
            ends.W_E, ends.W_U, norm(model).weight, norm(model, 1).weight,
        ]  # fmt: skip

    before = [tensor.clone() for tensor in all_of_them(model)]
    with torch.no_grad():
        for parameter in model.weights.parameters():
            parameter.mul_(2)
    for old, new in zip(before, all_of_them(model), strict=True):
        assert_close(new, old * 2, atol=1e-6, rtol=1e-6)
    read = run(model, ids, read=["1.attn_in", "1.q"])
    weights = attention_weights(model, 1)
    own = added(einsum(read["1.attn_in"], weights.W_Q, "b p m, h m d -> b p h d"), weights.b_Q)
    assert_close(own, read["1.q"], atol=1e-4, rtol=1e-5)


def test_they_carry_no_gradient(tiny) -> None:
    assert not attention_weights(tiny("gpt2"), 0).W_Q.requires_grad
    assert not embedding_weights(tiny("gpt2")).W_E.requires_grad


def test_a_model_without_norm_or_mlp(by_hand) -> None:
    found = norm(by_hand)
    x = torch.randn(2, 145, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found.scale(x), torch.ones(2))
    assert torch.equal(x @ found.folded(torch.eye(145)), x)
    with pytest.raises(InputError, match="has no MLPs; its blocks are attention only"):
        mlp_weights(by_hand, 0)


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_layer_out_of_range_is_told(tiny, layer: int) -> None:
    for asked in (attention_weights, mlp_weights, norm):
        with pytest.raises(InputError, match=f"layer {layer} is out of range: .* 0 to 2"):
            asked(tiny("gpt2"), layer)


def test_a_norm_of_another_kind_is_told(copied) -> None:
    model = load(str(copied("llama")), device="cpu")
    for owner, name in ((model.bridge, "ln_final"), (model.bridge.blocks[1], "ln1")):
        getattr(owner, name).set_original_component(nn.Tanh())
    with pytest.raises(InputError, match="no LayerNorm or RMSNorm at its end"):
        norm(model)
    with pytest.raises(InputError, match="no LayerNorm or RMSNorm before its attention"):
        norm(model, 1)


@pytest.mark.parametrize("distance", [-1, 64])
def test_a_distance_outside_the_context_is_told(tiny, distance: int) -> None:
    with pytest.raises(InputError, match=f"distance {distance} is outside the context, 0 to 63"):
        rotation(tiny("llama"), distance)


def test_an_unknown_way_of_rotating_is_told(tiny, monkeypatch) -> None:
    monkeypatch.setattr("workbench.models.weights.FAMILIES", {"gpt2": None})
    assert rotation(tiny("llama"), 0) is not None
    with pytest.raises(InputError, match="how the family llama rotates is not known"):
        rotation(tiny("llama"), 2)

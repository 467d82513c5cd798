"""Direct logit attribution: the parts add up to the model's own logits, and are what they say."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge
from transformers import GemmaConfig, GemmaForCausalLM

from workbench.attention import repeated_random
from workbench.attribution import Attribution, Question, attribute, by_source, neurons, over_layers
from workbench.cache import Store
from workbench.errors import InputError
from workbench.hooks import Edit, run
from workbench.lens import residuals
from workbench.models import Model, load, pad
from workbench.models.by_hand import INDUCTION, LETTERS
from workbench.models.weights import norm
from workbench.sites import Head

ANSWER, WRONG = torch.tensor([17, 250]), torch.tensor([30, 4])


def logits(model: Model, ids: Tensor, **how) -> Tensor:
    found = run(model, ids, **how).logits
    assert found is not None
    return found


def check_sum(found: Attribution, expected: Tensor) -> None:
    """The parts add up to the model's own number, and the remainder is the rest."""
    parts = torch.stack(list(found.parts.values()))
    scale = parts.abs().sum(0)
    assert float((found.remainder.abs() / scale).max()) <= 1e-4
    assert_close(found.logit_difference, expected, atol=1e-4, rtol=1e-4)
    assert bool(((parts.sum(0) - expected).abs() <= 1e-4 * scale).all())
    assert_close(found.total + found.remainder, found.logit_difference)


@pytest.fixture
def asked(ids) -> Question:
    return Question(ids, ANSWER, WRONG)


def test_the_parts_add_up_to_the_logit_difference(tiny, asked, ids, family, processing) -> None:
    model = tiny(family, processing)
    last = logits(model, ids)[:, -1]
    rows = torch.arange(2)
    check_sum(attribute(model, asked), last[rows, ANSWER] - last[rows, WRONG])
    check_sum(attribute(model, Question(ids, ANSWER)), last[rows, ANSWER])


def test_at_any_position(tiny, ids, family) -> None:
    model, at = tiny(family), torch.tensor([3, 0])
    here = logits(model, ids)[torch.arange(2), at]
    found = attribute(model, Question(ids, ANSWER, WRONG, position=at))
    check_sum(found, here.gather(1, ANSWER[:, None])[:, 0] - here.gather(1, WRONG[:, None])[:, 0])


def test_each_part_is_what_its_removal_takes_away(tiny, ids, asked) -> None:
    """At the last layer, where the direct path is the only one, with the norm's scale held."""
    model = tiny("neox")  # parallel blocks: attention does not reach the MLP of its own layer
    found, final = attribute(model, asked), norm(model)

    def without(site: str) -> Tensor:
        edit = Edit(site, torch.zeros_like)
        ran = run(model, ids, edit=edit, read="2.resid_post", stop="never")
        clean = run(model, ids, read="2.resid_post")["2.resid_post"][:, -1]
        removed = ran["2.resid_post"][:, -1]
        frozen = model.unembed(removed) - model.bridge.b_U - final.bias @ model.bridge.W_U
        frozen = frozen * (final.scale(removed) / final.scale(clean))[:, None]
        rows = torch.arange(2)
        return frozen[rows, ANSWER] - frozen[rows, WRONG]

    constant = found.norm_bias + found.unembed_bias
    whole = found.logit_difference - constant
    for head in range(3):
        assert_close(whole - without(f"L2H{head}.z"), found.heads[:, 2, head], atol=1e-4, rtol=1e-4)
    assert_close(whole - without("2.mlp_out"), found.mlps[:, 2], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_equals_one_by_one(tiny, ids, family, processing, side) -> None:
    model = tiny(family, processing)
    rows = [ids[0, :5].tolist(), ids[1].tolist(), ids[0, 3:10].tolist()]
    answer, wrong = torch.tensor([9, 20, 33]), torch.tensor([8, 21, 7])
    batch = pad(rows, side=side)
    together = Question(batch.ids, answer, wrong, mask=batch.mask)
    found, sources = attribute(model, together), by_source(model, together)
    steps = over_layers(model, together)
    named = neurons(model, together, 1, k=4)
    check_sum(found, found.logit_difference)
    for number, row in enumerate(rows):
        one = slice(number, number + 1)
        alone = Question(torch.tensor([row]), answer[one], wrong[one])
        own = attribute(model, alone)
        for name, value in own.parts.items():
            assert_close(found.parts[name][one], value, atol=1e-4, rtol=1e-4, msg=name)
        assert_close(found.logit_difference[one], own.logit_difference, atol=1e-4, rtol=1e-4)
        real = batch.mask[number]
        for batched, single in (
            (sources[one], by_source(model, alone)),
            (steps[one], over_layers(model, alone)),
        ):
            assert_close(batched[..., real], single, atol=1e-4, rtol=1e-4)
            assert bool(batched[..., ~real].isnan().all())
        assert torch.equal(named.index[one], neurons(model, alone, 1, k=4).index)


def test_sources_add_up_to_the_heads(tiny, asked, family, processing) -> None:
    model = tiny(family, processing)
    found = by_source(model, asked)
    assert found.shape == (2, 3, model.architecture.n_heads, 12)
    heads = attribute(model, asked).heads
    assert_close(found.sum(-1), heads, atol=1e-4, rtol=1e-4)
    assert torch.equal(by_source(model, asked, [2, 0]), found[:, [2, 0]])


def test_sources_are_where_the_values_stand(tiny, ids, asked) -> None:
    """A value taken away takes its share, and no other, from what the head wrote."""
    model = tiny("llama")
    found = by_source(model, asked, [2])[:, 0]

    def cut(v: Tensor) -> Tensor:
        v = v.clone()
        v[:, 4, 1] = 0  # the second of two KV heads serves heads 3 to 5
        return v

    clean = run(model, ids, read="2.result")["2.result"][:, -1]
    less = run(model, ids, read="2.result", edit=Edit("2.v", cut))["2.result"][:, -1]
    assert float((clean - less)[:, :3].abs().max()) == 0
    assert bool(((clean - less)[:, 3:].abs().amax(-1) > 0).all())
    end, weights = norm(model), model.bridge.W_U.detach()
    resid = run(model, ids, read="2.resid_post")["2.resid_post"][:, -1]
    direction = end.weight[:, None] * (weights[:, ANSWER] - weights[:, WRONG]) / end.scale(resid)
    own = torch.einsum("bhm,mb->bh", clean - less, direction)
    assert_close(found[:, 3:, 4], own[:, 3:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("k", [1, 7, 999])
def test_neurons_add_up_to_the_mlp(tiny, asked, family, processing, k: int) -> None:
    model = tiny(family, processing)
    mlps = attribute(model, asked).mlps
    for layer in range(3):
        found = neurons(model, asked, layer, k=k)
        assert found.values.shape[1] == min(k, {"gpt2": 96, "neox": 48, "llama": 40}[family])
        total = found.values.sum(-1) + found.rest + found.bias
        assert_close(total, mlps[:, layer], atol=1e-4, rtol=1e-4)
        assert bool((found.values.abs().diff(dim=-1) <= 0).all()), "largest first"


def test_a_neuron_silenced_is_its_share(tiny, ids, asked) -> None:
    model = tiny("gpt2")
    found = neurons(model, asked, 2, k=1)
    number = int(found.index[0, 0])

    def silence(post: Tensor) -> Tensor:
        post = post.clone()
        post[..., number] = 0
        return post

    edit = Edit("2.mlp_post", silence)
    clean, less = (
        run(model, ids[:1], read="2.mlp_out", edit=how)["2.mlp_out"][0, -1] for how in ((), edit)
    )
    end = norm(model)
    resid = run(model, ids[:1], read="2.resid_post")["2.resid_post"][0, -1]
    W_U = model.bridge.W_U.detach()
    unembed = (W_U[:, 17] - W_U[:, 30])[:, None]
    share = (clean - less) @ end.folded(unembed) / end.scale(resid)
    assert_close(found.values[0, :1], share, atol=1e-5, rtol=1e-4)


def test_steps_over_the_layers_end_in_the_whole(tiny, ids, asked, family, processing) -> None:
    model = tiny(family, processing)
    found, steps = attribute(model, asked), over_layers(model, asked)
    assert_close(found.accumulated, steps[:, :, -1], atol=1e-4, rtol=1e-4)
    assert torch.equal(found.accumulated[:, -1], found.total)
    whole = logits(model, ids)
    assert_close(steps[0, -1], whole[0, :, 17] - whole[0, :, 30], atol=1e-4, rtol=1e-4)


def test_steps_are_the_logit_lens_at_the_final_scale(tiny, ids, family, processing) -> None:
    model = tiny(family, processing)
    asked = Question(ids[:1], ANSWER[:1], WRONG[:1])
    found, (resid, _) = attribute(model, asked), residuals(model, ids[:1])
    constant, final = found.norm_bias + found.unembed_bias, norm(model)
    lens = model.unembed(resid[:, -1])
    own = lens[:, 17] - lens[:, 30] - constant
    held = own * final.scale(resid[:, -1]) / final.scale(resid[-1, -1]) + constant
    assert_close(found.accumulated[0], held, atol=1e-4, rtol=1e-4)


def test_the_induction_head_writes_the_answer(by_hand) -> None:
    """By construction: L1H2 brings the token after the earlier occurrence, ten logits high."""
    ids = repeated_random(by_hand, batch=3)[:, :-1]
    answer, wrong = ids[:, ids.shape[1] // 2], ids[:, 5]
    asked = Question(ids, answer, wrong)
    found = attribute(by_hand, asked)
    assert list(found.parts) == [str(INDUCTION)]
    assert found.heads[:, INDUCTION.layer, INDUCTION.head].tolist() == [10.0] * 3
    assert found.remainder.tolist() == [0.0] * 3
    sources = by_source(by_hand, asked, [1])[:, 0, INDUCTION.head]
    brought = sources.argmax(-1)
    assert torch.equal(ids.gather(1, brought[:, None])[:, 0], answer)
    assert sources.sum(-1).tolist() == [10.0] * 3
    told = found.top(5)
    assert told == [("L1H2", 10.0)]
    with pytest.raises(InputError, match="has no MLPs"):
        neurons(by_hand, asked, 0)


def test_a_wrong_answer_gets_nothing(by_hand) -> None:
    """Negative control: between two tokens that were not brought, nothing is to be split."""
    ids = repeated_random(by_hand, batch=1, length=6)[:, :-1]
    others = [token for token in range(1, 27) if token not in ids[0].tolist()]
    asked = Question(ids, torch.tensor(others[:1]), torch.tensor(others[1:2]))
    assert attribute(by_hand, asked).parts == {}


@pytest.mark.parametrize("kind", ["LN", "RMS", "LNPre", "RMSPre", None])
@pytest.mark.parametrize("attn_only", [True, False])
def test_native_models_add_up(kind: str | None, attn_only: bool) -> None:
    sizes: Any = {"d_model": 12, "d_head": 5, "n_heads": 3, "d_mlp": 20, "n_layers": 2}
    config = TransformerBridgeConfig(
        **sizes,
        n_ctx=16,
        d_vocab=27,
        attn_only=attn_only,
        normalization_type=kind,
        act_fn="gelu",
        seed=0,
    )
    bridge = TransformerBridge.boot_native(config)
    for parameter in bridge.original_model.parameters():
        parameter.data.normal_(0.1, 0.4, generator=torch.Generator().manual_seed(parameter.numel()))
    model = Model(
        "native", build=lambda: bridge, plain=None, vocabulary=LETTERS, processing="raw",
        config={}, family="native",
    )  # fmt: skip
    ids = torch.randint(1, 27, (2, 9), generator=torch.Generator().manual_seed(0))
    answer, wrong = torch.tensor([3, 4]), torch.tensor([5, 6])
    last, rows = logits(model, ids)[:, -1], torch.arange(2)
    found = attribute(model, Question(ids, answer, wrong))
    check_sum(found, last[rows, answer] - last[rows, wrong])
    assert bool((found.mlps == 0).all()) == attn_only
    assert float(found.pos_embed.abs().min()) > 0


@pytest.mark.parametrize("how", ["raw", "folded"])
def test_a_norm_that_keeps_its_weight_less_one(copied, ids, how: str) -> None:
    folder, generator = copied("llama"), torch.Generator().manual_seed(1)
    gemma = GemmaForCausalLM(
        GemmaConfig(
            vocab_size=300,
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=1,
            head_dim=8,
            max_position_embeddings=64,
        )
    )
    for parameter in gemma.parameters():
        parameter.data.normal_(0.1, 0.3, generator=generator)
    gemma.save_pretrained(folder)
    model = load(str(folder), device="cpu", processing=how)
    last, rows = logits(model, ids)[:, -1], torch.arange(2)
    found = attribute(model, Question(ids, ANSWER, WRONG))
    check_sum(found, last[rows, ANSWER] - last[rows, WRONG])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_in_16_bits_the_remainder_tells_the_rounding(tiny, tiny_folder, asked, family, dtype):
    found = attribute(load(str(tiny_folder(family)), device="cpu", dtype=dtype), asked)
    scale = torch.stack(list(found.parts.values())).abs().sum(0)
    assert 0 < float((found.remainder.abs() / scale).max()) < 1e-2
    exact = attribute(tiny(family), asked)
    assert_close(found.total, exact.total, atol=0.1, rtol=0.05)


def test_it_reads_through_the_store(tiny, asked, family, tmp_path) -> None:
    model, store = tiny(family), Store(tmp_path / "store")
    first, again = (attribute(model, asked, store) for _ in range(2))
    assert (first.capture.whole, again.capture.whole) == (False, True)
    for name, value in first.parts.items():
        assert torch.equal(again.parts[name], value)
    assert_close(by_source(model, asked, store=store), by_source(model, asked))
    assert_close(over_layers(model, asked, store), over_layers(model, asked))


def test_the_top_is_by_weight_of_either_sign(tiny, asked) -> None:
    found = attribute(tiny("gpt2"), asked)
    for row in range(2):
        top = found.top(4, row)
        weights = sorted((abs(float(part[row])) for part in found.parts.values()), reverse=True)
        assert [abs(value) for _, value in top] == weights[:4]
    names = list(found.parts)
    assert names[:2] == ["embed", "pos_embed"]
    assert names[2:7] == ["L0H0", "L0H1", "L0H2", "L0 attention bias", "L0 MLP"]
    assert names[-1] == "final norm bias", "GPT-2 has no bias at its unembedding"
    assert "unembedding bias" in attribute(tiny("gpt2", "folded"), asked).parts


def some(rows: int, value: int = 1) -> Tensor:
    return torch.full((rows,), value)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"answer": some(3)}, "3 answers for 2 prompts; give one for each"),
        ({"answer": some(2), "wrong": some(1)}, "1 wrong tokens for 2 prompts"),
        ({"answer": some(2), "position": some(2, 4)}, "position needs a column from 0 to 3"),
        ({"answer": some(2), "position": some(2, -1)}, "position needs a column from 0 to 3"),
        ({"answer": some(2), "position": some(1, 0)}, "position needs a column from 0 to 3"),
        ({"answer": some(2), "position": some(2, 3)}, "position names a padded column"),
    ],
)
def test_what_does_not_fit_is_told(how: dict, told: str) -> None:
    batch = pad([[1, 2, 3, 4], [1, 2]])
    with pytest.raises(InputError, match=told):
        Question(batch.ids, mask=batch.mask, **how)


@pytest.mark.parametrize("token", [-1, 300])
def test_a_token_outside_the_vocabulary_is_told(tiny, ids, token: int) -> None:
    for asked in (Question(ids, some(2, token)), Question(ids, some(2), some(2, token))):
        with pytest.raises(InputError, match=f"token id {token} is outside the vocabulary of 300"):
            attribute(tiny("gpt2"), asked)


@pytest.mark.parametrize("layers", [[3], [-1], []])
def test_a_layer_out_of_range_is_told(tiny, asked, layers) -> None:
    with pytest.raises(InputError, match=r"are not layers of this model, 0 to 2"):
        by_source(tiny("gpt2"), asked, layers)


@pytest.mark.real_model
def test_name_movers_of_the_real_model(smollm2) -> None:
    """The heads that patching finds on this sentence write the answer, or against it."""
    prompt = "When Mary and John went to the store, John gave a drink to"
    tokens = smollm2.tokenize(prompt)
    mary, john = (torch.tensor(smollm2.vocabulary.encode(name)[0]) for name in (" Mary", " John"))
    asked = Question(tokens.tensor(), mary, john)
    found = attribute(smollm2, asked)
    assert float(found.logit_difference) == pytest.approx(3.735, abs=0.05)
    assert abs(float(found.remainder)) < 1e-4
    heads = [(name, value) for name, value in found.top(300) if "H" in name]
    assert [name for name, _ in heads[:3]] == ["L23H3", "L29H1", "L29H0"]
    assert [value for _, value in heads[:3]] == pytest.approx([2.66, 1.30, -0.76], abs=0.05)
    head = Head(23, 3)
    sources = by_source(smollm2, asked, [head.layer])[0, 0, head.head]
    assert tokens.strings[int(sources.argmax())] == " John"
    named = neurons(smollm2, asked, 28)
    total = named.values.sum() + named.rest + named.bias
    assert_close(total, found.mlps[:, 28], atol=1e-4, rtol=0)

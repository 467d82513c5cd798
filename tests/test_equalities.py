"""Two roads to one number: the Hub library's, TransformerLens', ours, raw and folded."""

import pytest
import torch
from einops import einsum
from torch import Tensor
from torch.testing import assert_close

from workbench.hooks import Edit, run, sites
from workbench.models import Model, load, loading
from workbench.sites import Site


def logits(model: Model, ids: Tensor, **how) -> Tensor:
    found = run(model, ids, stop="never", **how).logits
    assert found is not None
    return found


def n_layers(model: Model) -> range:
    return range(model.architecture.n_layers)


def test_it_is_the_hub_librarys_model(tiny, hub, ids, family: str, also) -> None:
    model = tiny(family)
    with torch.no_grad():
        theirs = hub(family)(ids, output_hidden_states=True, output_attentions=True)
    mine = run(model, ids, read=["*.resid_*", "*.pattern", "ln_final", *also], stop="never")
    assert mine.receipt.road == ("bridge" if also else "plain")
    assert mine.logits is not None
    assert_close(mine.logits, theirs.logits, atol=1e-5, rtol=0)
    *hidden, after_norm = theirs.hidden_states
    for layer in n_layers(model):
        assert_close(mine[f"{layer}.resid_pre"], hidden[layer], atol=1e-5, rtol=0)
        assert_close(mine[f"{layer}.pattern"], theirs.attentions[layer], atol=1e-5, rtol=0)
    for layer in list(n_layers(model))[:-1]:
        assert_close(mine[f"{layer}.resid_post"], hidden[layer + 1], atol=1e-5, rtol=0)
    assert_close(mine["ln_final"], after_norm, atol=1e-5, rtol=0)


@pytest.mark.parametrize("how", ["one by one", "all at once"])
def test_every_site_is_transformer_lens_own(road, ids, how: str) -> None:
    model, also = road
    known = [site for site in sites(model) if site.name != "result"]
    _, theirs = model.bridge.run_with_cache(ids)
    assert len(known) > 40
    if how == "all at once":
        mine = run(model, ids, read=known).activations
    else:
        known = [site for site in known if site.layer in (None, 1)]
        mine = {site: run(model, ids, read=[site, *also])[site] for site in known}
    for site in known:
        assert_close(mine[site], theirs[site.long], atol=1e-5, rtol=0, msg=str(site))


def test_shapes_are_the_axes(road, ids, family) -> None:
    model, also = road
    sizes = model.architecture
    n_batch, n_pos = ids.shape
    lengths = {"batch": n_batch, "pos": n_pos, "query": n_pos, "key": n_pos, "1": 1}
    lengths |= {"head": sizes.n_heads, "kv_head": sizes.n_kv_heads, "d_head": sizes.d_head}
    lengths |= {"d_model": sizes.d_model, "d_vocab": sizes.d_vocab}
    lengths |= {"d_mlp": {"gpt2": 96, "neox": 48, "llama": 40}[family]}
    for site, n_heads in sites(model).items():
        if site.layer not in (None, 1):
            continue
        axes = site.kind.axes.split()
        assert tuple(run(model, ids, read=[site, *also])[site].shape) == tuple(
            lengths[axis] for axis in axes
        ), site
        assert n_heads == (0 if site.kind.head_axis is None else lengths[axes[site.kind.head_axis]])


def test_residuals_add_up(road, ids, family) -> None:
    model, also = road
    ran = run(model, ids, read=["*.resid_*", "*.attn_out", "*.mlp_out", *also])
    for layer in n_layers(model):
        pre, attn_out, mlp_out, post = (
            ran[f"{layer}.{name}"] for name in ("resid_pre", "attn_out", "mlp_out", "resid_post")
        )
        if Site("resid_mid", layer) in sites(model):
            assert_close(ran[f"{layer}.resid_mid"], pre + attn_out, atol=1e-5, rtol=0)
        assert_close(post, pre + attn_out + mlp_out, atol=1e-5, rtol=0)
    assert (Site("resid_mid", 0) in sites(model)) == (family != "neox")


def test_embeddings_add_up(road, ids, family) -> None:
    model, also = road
    has_positions = Site("pos_embed") in sites(model)
    assert has_positions == (family == "gpt2")
    ran = run(model, ids, read=["*embed", "0.resid_pre", *also])
    total = ran["embed"] + (ran["pos_embed"] if has_positions else 0)
    assert_close(ran["0.resid_pre"], total, atol=1e-5, rtol=0)


def test_heads_add_up_to_the_output_of_attention(road, ids, family) -> None:
    model, also = road
    ran = run(model, ids, read=["*.z", "*.result", "L1H2.result", "*.attn_out", *also])
    for layer in n_layers(model):
        bias = model.bridge.blocks[layer].attn.b_O
        by_hand = einsum(ran[f"{layer}.z"], model.output_matrix(layer), "b p h d, h d m -> b p h m")
        assert_close(ran[f"{layer}.result"], by_hand, atol=1e-5, rtol=0)
        assert (bias is not None) == (family != "llama") or bool((bias == 0).all())
        total = ran[f"{layer}.result"].sum(2) + (0 if bias is None else bias)
        assert_close(ran[f"{layer}.attn_out"], total, atol=1e-5, rtol=0)
    assert_close(ran["L1H2.result"], ran["1.result"][:, :, 2], atol=1e-6, rtol=0)


def test_patterns_are_softmaxed_scores(tiny, ids, family, processing) -> None:
    model = tiny(family, processing)
    ran = run(model, ids, read=["*.scores", "*.pattern"])
    for layer in n_layers(model):
        pattern = ran[f"{layer}.pattern"]
        assert_close(pattern.sum(-1), torch.ones(pattern.shape[:-1]), atol=1e-5, rtol=0)
        assert_close(pattern, ran[f"{layer}.scores"].softmax(-1), atol=1e-5, rtol=0)
        assert float(pattern.triu(1).abs().max()) == 0, "no look ahead"


def test_z_is_the_pattern_times_the_values(road, ids) -> None:
    model, also = road
    group = model.architecture.n_heads // model.architecture.n_kv_heads
    ran = run(model, ids, read=["1.pattern", "1.v", "1.z", *also])
    values = ran["1.v"].repeat_interleave(group, dim=2)
    mixed = einsum(ran["1.pattern"], values, "b h q k, b k h d -> b q h d")
    assert_close(ran["1.z"], mixed, atol=1e-5, rtol=0)


def test_folding_keeps_the_log_probabilities(tiny, ids, family: str) -> None:
    raw, folded = (logits(tiny(family, how), ids).log_softmax(-1) for how in ("raw", "folded"))
    assert_close(raw, folded, atol=1e-4, rtol=0)
    differs = run(tiny(family), ids, read="1.mlp_in")["1.mlp_in"]
    assert not torch.allclose(
        differs, run(tiny(family, "folded"), ids, read="1.mlp_in")["1.mlp_in"]
    )


def test_folding_is_transformer_lens_compatibility_mode(
    tiny, tiny_folder, ids, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours folds in place; a family it does not know is folded by TransformerLens."""
    ours = run(tiny(family, "folded"), ids, read=lambda site: True, stop="never")
    monkeypatch.setattr(loading, "FOLDS", {})
    model = load(str(tiny_folder(family)), device="cpu", processing="folded")
    assert model.plain is None and model.bridge.compatibility_mode
    theirs = run(model, ids, read=lambda site: True, stop="never")
    assert set(ours.activations) == set(theirs.activations)
    for site, value in theirs.activations.items():
        found = ours[site]
        if site.name == "scores":  # what is masked is -inf there, the lowest number here
            value, found = value.tril(), found.tril()
        assert_close(found, value, atol=1e-5, rtol=1e-4, msg=lambda m, s=site: f"{s}: {m}")


def test_the_final_residual_unembeds_to_the_logits(tiny, ids, family, processing) -> None:
    model = tiny(family, processing)
    last = run(model, ids, read=f"{model.architecture.n_layers - 1}.resid_post", stop="never")
    (resid,) = last.activations.values()
    assert_close(model.unembed(resid), last.logits, atol=1e-5, rtol=0)


def test_batched_equals_one_by_one(tiny, ids, family, processing) -> None:
    model = tiny(family, processing)
    for row in range(len(ids)):
        one = logits(model, ids[row : row + 1])
        assert_close(one[0], logits(model, ids)[row], atol=1e-5, rtol=0)


def test_reading_everything_changes_nothing(tiny, ids, family, processing) -> None:
    model = tiny(family, processing)
    assert torch.equal(logits(model, ids, read="0.scores"), logits(model, ids, read="*"))


def test_one_edit_is_the_same_on_both_roads(tiny, ids, family: str) -> None:
    """At every site that the plain tree lets one edit."""
    model = tiny(family)
    assert model.plain_road is not None
    for site, point in model.plain_road.points.items():
        if not point.editable:
            continue
        edit = Edit(site, lambda x: x.flip(0) * 1.5)
        plain = run(model, ids, edit=edit)
        bridge = run(model, ids, edit=edit, read="0.scores", stop="never")
        assert (plain.receipt.road, bridge.receipt.road) == ("plain", "bridge")
        assert plain.logits is not None
        assert_close(plain.logits, bridge.logits, atol=1e-5, rtol=0, msg=str(site))


def test_gradients_are_autograds_through_the_hub_librarys(tiny, hub, ids, family, also) -> None:
    theirs = hub(family)
    embedded = theirs.get_input_embeddings()(ids).detach().requires_grad_()
    theirs(inputs_embeds=embedded).logits[:, -1, 5].sum().backward()
    ours = embedded.detach().clone().requires_grad_()
    ran = run(
        tiny(family),
        ids,
        read=["1.resid_post", *also],
        edit=Edit("embed", lambda _: ours),
        stop="never",
        grad=True,
    )
    assert ran.logits is not None
    objective = ran.logits[:, -1, 5].sum()
    at_embed, at_site = torch.autograd.grad(objective, [ours, ran["1.resid_post"]])
    assert_close(at_embed, embedded.grad, atol=1e-5, rtol=1e-4)
    assert float(at_site.norm()) > 0
    assert not run(tiny(family), ids, read="1.resid_post")["1.resid_post"].requires_grad


@pytest.mark.parametrize("name", ["resid_pre", "resid_post", "ln_final", "z", "mlp_post"])
def test_gradients_flow_through_edits(road, ids, name: str) -> None:
    site = "ln_final" if name == "ln_final" else f"1.{name}"
    scale = torch.ones((), requires_grad=True)
    edit = Edit(site, lambda x: x * scale)
    model, also = road

    def objective(edit: Edit) -> Tensor:
        ran = run(model, ids, edit=edit, read=also, stop="never", grad=True)
        assert ran.logits is not None
        return ran.logits[:, -1, 5].sum()

    (gradient,) = torch.autograd.grad(objective(edit), scale)
    with torch.no_grad():
        rise = objective(Edit(site, lambda x: x * 1.01)) - objective(Edit(site, lambda x: x * 0.99))
    assert_close(gradient, rise / 0.02, atol=2e-3, rtol=2e-2)

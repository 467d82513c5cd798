"""Hooks: edits act where they say, stops stop, nothing stays behind, no mistake is silent."""

import copy
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from workbench.errors import InputError
from workbench.hooks import Edit, Run, run, sites
from workbench.models import Model, load
from workbench.sites import Site

NOTHING: Any = lambda x: None  # noqa: E731
A_NUMBER: Any = lambda x: 0.0  # noqa: E731


def shift(by: Tensor | float) -> Callable[[Tensor], Tensor]:
    return lambda x: x + by


def jolt(x: Tensor) -> Tensor:
    """Far, and in no direction that a norm or a softmax would take out."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(x.numel()))
    return x + noise * (1 + x[x.isfinite() & (x > -1e30)].abs().mean())


def logits(ran: Run) -> Tensor:
    assert ran.logits is not None
    return ran.logits


def modules(model: Model) -> list[nn.Module]:
    trees = [model.bridge, *([model.plain] if model.plain is not None else [])]
    return [module for tree in trees for module in tree.modules()]


def n_hooks(model: Model) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules(model)
    )


# Edits act


def test_every_editable_site_changes_the_logits(road, ids) -> None:
    model, also = road
    clean = logits(run(model, ids, read=also, stop="never"))
    edited = [s for s in sites(model) if s.name != "result" and s.layer in (None, 1)]
    assert len(edited) > 18
    for site in edited:
        ran = run(model, ids, read=also, edit=Edit(site, jolt), stop="never")
        assert float((logits(ran) - clean).abs().max()) > 1e-3, site
        assert ran.receipt.fired[site] == 1, site
        assert ran.receipt.moved[0] > 0, site


def test_every_head_changes_the_logits(road, ids) -> None:
    model, also = road
    clean = logits(run(model, ids, read=also, stop="never"))
    for site, n_heads in sites(model).items():
        for head in range(n_heads if site.layer == 1 and site.name != "result" else 0):
            edit = Edit(
                Site(site.name, 1, head),
                lambda x: 1.5 * x + torch.linspace(0, 1, x[0].numel()).view_as(x[0]),
            )
            ran = run(model, ids, read=also, edit=edit, stop="never")
            assert float((logits(ran) - clean).abs().max()) > 1e-3, edit.site


def test_only_layers_above_feel_an_edit(road, ids) -> None:
    model, also = road
    clean = run(model, ids, read=["*", *also])
    for name in ("resid_post", "mlp_out", "z", "attn_out"):
        ran = run(model, ids, read=["*", *also], edit=Edit(f"1.{name}", jolt))
        for site in sites(model):
            if site.order < Site(name, 1).order and site.layer != 1:
                assert torch.equal(ran[site], clean[site]), (name, site)
        assert not torch.allclose(ran["2.resid_pre"], clean["2.resid_pre"], atol=1e-3), name
        assert not torch.allclose(ran["logits"], clean["logits"], atol=1e-3), name


def test_reads_see_the_edit_made_there(road, ids, family) -> None:
    model, also = road
    for site in sites(model):
        if site.name != "result" and site.layer in (None, 1):
            before = run(model, ids, read=[site, *also])[site]
            ran = run(model, ids, read=[site, *also], edit=Edit(site, lambda x: x * 2 + 1))
            assert_close(ran[site], before * 2 + 1, atol=1e-6, rtol=0, msg=str(site))
            seen = before > -1e30  # not masked
            far = float((before[seen] + 1).norm())
            assert_close(ran.receipt.moved[0], far, atol=0, rtol=1e-5, msg=str(site))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_an_edit_of_mid_is_carried_past_the_norm(road, ids, family) -> None:
    """As large as the same edit of attn_out, which is what is added to make mid."""
    model, also = road
    by = torch.randn(24, generator=torch.Generator().manual_seed(0))
    read = ["1.resid_mid", "1.mlp_in", "1.mlp_out", "1.resid_post", "2.resid_pre", *also]
    mid, attention, clean = (
        run(model, ids, read=read, edit=edit, stop="never")
        for edit in (Edit("1.resid_mid", shift(by)), Edit("1.attn_out", shift(by)), ())
    )
    for site in mid.activations:
        assert_close(mid[site], attention[site], atol=1e-5, rtol=0, msg=str(site))
    assert_close(logits(mid), logits(attention), atol=1e-5, rtol=0)
    change = (mid["1.mlp_out"] - clean["1.mlp_out"]) + by
    assert_close(mid["1.resid_post"] - clean["1.resid_post"], change, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_edits_of_mid_and_post_add_up(road, ids) -> None:
    edits = [
        Edit("1.resid_mid", shift(1.0)),
        Edit("1.resid_post", lambda x: x * 2),
        Edit("1.resid_mid", shift(0.5)),
        Edit("2.resid_mid", shift(1.0)),
    ]
    same = [
        Edit("1.attn_out", shift(1.5)),
        Edit("1.resid_post", lambda x: x * 2),
        Edit("2.attn_out", shift(1.0)),
    ]
    model, also = road
    one, other = (
        run(model, ids, read=["1.resid_post", *also], edit=e, stop="never") for e in (edits, same)
    )
    assert_close(one["1.resid_post"], other["1.resid_post"], atol=1e-5, rtol=0)
    assert_close(logits(one), logits(other), atol=1e-5, rtol=0)
    assert len(one.receipt.moved) == 4


def test_editing_one_head_is_editing_the_whole_tensor_there(road, ids):
    model, also = road

    def brute(x: Tensor, axis: int) -> Tensor:
        x.select(axis, 1).mul_(2)
        return x

    for name, axis in (("z", 2), ("q", 2), ("k", 2), ("v", 2), ("scores", 1), ("pattern", 1)):
        head = run(model, ids, read=also, stop="never", edit=Edit(f"L1H1.{name}", lambda x: 2 * x))
        whole = run(
            model, ids, read=also, stop="never",
            edit=Edit(f"1.{name}", lambda x, axis=axis: brute(x, axis)),
        )  # fmt: skip
        assert torch.equal(logits(head), logits(whole)), name
        assert_close(head.receipt.moved, whole.receipt.moved, atol=0, rtol=1e-5, msg=name)


def test_the_full_state_of_another_run_gives_its_logits(road, ids, family):
    """Patching a whole cut of the graph carries everything over."""
    model, also = road
    other = ids.flip(1)
    cuts = ["1.resid_pre", "1.resid_post", "ln_final", "logits"]
    cuts += ["1.resid_mid"] * (family != "neox")
    theirs = run(model, other, read=[*cuts, *also], stop="never")
    for cut in cuts:
        ran = run(
            model, ids, read=also, stop="never", edit=Edit(cut, lambda _, cut=cut: theirs[cut])
        )
        assert_close(logits(ran), logits(theirs), atol=1e-5, rtol=0, msg=cut)


def test_edits_apply_in_order_and_to_globs(tiny, ids) -> None:
    model = tiny("gpt2")
    ran = run(
        model, ids, read="*.z", edit=[Edit("*.z", torch.zeros_like), Edit("L1H0.z", shift(1.0))]
    )
    assert not ran["0.z"].any()
    assert not ran["2.z"].any()
    assert torch.equal(ran["1.z"][:, :, 0], torch.ones_like(ran["1.z"][:, :, 0]))
    assert not ran["1.z"][:, :, 1:].any()
    assert len(ran.receipt.moved) == 4
    assert ran.receipt.fired == {Site("z", layer): 1 for layer in range(3)}


def test_an_edit_that_runs_the_model_is_told(tiny, ids) -> None:
    model = tiny("gpt2")

    def nested(x: Tensor) -> Tensor:
        run(model, ids)
        return x

    clean = logits(run(model, ids))
    with pytest.raises(InputError, match="is run inside an edit of the same model"):
        run(model, ids, edit=Edit("0.resid_post", nested))
    assert_close(logits(run(model, ids)), clean, rtol=0, atol=0)


def test_an_edit_may_write_in_place(tiny, ids, also) -> None:
    """What it got is a copy: an edit of one prompt leaves the read of the clean run alone."""
    model = tiny("llama")
    clean = run(model, ids, read=["1.resid_post", "2.resid_pre", *also])
    before = copy.deepcopy(clean.activations)
    ran = run(model, ids, read=["2.resid_pre", *also], edit=Edit("1.resid_post", Tensor.zero_))
    assert not ran["2.resid_pre"].any()
    for site, value in before.items():
        assert torch.equal(clean[site], value)


def test_what_is_read_is_the_callers_own(tiny, ids, also) -> None:
    model = tiny("gpt2")
    expected = logits(run(model, ids, read=also, stop="never")).clone()
    ran = run(model, ids, read=["*", *also], stop="never")
    for value in ran.activations.values():
        value.zero_()
    assert torch.equal(logits(run(model, ids, read=also, stop="never")), expected)


# Stops and receipts


def test_the_forward_ends_at_the_last_read(road, ids) -> None:
    model, also = road
    later: list[str] = []
    handles = []
    trees = [model.bridge, *([model.plain] if model.plain is not None else [])]
    for tree in trees:
        for name, module in tree.named_modules():
            if name.endswith(("layers.2", "h.2", "blocks.2")):
                handles.append(
                    module.register_forward_pre_hook(lambda m, a, n=name: later.append(n))
                )
    try:
        assert len(handles) == len(trees)
        ran = run(model, ids, read=["1.resid_post", *also])
        assert later == []
        assert ran.logits is None
        assert ran.receipt.stopped_early
        whole = run(model, ids, read=["1.resid_post", *also], stop="never")
        assert len(later) == 1
        assert whole.logits is not None
        assert not whole.receipt.stopped_early
    finally:
        for handle in handles:
            handle.remove()
    assert torch.equal(ran["1.resid_post"], whole["1.resid_post"])


def test_without_reads_the_run_reaches_the_logits(tiny, ids) -> None:
    ran = run(tiny("gpt2"), ids, edit=Edit("0.z", torch.zeros_like))
    assert ran.logits is not None
    assert not ran.receipt.stopped_early


@pytest.mark.parametrize(
    ("read", "road"),
    [
        ("*.resid_post", "plain"),
        ("*.pattern", "plain"),
        (["1.resid_post", "1.scores"], "bridge"),
        ("ln_final_scale", "bridge"),
    ],
)
def test_the_receipt(tiny, ids, read, road: str) -> None:
    ran = run(tiny("llama"), ids, read=read)
    assert ran.receipt.road == road
    assert ran.receipt.fired == dict.fromkeys(ran.activations, 1)
    assert ran.receipt.moved == ()


def test_editing_a_pattern_takes_the_bridge(tiny, ids) -> None:
    ran = run(tiny("llama"), ids, edit=Edit("1.pattern", lambda x: x.roll(1, -1)))
    assert ran.receipt.road == "bridge"


# Nothing stays behind


@pytest.mark.parametrize("ends", ["success", "exception", "interrupt", "wrong shape", "above"])
def test_hooks_are_gone(road, ids, ends: str) -> None:
    model, also = road

    def edit(x: Tensor) -> Tensor:
        if ends == "exception":
            raise RuntimeError("inside the edit")
        if ends == "interrupt":
            raise KeyboardInterrupt
        return x[:1] if ends == "wrong shape" else x * 0

    sites(model)  # looks once at every site
    clean = logits(run(model, ids))
    before = n_hooks(model)
    raised = {"exception": RuntimeError, "interrupt": KeyboardInterrupt}.get(ends, InputError)
    site = "2.resid_post" if ends == "above" else "1.resid_post"
    where = {"read": ["1.z", *also], "stop": "auto" if ends == "above" else "never"}
    if ends == "success":
        run(model, ids, edit=Edit(site, edit), **where)
    else:
        with pytest.raises(raised):
            run(model, ids, edit=Edit(site, edit), **where)
    assert n_hooks(model) == before
    assert torch.equal(logits(run(model, ids)), clean)
    assert torch.is_grad_enabled()
    assert model.lock.acquire(blocking=False)
    model.lock.release()


def test_hooks_sit_only_where_they_are_asked_for(tiny, ids) -> None:
    model = tiny("llama")
    before, during = n_hooks(model), []

    def count(x: Tensor) -> Tensor:
        during.append(n_hooks(model))
        return x

    run(model, ids, read="2.resid_post", edit=[Edit("1.z", count), Edit("1.resid_mid", count)])
    assert during == [before + 4] * 2, "one for each site, and the carry"


def test_threads_do_not_see_each_others_edits(tiny, ids, family, processing) -> None:
    model = tiny(family, processing)
    edits = [Edit("1.resid_post", lambda x: x * 2), Edit("0.mlp_out", shift(1.0))]
    expected = [logits(run(model, ids, edit=edit)) for edit in edits]
    wrong: list[str] = []

    def work(index: int, read: tuple[str, ...]) -> None:
        for _ in range(20):
            ran = run(model, ids, read=read, edit=edits[index], stop="never")
            if not torch.allclose(logits(ran), expected[index], atol=1e-5):
                wrong.append(f"edit {index} saw another's")
            if len(ran.receipt.moved) != 1 or set(ran.receipt.fired.values()) != {1}:
                wrong.append(f"receipt of {index}: {ran.receipt}")

    threads = [threading.Thread(target=work, args=job) for job in ((0, ()), (1, ("0.scores",)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Mistakes are told


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"read": "1.resid_pots"}, r"unknown site 'resid_pots'; did you mean resid_post"),
        ({"read": "*.resid_pots"}, r"matches no site; did you mean \*\.resid_post"),
        ({"read": ["1.zz", "0.z", "*.nil"]}, r"'zz'.*; glob '\*\.nil'"),
        ({"read": "3.z"}, "layers run from 0 to 2"),
        ({"read": "L1H6.z"}, "heads run from 0 to 5"),
        ({"read": "L1H2.k"}, "heads run from 0 to 1"),
        ({"read": "pos_embed"}, "this model has no site 'pos_embed'"),
        ({"read": lambda site: False}, "matches none of the model's"),
        ({"read": "2-0.z"}, "runs backwards"),
        ({"edit": Edit("1.resid_pots", torch.zeros_like)}, "did you mean resid_post"),
        ({"edit": Edit("*.resid_pots", torch.zeros_like)}, "did you mean"),
        ({"edit": Edit("L1H2.v", torch.zeros_like)}, "heads run from 0 to 1"),
        ({"edit": Edit("1.result", torch.zeros_like)}, r"computed from z .*edit 1\.z instead"),
        ({"edit": Edit("L1H1.result", torch.zeros_like)}, "computed from z"),
        ({"edit": Edit("1.z", lambda x: x[:, :3])}, r"shape \(2, 3, 6, 4\); expected \(2, 1"),
        ({"edit": Edit("L1H0.z", lambda x: x[..., None])}, r"L1H0\.z returned shape .*, 4, 1\)"),
        ({"edit": Edit("1.z", Tensor.double)}, r"dtype torch.float64; expected torch.float32"),
        ({"edit": Edit("1.z", lambda x: x.to("meta"))}, "device meta; expected cpu"),
        ({"edit": Edit("1.z", NOTHING)}, "returned NoneType; it must return the new tensor"),
        ({"edit": Edit("1.z", A_NUMBER)}, "returned float"),
        (
            {"edit": Edit("2.z", torch.zeros_like), "read": "1.z"},
            r"edit at 2\.z lies above the stop .* pass stop='never'",
        ),
        (
            {"edit": [Edit("1.z", torch.zeros_like), Edit("logits", Tensor.neg)], "read": "1.z"},
            "edit at logits lies above the stop",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told(tiny, ids, processing, how: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        run(tiny("llama", processing), ids, **how)


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (torch.zeros(1, 65, dtype=torch.long), "65 tokens, the model's context holds 64"),
        (torch.tensor([[1, 300]]), "token id 300 is outside the vocabulary of 300"),
        (torch.tensor([[-1, 3]]), "token id -1 is outside"),
        (torch.zeros(1, 0, dtype=torch.long), r"shape \[batch, pos\], not torch.int64 \(1, 0\)"),
    ],
)
def test_tokens_that_cannot_be_run_are_told(tiny, tokens: Tensor, told: str) -> None:
    with pytest.raises(InputError, match=told):
        run(tiny("gpt2"), tokens)


def test_a_native_models_pattern_cannot_be_edited(by_hand) -> None:
    letters = by_hand.tokenize("a b c a").tensor()
    with pytest.raises(InputError, match=r"1\.pattern cannot be edited .* edit z, or q, k and v"):
        run(by_hand, letters, edit=Edit("1.pattern", torch.zeros_like))
    assert Site("scores", 0) not in sites(by_hand)


def test_every_editable_site_of_a_native_model_changes_its_logits(by_hand) -> None:
    letters = by_hand.tokenize("a b c a b c").tensor()
    clean = logits(run(by_hand, letters))
    noise = torch.Generator().manual_seed(0)
    for site in sites(by_hand):
        if site.name not in ("result", "pattern"):
            ran = run(
                by_hand, letters,
                edit=Edit(site, lambda x: x + 1e5 * torch.randn(x.shape, generator=noise)),
            )  # fmt: skip
            assert float((logits(ran) - clean).abs().max()) > 1e-3, site


def test_a_moved_module_is_told(tiny_folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a release of the model library swap two modules, no number comes out."""
    model = load(str(tiny_folder("llama")), device="cpu")
    road = model.plain_road
    assert road is not None
    points = {**road.points, Site("mlp_out", 1): road.points[Site("mlp_out", 0)]}
    monkeypatch.setitem(model.__dict__, "plain_road", replace(road, points=points))
    with pytest.raises(RuntimeError, match=r"1\.mlp_out read from the model's own modules differs"):
        sites(model)

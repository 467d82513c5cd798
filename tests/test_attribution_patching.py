"""Attribution patching: gradients by other means, exact patching where it must agree."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge

from tests.test_sweep import components_of, pairs_of
from workbench.cache import Store
from workbench.errors import InputError
from workbench.hooks import Edit, run
from workbench.models import Model, from_ids, load
from workbench.models.by_hand import INDUCTION, LETTERS
from workbench.patching import METHODS, Metric, Sweep, attribute_patches, correlation, sweep
from workbench.sites import Site
from workbench.tasks import Pair, Pairs, task

SITES = ["resid_pre", "resid_post", "attn_out", "mlp_out", "z", "q", "k", "v", "pattern"]
SITES += ["mlp_post"]


def gradient_by_transformer_lens(
    model: Model, pair: Pair, site: Site, *, noising: bool, without: int | None = None
) -> tuple[Tensor, Tensor]:
    """Source less base activation and the gradient of the logit difference, of one pair.

    `without` a layer, what its attention and MLP write is detached.
    """
    clean, corrupted = (torch.tensor([tokens.ids]) for tokens in (pair.clean, pair.corrupted))
    base, other = (clean, corrupted) if noising else (corrupted, clean)
    taken: list[Tensor] = []

    def keep(tensor: Tensor, hook: object) -> Tensor:
        taken.append(tensor.clone())
        return taken[-1]

    hooks: list[Any] = [(site.long, keep)]
    if without is not None:
        names = [Site(name, without).long for name in ("attn_out", "mlp_out")]
        hooks += [(name, lambda tensor, hook: tensor.detach()) for name in names]
    with torch.no_grad():
        model.bridge.run_with_hooks(other, fwd_hooks=[(site.long, keep)])
    logits: Any = model.bridge.run_with_hooks(base, fwd_hooks=hooks)
    last = logits[0, -1]
    metric = last[list(pair.answers)].mean() - last[list(pair.wrongs)].mean()
    (slope,) = torch.autograd.grad(metric, taken[1], allow_unused=True)
    slope = torch.zeros_like(taken[1]) if slope is None else slope
    return taken[0][0] - taken[1][0].detach(), slope[0]


def expected(apart: Tensor, slope: Tensor, site: str, components: list[int] | None) -> Tensor:
    """The change by position and component, `[component, pos]`."""
    products = apart * slope
    if site == "pattern":
        return products.sum(-1)
    if site == "mlp_post":
        return products[:, components].T
    if components is None:
        return products.sum(-1)[None]
    return products.sum(-1).T[components]


def close(found: Tensor, wanted: Tensor) -> None:
    scale = float(wanted.abs().max())
    assert_close(found, wanted, atol=1e-4 * max(scale, 1e-2), rtol=1e-3)


@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("site", SITES)
def test_equal_to_autograd_through_transformer_lens(tiny, family, site, direction) -> None:
    model = tiny(family)
    pairs = pairs_of(model, 6, 6, seed=len(site))
    components = components_of(model, site)
    layers = [0, 2] if site == "mlp_post" else [0, 1, 2]
    asked: Any = {"direction": direction, "layers": layers, "components": components}
    each = attribute_patches(model, pairs, site, **asked)
    whole = attribute_patches(model, pairs, site, places="all", **asked)
    for number, layer in enumerate(layers):
        for row, pair in enumerate(pairs):
            apart, slope = gradient_by_transformer_lens(
                model, pair, Site(site, layer), noising=direction == "noising"
            )
            wanted = expected(apart, slope, site, components)
            close(each.changes[number, ..., row], wanted)
            close(whole.changes[number, ..., row], wanted.sum(-1, keepdim=True))
    assert (each.forwards, each.backwards) == (1, 1)
    exact = sweep(model, pairs, site, **asked)
    assert_close(each.clean, exact.clean, atol=1e-5, rtol=1e-5)
    assert correlation(exact, each).cells == exact.values.numel()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_at_resid_mid_the_gradient_is_that_of_attn_out(tiny, family: str) -> None:
    model = tiny(family)
    pairs = pairs_of(model, 6, 6)
    found = attribute_patches(model, pairs, "resid_mid")
    for layer in range(3):
        for row, pair in enumerate(pairs):
            _, slope = gradient_by_transformer_lens(
                model, pair, Site("attn_out", layer), noising=False
            )
            mids = [
                run(model, torch.tensor([tokens.ids]), read=f"{layer}.resid_mid")
                for tokens in (pair.clean, pair.corrupted)
            ]
            clean, corrupted = (mid[f"{layer}.resid_mid"][0] for mid in mids)
            close(found.changes[layer, 0, :, row], ((clean - corrupted) * slope).sum(-1))


def native(attn_only: bool = True, **more: Any) -> Model:
    """A model of TransformerLens' own kind without norms, weights drawn by lot."""
    sizes: Any = {"d_model": 32, "d_head": 8, "n_heads": 3, "d_mlp": 20, "n_layers": 3}
    config = TransformerBridgeConfig(
        **(sizes | more), n_ctx=16, d_vocab=LETTERS.size, attn_only=attn_only,
        normalization_type=None, act_fn="gelu", seed=0,
    )  # fmt: skip
    bridge = TransformerBridge.boot_native(config)
    drawn = torch.Generator().manual_seed(1)
    for parameter in bridge.original_model.parameters():
        parameter.data.normal_(0.0, 0.2, generator=drawn)
    return Model(
        "native", build=lambda: bridge, plain=None, vocabulary=LETTERS, processing="raw",
        config={}, family="native",
    )  # fmt: skip


def evenly(model: Model) -> Model:
    """The same with attention that is even whatever is read: a linear model."""
    for name, parameter in model.weights.named_parameters():
        if ".attn." in name and (".q." in name or ".k." in name):
            parameter.data.zero_()
    ids = torch.tensor([[1, 2, 3]])
    assert float(run(model, ids, read="0.pattern")["0.pattern"][0, 0, 2, 0]) == pytest.approx(1 / 3)
    return model


@pytest.mark.parametrize("method", METHODS)
def test_exact_on_a_linear_model(method: str) -> None:
    model = evenly(native())
    pairs = pairs_of(model, 6, 7)
    for site in ("resid_pre", "resid_post", "attn_out", "z", "v"):
        for direction in ("denoising", "noising"):
            both: Any = {"places": ["middle", "end"], "direction": direction}
            exact = sweep(model, pairs, site, **both)
            found = attribute_patches(model, pairs, site, method=method, steps=2, **both)
            assert float(exact.changes.abs().max()) > 1e-2
            assert_close(found.values, exact.values, atol=1e-5, rtol=1e-5)
            assert_close(found.effects().mean, exact.effects().mean, atol=1e-4, rtol=1e-4)
    assert correlation(exact, found).r == pytest.approx(1)


# AtP*: the pattern made anew


def induction_pair(clean: str, corrupted: str, answer: str, wrong: str) -> Pairs:
    def ids(text: str) -> list[int]:
        return [LETTERS.encode(letter)[0][0] for letter in text.split()]

    clean_tokens, corrupted_tokens = (
        from_ids(LETTERS, ids(text), bos=False) for text in (clean, corrupted)
    )
    pair = Pair(clean_tokens, corrupted_tokens, tuple(ids(answer)), tuple(ids(wrong)))
    return Pairs("by hand", (pair,))


@pytest.mark.parametrize(
    ("site", "clean", "corrupted", "place", "directions"),
    [
        ("q", "<bos> a b c d a", "<bos> a b c d c", 5, ("denoising", "noising")),
        ("k", "<bos> a b c d a", "<bos> e b c d a", 2, ("noising",)),
    ],
)
def test_a_saturated_softmax_is_seen(by_hand, site, clean, corrupted, place, directions) -> None:
    """Attention of exactly 1 has no slope: AtP sees nothing, though the answer depends on it."""
    pairs = induction_pair(clean, corrupted, "b", "d")
    for direction in directions:
        asked: Any = {"layers": [INDUCTION.layer], "direction": direction}
        exact = sweep(by_hand, pairs, site, **asked).changes
        cell = (0, INDUCTION.head, place, 0)
        assert float(exact[cell].abs()) > 5
        for method, seen in (("AtP", False), ("AtP*", True)):
            found = attribute_patches(by_hand, pairs, site, method=method, **asked)
            if seen:  # the last layer, no norm: linear from the pattern on
                assert_close(found.changes, exact, atol=1e-4, rtol=1e-4)
            else:
                assert float(found.changes[cell].abs()) < 1e-4


def test_a_key_that_is_not_seen_yet(by_hand) -> None:
    """The other way round the base attends evenly: a slope of 1000 is no estimate."""
    pairs = induction_pair("<bos> a b c d a", "<bos> e b c d a", "b", "d")
    exact = sweep(by_hand, pairs, "k", layers=[1])
    estimates = {
        method: attribute_patches(by_hand, pairs, "k", layers=[1], method=method)
        for method in ("AtP", "AtP*")
    }
    assert_close(estimates["AtP*"].values, exact.values, atol=1e-4, rtol=1e-4)
    assert float((estimates["AtP"].values - exact.values).abs().max()) > 100


@pytest.mark.parametrize("name", ["q", "k"])
@pytest.mark.parametrize("places", ["each", "all"])
def test_the_pattern_is_that_of_a_run_of_its_own(tiny, family, name: str, places) -> None:
    model = tiny(family)
    (pair,) = pairs = pairs_of(model, 7, seed=3)
    components = components_of(model, name)
    assert components is not None
    found = attribute_patches(
        model, pairs, name, places=places, method="AtP*", components=components[::-1][:2]
    )
    clean, corrupted = (torch.tensor([tokens.ids]) for tokens in (pair.clean, pair.corrupted))
    for layer in range(3):
        source = run(model, clean, read=f"{layer}.{name}")[f"{layer}.{name}"]
        base = run(model, corrupted, read=f"{layer}.pattern")[f"{layer}.pattern"][0]
        _, slope = gradient_by_transformer_lens(model, pair, Site("pattern", layer), noising=False)
        for part, component in enumerate(components[::-1][:2]):
            for number in range(len(found.places)):
                at = slice(None) if places == "all" else number

                def put(x: Tensor, at=at, component=component, source=source) -> Tensor:
                    x[:, at, component] = source[:, at, component]
                    return x

                site = f"{layer}.pattern"
                moved = run(model, corrupted, edit=Edit(f"{layer}.{name}", put), read=site)[site][0]
                close(found.changes[layer, part, number, 0], ((moved - base) * slope).sum())


def test_atp_star_comes_nearer_where_attention_is_sharp(tiny) -> None:
    model = tiny("llama")
    pairs = pairs_of(model, 8, 8, 8, first=2)
    for name in ("q", "k"):
        exact = sweep(model, pairs, name)
        plain, star = (
            attribute_patches(model, pairs, name, method=method) for method in ("AtP", "AtP*")
        )
        errors = [float((x.values - exact.values).norm()) for x in (plain, star)]
        assert errors[1] < errors[0]


# AtP*: GradDrop


def test_effects_that_cancel_by_hand() -> None:
    """L0 copies tokens, evenly mixed, into a second slot; L1 takes what it adds at the end off."""
    length, share, size = 4, 5.0, LETTERS.size
    model = evenly(native(d_model=2 * size, d_head=size, n_heads=1, n_layers=2))
    eye, none = torch.eye(size), torch.zeros(size, size)
    with torch.no_grad():
        for parameter in model.weights.parameters():
            parameter.zero_()
        bridge: Any = model.bridge
        bridge.embed.original_component.weight.copy_(torch.cat([eye, none], 1))
        bridge.unembed.original_component.weight.copy_(torch.cat([eye, eye], 1))
        reads = (torch.cat([eye, none], 1), torch.cat([none, eye], 1))
        for block, read, factor in zip(bridge.blocks, reads, (share, -length), strict=True):
            block.attn.v.original_component.weight.copy_(read)
            block.attn.o.original_component.weight.copy_(factor * torch.cat([none, eye], 0))
    pairs = induction_pair("<bos> x y a", "<bos> x y b", "a", "b")
    exact = sweep(model, pairs, "z", layers=[0]).changes
    found = attribute_patches(model, pairs, "z", layers=[0], method="AtP*")
    assert_close(exact[0, 0, 3, 0], torch.tensor(0.0), atol=1e-5, rtol=0)
    assert_close(found.changes[0, 0, 3, 0], torch.tensor(0.0), atol=1e-5, rtol=0)
    # z moves by 1/4 from b to a, so share/4 of each logit; without L1 that is all there is.
    assert_close(found.magnitude[0, 0, 3, 0], torch.tensor(2 * share / length))
    plain = attribute_patches(model, pairs, "z", layers=[0])
    assert float(plain.magnitude[0, 0, 3, 0]) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("site", ["resid_pre", "resid_post", "z", "mlp_out", "v"])
def test_gradients_are_dropped_as_if_layers_were_detached(tiny, family, site: str) -> None:
    model = tiny(family)
    (pair,) = pairs = pairs_of(model, 6)
    components = components_of(model, site)
    found = attribute_patches(model, pairs, site, method="AtP*")
    for layer in range(3):
        layers = range(3) if site.startswith("resid") else [x for x in range(3) if x != layer]
        sizes = [
            expected(
                *gradient_by_transformer_lens(
                    model, pair, Site(site, layer), noising=False, without=without
                ),
                site,
                components,
            ).abs()
            for without in layers
        ]
        close(found.magnitude[layer, ..., 0], torch.stack(sizes).mean(0))
    assert found.backwards <= 4


def test_one_layer_alone_has_nothing_to_drop() -> None:
    model = native(n_layers=1)
    found = attribute_patches(model, pairs_of(model, 6), "z", method="AtP*")
    assert_close(found.magnitude, found.changes.abs(), atol=1e-6, rtol=1e-5)


# Integrated gradients


@pytest.mark.parametrize("site", ["resid_pre", "resid_mid", "resid_post", "attn_out", "k"])
def test_integrated_gradients_sum_to_the_whole_effect(tiny, family, site: str) -> None:
    if (family, site) == ("neox", "resid_mid"):
        pytest.skip("attention and MLP side by side: no residual between them")
    model = tiny(family)
    pairs = pairs_of(model, 6, 6, first=1)
    found = attribute_patches(model, pairs, site, method="IG", steps=128)
    if site == "k":  # all heads together: by a run of its own
        clean, corrupted = (
            torch.tensor([getattr(pair, side).ids for pair in pairs])
            for side in ("clean", "corrupted")
        )
        source = run(model, clean, read="1.k")["1.k"]
        logits = run(model, corrupted, edit=Edit("1.k", lambda _: source)).logits
        assert logits is not None
        answers, wrongs = (
            torch.stack([row[-1, list(ids)].mean() for row, ids in zip(logits, some, strict=True)])
            for some in ([pair.answers for pair in pairs], [pair.wrongs for pair in pairs])
        )
        exact = (answers - wrongs - found.corrupted)[None]
        total = found.changes[1:2].sum((1, 2))
    else:
        exact = sweep(model, pairs, site, places="all").changes[:, 0, 0]
        total = found.changes[:, 0].sum(1)
    assert_close(total, exact, atol=0.01 * float(exact.abs().max()), rtol=0.01)
    assert found.steps == 128


def test_more_steps_bring_the_sum_nearer(tiny) -> None:
    model = tiny("gpt2")
    pairs = pairs_of(model, 6, 6, first=1)
    exact = sweep(model, pairs, "resid_pre", places="all")
    errors = [
        float((attribute_patches(
            model, pairs, "resid_pre", places="all", method="IG", steps=steps
        ).values - exact.values).abs().max())
        for steps in (1, 4, 16, 64)
    ]  # fmt: skip
    assert all(later < earlier for earlier, later in pairwise(errors))


# The same numbers by other ways


@pytest.mark.parametrize("method", METHODS)
def test_memory_lengths_stores_and_progress(tiny, tmp_path, method: str) -> None:
    model = tiny("llama")
    pairs = pairs_of(model, 6, 8, 6, 6)
    asked: Any = {"places": ["middle", "end"], "method": method, "steps": 3}
    seen: list[tuple[int, int]] = []
    roomy = attribute_patches(
        model, pairs, "z", **asked, progress=lambda *x: seen.append(x), store=Store(tmp_path)
    )
    assert seen == [(n, 6) for n in range(1, 7)]
    tight = attribute_patches(model, pairs, "z", **asked, memory=150_000, store=Store(tmp_path))
    assert tight.forwards > roomy.forwards
    assert_close(tight.values, roomy.values, atol=1e-5, rtol=1e-4)
    for row, pair in enumerate(pairs):
        alone = attribute_patches(model, Pairs("one", (pair,)), "z", **asked)
        assert_close(alone.values[..., 0], roomy.values[..., row], atol=1e-5, rtol=1e-4)
    with pytest.raises(InputError, match=r"give more memory"):
        attribute_patches(model, pairs, "z", **asked, memory=1000)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision(tiny_folder, tiny, method: str) -> None:
    model = load(str(tiny_folder("llama")), device="cpu", dtype="bfloat16")
    pairs = pairs_of(tiny("llama"), 6, 6, 6, first=1)
    for site in ("resid_pre", "k"):
        asked: Any = {"method": method, "steps": 8, "places": "each"}
        half = attribute_patches(model, pairs, site, **asked)
        full = attribute_patches(tiny("llama"), pairs, site, **asked)
        assert half.values.dtype == torch.float32
        assert correlation(full, replace(half, clean=full.clean, corrupted=full.corrupted)).r > 0.9


def test_folded_weights_give_the_same(tiny, family) -> None:
    pairs = pairs_of(tiny(family), 6, 6)
    raw, folded = (attribute_patches(tiny(family, how), pairs, "z") for how in ("raw", "folded"))
    assert_close(raw.changes, folded.changes, atol=1e-4, rtol=1e-2)


def test_a_model_of_transformer_lens_own_kind() -> None:
    model = native(attn_only=False)
    pairs = pairs_of(model, 6, 6)
    for site in ("resid_pre", "mlp_out", "z", "q"):
        found = attribute_patches(model, pairs, site)
        for row, pair in enumerate(pairs):
            by = gradient_by_transformer_lens(model, pair, Site(site, 1), noising=False)
            wanted = expected(*by, site, components_of(model, site))
            close(found.changes[1, ..., row], wanted)
        assert float(attribute_patches(model, pairs, site, method="AtP*").magnitude.max()) > 0


# Correlation


def test_correlation_by_hand(tiny) -> None:
    model = tiny("gpt2")
    pairs = pairs_of(model, 6, 6)
    exact = sweep(model, pairs, "resid_pre", layers=[0])
    base = exact.corrupted
    numbers = torch.arange(12.0).reshape(1, 1, 6, 2)
    up, down = (replace(exact, values=base + sign * 3 * numbers) for sign in (1, -1))
    assert correlation(up, down).r == pytest.approx(-1)
    assert correlation(up, up).cells == 12
    assert correlation(up, down, of_means=True).cells == 6
    refused: list[tuple[Sweep, str]] = [
        (replace(up, layers=(1,)), "differ in layers"),
        (replace(up, direction="noising"), "differ in direction"),
        (replace(up, clean=up.clean + 1), "of other pairs"),
        (
            replace(up, clean=up.clean[:1], corrupted=base[:1], values=up.values[..., :1]),
            "2 and 1 pairs",
        ),
        (replace(up, values=base.expand(1, 1, 6, 2)), "constant over them"),
    ]
    for other, told in refused:
        with pytest.raises(InputError, match=told):
            correlation(up, other)


# Refusals, and that nothing is left behind


def nothing(logits: Tensor, wanted: object) -> Tensor:
    return logits[..., 0] * torch.nan


def steep(logits: Tensor, wanted: object) -> Tensor:
    """Finite, with a slope that is not."""
    return (logits[..., 0] * 0).sqrt() + logits[..., 1]


class Weary(Exception):
    pass


def give_up(done: int, total: int) -> None:
    if done == 2:
        raise Weary("given up")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("site", "more", "told"),
    [
        ("z", {}, None),
        ("z", {"metric": "top-1 accuracy"}, "has no gradient, .* or run the exact sweep"),
        ("z", {"metric": nothing}, "nothing is not finite"),
        ("z", {"metric": steep}, "gradient of steep at z is not finite"),
        ("z", {"layers": [3]}, "layers run from 0 to 2"),
        ("q", {"places": [9]}, "position 9 is beyond the prompt"),
        ("z", {"progress": give_up}, "given up"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_nothing_is_left_behind(tiny, family, method: str, site: str, more, told) -> None:
    model = tiny(family)
    trees = (model.weights, model.bridge)
    parameters = list(dict.fromkeys(p for tree in trees for p in tree.parameters()))
    ids = torch.tensor([[1, 2, 3]])
    before = run(model, ids).logits
    once, held = parameters[0], torch.ones_like(parameters[1])
    was = once.requires_grad
    once.requires_grad_(False)
    parameters[1].grad = held
    flags = [parameter.requires_grad for parameter in parameters]
    frozen: list[bool] = []

    def watch(done: int, total: int) -> None:
        frozen.append(any(parameter.requires_grad for parameter in parameters))

    try:
        if told is None:
            attribute_patches(model, pairs_of(model, 6), site, method=method, progress=watch)
            assert frozen == [False] * 3
        else:
            with pytest.raises((InputError, Weary), match=told):
                attribute_patches(model, pairs_of(model, 6), site, method=method, **more)
        assert [parameter.requires_grad for parameter in parameters] == flags
        assert parameters[1].grad is held
        assert bool((held == 1).all())
        assert all(parameter.grad is None for parameter in (once, *parameters[2:]))
        after = run(model, ids).logits
        assert before is not None and after is not None
        assert torch.equal(before, after) and not after.requires_grad
        assert torch.is_grad_enabled()
        hooks = [module for tree in trees for module in tree.modules() if module._forward_hooks]
        assert not [module for module in hooks if "partial" in str(module._forward_hooks)]
    finally:
        once.requires_grad_(was)
        parameters[1].grad = None


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"method": "ACDC"}, r"method 'ACDC' is not one of AtP, AtP\*, IG"),
        ({"method": "IG", "steps": 0}, "in 0 steps; give at least 1"),
        ({"direction": "both"}, "not one of denoising, noising"),
        ({"metric": "KL", "direction": "noising"}, "flat at the clean run"),
        ({"metric": Metric("one", lambda x, _: x[..., 0] * 0 + 1)}, "flat at the base run"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_mistake_is_told(tiny, more, told: str) -> None:
    with pytest.raises(InputError, match=told):
        attribute_patches(tiny("gpt2"), pairs_of(tiny("gpt2"), 6), "z", **more)


def test_kl_of_the_clean_run_has_integrated_gradients(tiny) -> None:
    model = tiny("gpt2")
    pairs = pairs_of(model, 6, 6, first=1)
    both: Any = {"metric": "KL", "direction": "noising", "places": "all"}
    exact = sweep(model, pairs, "resid_pre", **both)
    found = attribute_patches(model, pairs, "resid_pre", method="IG", steps=128, **both)
    assert_close(found.values, exact.values, atol=0.05, rtol=0.02)


# How near it comes


def test_how_near_it_comes_on_tiny_models(tiny, family) -> None:
    """Random weights of standard deviation 0.3: far from linear, and still no noise."""
    model = tiny(family)
    pairs = pairs_of(model, 8, 8, 8, 8, seed=2)
    exact = sweep(model, pairs, "z")
    for method in METHODS:
        found = attribute_patches(model, pairs, "z", method=method)
        assert correlation(exact, found).r > (0.8 if family == "llama" else 0.99)


@pytest.mark.real_model
@pytest.mark.parametrize(
    ("name", "corruption", "least"),
    [
        ("capitals", None, 0.94),
        ("ioi", "s2-third", 0.93),
        ("ioi", "s2-io", 0.75),
    ],
)
def test_heads_of_the_real_model(smollm2, name: str, corruption: str | None, least: float) -> None:
    """Measured: .97, .99 and .86 with 4 to 6 pairs; the last turns the answer round."""
    pairs = task(name).pairs(smollm2, 4, corruption=corruption)
    exact = sweep(smollm2, pairs, "z", places="all")
    found = attribute_patches(smollm2, pairs, "z", places="all")
    means = correlation(exact, found, of_means=True)
    assert means.cells == 270
    assert means.r > least, f"{means}, {correlation(exact, found)} over single pairs"

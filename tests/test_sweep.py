"""Patching sweeps: each number is what one forward of its own by TransformerLens gives."""

import itertools
import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor
from torch.testing import assert_close

from workbench.cache import Store
from workbench.errors import InputError
from workbench.hooks import Edit, run
from workbench.models import Model, from_ids
from workbench.patching import MEASURES, SWEPT, Metric, Sweep, sweep
from workbench.patching.metric import Wanted, logit_difference
from workbench.patching.rows import batches, rows_of
from workbench.patching.statistics import normalised
from workbench.sites import Site
from workbench.tasks import Pair, Pairs


def pairs_of(model: Model, *lengths: int, seed: int = 0, first: int | None = None) -> Pairs:
    """Random prompts, clean and corrupted alike before a position drawn by lot."""
    drawn = torch.Generator().manual_seed(seed)
    size = min(model.architecture.d_vocab, model.vocabulary.size)

    def ids(n: int) -> list[int]:
        return torch.randint(1, size, (n,), generator=drawn).tolist()

    rows = []
    for length in lengths:
        clean, other = ids(length), ids(length)
        at = int(torch.randint(length, (1,), generator=drawn)) if first is None else first
        corrupted = [*clean[:at], other[at] % (size - 1) + 1, *other[at + 1 :]]
        corrupted[at] = corrupted[at] if corrupted[at] != clean[at] else clean[at] % (size - 1) + 1
        answers = ids(2)
        wrong = next(token for token in range(1, size) if token not in answers)
        one, two = (from_ids(model.vocabulary, row, bos=False) for row in (clean, corrupted))
        rows.append(Pair(one, two, tuple(answers), (wrong,), {"middle": length // 2}))
    return Pairs("random", tuple(rows))


def by_transformer_lens(
    model: Model, pair: Pair, site: Site, component: int | None, position: int, noising: bool
) -> Tensor:
    """The logits of one forward with one hook; position -1 patches all."""
    clean, corrupted = (torch.tensor([tokens.ids]) for tokens in (pair.clean, pair.corrupted))
    base, other = (clean, corrupted) if noising else (corrupted, clean)
    taken: list[Tensor] = []

    def keep(tensor: Tensor, hook: object) -> None:
        taken.append(tensor.clone())

    def put(tensor: Tensor, hook: object) -> Tensor:
        where = [slice(None), slice(None) if position < 0 else position]
        where += [] if component is None else [component]
        by_position = (1, 2) if site.name == "pattern" else (0, 0)
        tensor.transpose(*by_position)[tuple(where)] = taken[0].transpose(*by_position)[
            tuple(where)
        ]
        return tensor

    with torch.no_grad():
        model.bridge.run_with_hooks(other, fwd_hooks=[(site.long, keep)])
        return model.bridge.run_with_hooks(base, fwd_hooks=[(site.long, put)])[0]


def difference(logits: Tensor, pair: Pair, at: int = -1) -> float:
    last = logits[at]
    return float(last[list(pair.answers)].mean() - last[list(pair.wrongs)].mean())


def components_of(model: Model, site: str) -> list[int] | None:
    if site == "mlp_post":
        return [0, 3, 39]
    heads = model.architecture.n_kv_heads if site in "kv" else model.architecture.n_heads
    return list(range(heads)) if site in ("z", "q", "k", "v", "pattern") else None


def check(model: Model, pairs: Pairs, found: Sweep, components: list[int] | None) -> None:
    """A handful of cells, drawn by lot, against a forward of their own."""
    drawn = random.Random(len(found.site))
    for _ in range(10):
        number, row = drawn.randrange(len(found.layers)), drawn.randrange(len(pairs))
        place = drawn.randrange(len(found.places))
        part = drawn.randrange(len(found.components))
        name, pair = found.places[place], pairs.rows[row]
        position = -1 if name == "all" else pair.at(int(name) if name.isdigit() else name)
        logits = by_transformer_lens(
            model,
            pair,
            Site(found.site, found.layers[number]),
            components[part] if components else None,
            position,
            found.direction == "noising",
        )
        value = float(found.values[number, part, place, row])
        assert value == pytest.approx(difference(logits, pair), abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("places", ["each", "all"])
@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("site", [site for site in SWEPT if site != "resid_mid"])
def test_equal_to_one_forward_per_site(tiny, family: str, site: str, direction, places) -> None:
    model = tiny(family)
    pairs = pairs_of(model, 6, 6, 6, seed=len(site))
    components = components_of(model, site)
    layers = [0, 2] if site == "mlp_post" else None
    found = sweep(
        model, pairs, site, direction=direction, places=places, layers=layers,
        components=components,
    )  # fmt: skip
    check(model, pairs, found, components)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_resid_mid_is_what_the_mlp_and_the_stream_get(tiny, family: str) -> None:
    """TransformerLens' own hook edits one branch; ours is an edit of attn_out by the difference."""
    model = tiny(family)
    pairs = pairs_of(model, 6, 6)
    found = sweep(model, pairs, "resid_mid")
    for layer, place in ((0, 3), (2, 5)):
        for row, pair in enumerate(pairs):
            ids = [torch.tensor([tokens.ids]) for tokens in (pair.corrupted, pair.clean)]
            mid, clean = (run(model, one, read=f"{layer}.resid_mid") for one in ids)
            change = torch.zeros_like(mid[f"{layer}.resid_mid"])
            both = (one[f"{layer}.resid_mid"][:, place] for one in (clean, mid))
            change[:, place] = next(both) - next(both)
            logits = run(
                model, ids[0], edit=Edit(f"{layer}.attn_out", lambda x, by=change: x + by)
            ).logits
            assert logits is not None
            value = float(found.values[found.layers.index(layer), 0, place, row])
            assert value == pytest.approx(difference(logits[0], pair), abs=1e-5, rel=1e-5)


@given(
    lengths=some.lists(some.integers(3, 9), min_size=1, max_size=4),
    seed=some.integers(0, 99),
    site=some.sampled_from(["resid_pre", "resid_post", "z", "attn_out"]),
)
@settings(max_examples=12, deadline=None)
def test_ragged_pairs_at_named_places(tiny, lengths: list[int], seed: int, site: str) -> None:
    model = tiny("llama")
    pairs = pairs_of(model, *lengths, seed=seed)
    found = sweep(model, pairs, site, places=["middle", "end"])
    check(model, pairs, found, components_of(model, site))


def test_the_model_without_a_cache(by_hand: Model) -> None:
    pairs = pairs_of(by_hand, 6, 6, seed=1)
    for site in ("resid_pre", "z"):
        check(by_hand, pairs, sweep(by_hand, pairs, site), components_of(by_hand, site))


def test_a_metric_before_the_end(tiny) -> None:
    """What is patched after the metric's place does not reach it."""
    model = tiny("gpt2")
    pairs = pairs_of(model, 7, first=1)
    found = sweep(model, pairs, "resid_pre", metric=Metric.named("logit difference", at=3))
    (pair,) = pairs
    for place in range(7):
        logits = by_transformer_lens(model, pair, Site("resid_pre", 1), None, place, False)
        expected = difference(logits, pair, at=3)
        assert float(found.values[1, 0, place, 0]) == pytest.approx(expected, abs=1e-5)


def entropy(logits: Tensor, wanted: object) -> Tensor:
    return torch.special.entr(logits.softmax(-1)).sum(-1)


def likeliest_place(logits: Tensor, wanted: object) -> Tensor:
    """Positions taken together, earlier ones among them."""
    return logits[..., 3].softmax(-1).amax(-1, keepdim=True)


@pytest.mark.parametrize("measure", [entropy, likeliest_place])
def test_a_metric_of_ones_own_sees_all_positions(tiny, measure, monkeypatch) -> None:
    monkeypatch.setattr("workbench.patching.runs.LOGITS", 2 * 6 * 300)  # two rows at a time
    model = tiny("llama")
    pairs = pairs_of(model, 6, 6, first=2)
    found = sweep(model, pairs, "resid_post", metric=measure)
    assert (found.metric, found.at) == (measure.__name__, "all")
    for row, pair in enumerate(pairs):
        for layer, place in ((0, 4), (2, 2), (1, 0)):
            logits = by_transformer_lens(model, pair, Site("resid_post", layer), None, place, False)
            expected = float(measure(logits[None], None).mean())
            assert float(found.values[layer, 0, place, row]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("at", ["end", "all"])
def test_few_logits_give_the_same_logit_difference(tiny, family: str, at: str) -> None:
    """Of the answers and wrong tokens alone, and picked from the whole vocabulary."""
    model = tiny(family)
    pairs = pairs_of(model, 6, 6, 8)
    few = sweep(model, pairs, "z", places=["middle"], metric=Metric.named("logit difference", at))
    own = Metric("own", lambda logits, wanted: logit_difference(logits, wanted), at)
    all_ = sweep(model, pairs, "z", places=["middle"], metric=own)
    for name in ("values", "clean", "corrupted"):
        assert_close(getattr(few, name), getattr(all_, name), atol=1e-5, rtol=1e-5)


def test_every_measure_by_hand() -> None:
    logits = torch.tensor([[[2.0, 0.0, 1.0, -1.0]], [[0.0, 3.0, 0.0, 0.0]]])
    clean = torch.tensor([[[0.0, 0.0, 0.0, 0.0]], [[0.0, 3.0, 0.0, 0.0]]])
    wanted = Wanted(torch.tensor([[0, 2], [1, -1]]), torch.tensor([[3], [-1]]), clean)
    p = logits.softmax(-1)[:, 0]
    answers = [float(p[0, 0] + p[0, 2]), float(p[1, 1])]
    expected = {
        "logit difference": [1.5 + 1.0, 3.0],
        "probability": answers,
        "probability difference": [answers[0] - float(p[0, 3]), answers[1]],
        "log-prob": [math.log(answer) for answer in answers],
        "KL": [sum(0.25 * math.log(0.25 / float(x)) for x in p[0]), 0.0],
        "top-1 accuracy": [1.0, 1.0],
    }
    assert set(expected) == set(MEASURES)
    for name, values in expected.items():
        found = Metric.named(name)(logits, wanted)
        assert_close(found, torch.tensor(values), atol=1e-5, rtol=1e-5)


# Identities


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_patching_everything_is_the_other_run(tiny, family: str, direction) -> None:
    model = tiny(family)
    pairs = pairs_of(model, 6, 8)
    found = sweep(model, pairs, "resid_pre", places="all", direction=direction)
    other = found.clean if direction == "denoising" else found.corrupted
    for layer in range(3):
        assert_close(found.values[layer, 0, 0], other, atol=1e-5, rtol=1e-5)
    effects = found.effects()
    whole = torch.ones(3, 1, 1) if direction == "denoising" else torch.zeros(3, 1, 1)
    for bound in (effects.mean, effects.low, effects.high):
        assert_close(bound, whole, atol=1e-4, rtol=1e-4)


def test_before_the_prompts_part_nothing_changes(tiny) -> None:
    model = tiny("gpt2")
    pairs = pairs_of(model, 8, first=5)
    found = sweep(model, pairs, "z")
    assert torch.equal(found.values[:, :, :5], found.corrupted.expand(found.values[:, :, :5].shape))
    assert found.forwards <= 9, "positions that cannot matter are not run"


@given(
    starts=some.lists(some.integers(0, 11), min_size=1, max_size=40),
    most=some.integers(1, 200),
    reuse=some.booleans(),
)
def test_batches_hold_every_row_once(starts: list[int], most: int, reuse: bool) -> None:
    positions = torch.tensor([[start] for start in starts])
    rows = rows_of(positions, torch.zeros(len(starts), dtype=torch.long), None, 3, 2)
    seen = []
    for begin, batch in batches(rows, 12, most, reuse=reuse):
        assert bool((batch.start >= begin).all())
        assert len(batch) == 1 or len(batch) * (12 - begin) <= most
        assert reuse or begin == 0
        assert batch.layer.tolist() == sorted(batch.layer.tolist())
        seen += list(zip(*(x.tolist() for x in (batch.layer, batch.pair, batch.component)),
                         strict=True))  # fmt: skip
    expected = itertools.product(range(3), range(len(starts)), range(2))
    assert sorted(seen) == list(expected)


def test_small_memory_gives_the_same_numbers(tiny) -> None:
    model = tiny("llama")
    pairs = pairs_of(model, 8, 8, 8)
    roomy = sweep(model, pairs, "z")
    tight = sweep(model, pairs, "z", memory=400_000)
    assert tight.forwards > roomy.forwards
    assert tight.predicted < roomy.predicted
    assert_close(tight.values, roomy.values, atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match=r"one patched run of 8 tokens takes .* give more memory"):
        sweep(model, pairs, "z", memory=1000)


def test_a_store_is_read_and_filled(tiny, tmp_path) -> None:
    model, pairs, store = tiny("gpt2"), pairs_of(tiny("gpt2"), 6, 6), Store(tmp_path)
    first, again = (sweep(model, pairs, "resid_pre", store=store) for _ in range(2))
    assert_close(first.values, again.values, atol=1e-6, rtol=1e-6)
    assert store.size()[0] >= 12, "the residual of both runs of both pairs, three layers"


def test_effects_by_hand() -> None:
    clean, corrupted = torch.tensor([4.0, 2.0]), torch.tensor([0.0, 0.0])
    found = normalised(torch.tensor([[1.0, 2.0], [4.0, 2.0]]), clean, corrupted)
    assert_close(found.mean, torch.tensor([0.5, 1.0]))
    # Two pairs drawn twice: effect .25 (the first twice), .5 (both) or 1 (the second twice).
    assert (float(found.low[0]), float(found.high[0])) == (0.25, 1.0)
    assert (float(found.low[1]), float(found.high[1])) == (1.0, 1.0)


# Refusals


@pytest.mark.parametrize(
    ("site", "more", "told"),
    [
        ("resid", {}, "cannot be swept; give one of resid_pre"),
        ("resid_mid", {}, "no site '0.resid_mid'"),
        ("z", {"layers": [3]}, "layers run from 0 to 2"),
        ("z", {"components": [3]}, "z has no component 3; heads run from 0 to 2"),
        ("attn_out", {"components": [0]}, "neither heads nor neurons"),
        ("mlp_post", {}, "all neurons of 3 layers are"),
        ("z", {"places": ["S2"]}, "place 'S2' is not one of middle, end"),
        ("z", {"places": [9]}, "position 9 is beyond the prompt"),
        ("z", {"metric": Metric.named("KL", at=9)}, "position 9 is beyond the prompt"),
        ("z", {"metric": "logits"}, "metric 'logits' is not one of logit difference"),
        ("z", {"direction": "both"}, "not one of denoising, noising"),
        (
            "z",
            {"metric": Metric("nan", lambda x, _: x[..., 0] * torch.nan)},
            "nan is not finite on",
        ),
        ("z", {"metric": Metric("one", lambda x, _: x[..., 0] * 0 + 1)}, "have the same metric"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_mistake_is_told_and_nothing_leaks(tiny, site: str, more, told: str) -> None:
    model = tiny("neox")
    ids = torch.tensor([[1, 2, 3]])
    before = run(model, ids).logits
    flags = [parameter.requires_grad for parameter in model.weights.parameters()]
    with pytest.raises(InputError, match=told):
        sweep(model, pairs_of(model, 6), site, **more)
    after = run(model, ids).logits
    assert before is not None and after is not None
    assert torch.equal(before, after)
    assert [parameter.requires_grad for parameter in model.weights.parameters()] == flags


def test_prompts_of_several_lengths_have_no_common_positions(tiny) -> None:
    with pytest.raises(InputError, match=r"6, 8 tokens .* name places, such as middle, end"):
        sweep(tiny("gpt2"), pairs_of(tiny("gpt2"), 6, 8), "resid_pre")

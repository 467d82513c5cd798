"""Interventions: TransformerLens' hooks by hand, rows one by one, means by brute force."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from workbench.cache import Store
from workbench.corpus import Corpus, from_ids
from workbench.directions import Direction, from_tensor
from workbench.errors import InputError
from workbench.generation import generate
from workbench.hooks import Edit, run
from workbench.interventions import add, changed, mean, mean_norm, resample, within, zero
from workbench.models import Model, load, pad
from workbench.models import from_ids as tokens_of
from workbench.sites import Site

ROWS = [[5, 9, 11], [7, 3, 200, 41, 8, 19, 77], [12, 13, 14, 15, 90]]
PROMPTS = ["the cat", "an inn in the tin", "x"]


def logits(model: Model, ids: Tensor, edit: Edit | tuple[Edit, ...] = (), **more: Any) -> Tensor:
    found = run(model, ids, edit=edit, stop="never", **more).logits
    assert found is not None
    return found


def by_transformer_lens(
    model: Model, ids: Tensor, hooks: dict[str, Callable[[Tensor], Tensor]]
) -> Tensor:
    """Site name -> what a hook returns there, run by the model library itself."""
    with torch.no_grad():
        return model.bridge.run_with_hooks(
            ids,
            fwd_hooks=[
                (Site.parse(site).long, lambda x, hook, f=function: f(x))
                for site, function in hooks.items()
            ],
        )


def direction(seed: int = 0, site: str = "1.resid_post", width: int = 24) -> Direction:
    vector = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    return from_tensor(vector, site, name="random", made="drawn", model=None)


def put(x: Tensor, index: Any, value: Tensor | float) -> Tensor:
    x = x.clone()
    x[index] = value
    return x


@pytest.fixture
def corpus() -> Corpus:
    """Five contexts of nine tokens: BOS in front of each, and of a document inside two."""
    ids = np.random.default_rng(2).integers(1, 200, (5, 9))
    ids[:, 0] = ids[1, 4] = ids[3, 6] = 0
    return from_ids("drawn", ids, bos_id=0)


# By hand


HAND: dict[str, tuple[Callable[[], Edit], str, Callable[[Tensor], Tensor]]] = {
    "a site": (lambda: zero("1.attn_out"), "1.attn_out", torch.zeros_like),
    "a head": (lambda: zero("L1H2.z"), "1.z", lambda x: put(x, np.s_[:, :, 2], 0)),
    "a head's pattern": (
        lambda: zero("L1H2.pattern", -1), "1.pattern", lambda x: put(x, np.s_[:, 2, -1], 0)
    ),
    "queries": (
        lambda: zero("1.pattern", [3, 4]), "1.pattern", lambda x: put(x, np.s_[:, :, 3:5], 0)
    ),
    "positions": (
        lambda: zero("0.mlp_out", [2, -1]), "0.mlp_out", lambda x: put(x, np.s_[:, [2, -1]], 0)
    ),
    "neurons": (
        lambda: zero("1.mlp_post", units=[3, 17]), "1.mlp_post",
        lambda x: put(x, np.s_[..., [3, 17]], 0),
    ),
    "neurons at positions": (
        lambda: zero("1.mlp_post", 5, units=[3]), "1.mlp_post", lambda x: put(x, np.s_[:, 5, 3], 0)
    ),
    "a mask": (
        lambda: zero("1.resid_pre", torch.eye(2, 12, dtype=torch.bool)), "1.resid_pre",
        lambda x: put(x, torch.eye(2, 12, dtype=torch.bool), 0),
    ),
    "a direction": (
        lambda: add(direction(), -3.0), "1.resid_post", lambda x: x - 3 * direction().unit
    ),
    "a direction at a position, scaled": (
        lambda: add(direction(), 2.0, 4, scale=1.5), "1.resid_post",
        lambda x: put(x, np.s_[:, 4], x[:, 4] + 3 * direction().unit),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HAND)
def test_an_intervention_is_the_hook_by_hand(road, ids, what: str) -> None:
    model, also = road
    make, site, function = HAND[what]
    expected = by_transformer_lens(model, ids, {site: function})
    found = logits(model, ids, make(), read=also)
    assert float((expected - by_transformer_lens(model, ids, {})).abs().max()) > 1e-3
    assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_resampling_is_the_hook_by_hand(road, ids) -> None:
    model, also = road
    other = ids.flip(0).roll(3, 1)
    for site, index in (("1.z", np.s_[:]), ("L1H1.z", np.s_[:, :, 1]), ("0.mlp_out", np.s_[:])):
        whole = Site.parse(site).whole
        _, cache = model.bridge.run_with_cache(other)
        theirs = cache[whole.long]
        hooks = {str(whole): lambda x, i=index, t=theirs: put(x, i, t[i])}
        donor = run(model, other, read=[site, *also])[site]
        found = logits(model, ids, resample(site, donor), read=also)
        assert_close(found, by_transformer_lens(model, ids, hooks), atol=2e-4, rtol=1e-4, msg=site)


def test_a_mean_over_a_corpus_is_the_hook_by_hand(road, ids, corpus) -> None:
    model, also = road
    tokens = torch.from_numpy(corpus.ids).long()
    _, cache = model.bridge.run_with_cache(tokens)
    rows = cache["blocks.1.attn.hook_z"][tokens != 0]
    assert len(rows) == 45 - 7
    taken = mean(model, "L1H2.z", corpus, batch=2)
    hooks = {"1.z": lambda x: put(x, np.s_[:, :, 2], rows.mean(0)[2])}
    assert taken.rows == 38
    assert_close(
        logits(model, ids, taken.edits, read=also),
        by_transformer_lens(model, ids, hooks),
        atol=2e-4,
        rtol=1e-4,
    )


# Ablations whose answer is known


def test_without_all_of_a_head_its_result_is_gone(road, ids) -> None:
    model, also = road
    read = ["1.attn_out", "1.result", *also]
    clean = run(model, ids, read=read)
    ablated = run(model, ids, read=read, edit=zero("L1H1.z"))
    removed = clean["1.attn_out"] - clean["1.result"][:, :, 1]
    assert_close(ablated["1.attn_out"], removed, atol=1e-5, rtol=1e-5)
    assert not ablated["1.result"][:, :, 1].any()


def test_without_scores_attention_is_even_and_still_causal(tiny, family: str, ids) -> None:
    edit = zero("1.scores")
    pattern = run(tiny(family), ids, read="1.pattern", edit=edit)["1.pattern"]
    even = torch.ones(12, 12).tril() / torch.arange(1, 13)[:, None]
    assert_close(pattern, even.expand_as(pattern))


def test_half_precision_keeps_its_dtype(tiny_folder, family: str, ids, corpus) -> None:
    model = load(str(tiny_folder(family)), device="cpu", dtype="bfloat16")
    clean = run(model, ids, read="1.resid_post")["1.resid_post"]
    taken = mean(model, "1.resid_post", corpus)
    for edit, expected in (
        (add(direction(), 3.0), (clean.float() + 3 * direction().unit).bfloat16()),
        (resample("1.resid_post", clean.float() + 1), (clean.float() + 1).bfloat16()),
        (taken.edits[0], taken.values[Site("resid_post", 1)].bfloat16().expand_as(clean)),
    ):
        assert torch.equal(
            run(model, ids, read="1.resid_post", edit=edit)["1.resid_post"], expected
        )


def test_the_induction_head_is_needed(by_hand) -> None:
    prompt = by_hand.tokenize("q a b c d a").tensor()
    change = changed(by_hand, prompt, zero("L1H2.z", -1))
    b = by_hand.token_id("b")
    assert float(change.before[0, -1, b]) == pytest.approx(10.0, rel=1e-3)
    assert not change.after[0, -1].any()
    # Nowhere else does it do anything, and what is below the edit stays as it is.
    assert torch.equal(change.before[0, :-1], change.after[0, :-1])
    p = change.before[0, -1].softmax(-1)
    assert float(change.kl[0, -1]) == pytest.approx(float((p * (p * 27).log()).sum()), rel=1e-4)
    assert change.mean_kl == pytest.approx(float(change.kl[0, -1]) / 7, rel=1e-4)


def test_logits_that_are_not_numbers_are_told(by_hand) -> None:
    prompt = by_hand.tokenize("q a b c d a").tensor()
    spoiled = Edit("0.resid_post", lambda x: x * torch.nan)
    with pytest.raises(InputError, match="the run with the edit gives logits that are not finite"):
        changed(by_hand, prompt, spoiled)


def test_a_glob_is_all_its_sites(tiny, family: str, ids) -> None:
    model = tiny(family)
    each = tuple(zero(f"{layer}.attn_out", [2]) for layer in range(3))
    assert torch.equal(logits(model, ids, zero("*.attn_out", [2])), logits(model, ids, each))
    assert torch.equal(logits(model, ids, zero("0-2.attn_out", [2])), logits(model, ids, each))
    steered = tuple(add(direction(), 2.0, site=f"{layer}.resid_pre") for layer in range(3))
    found = logits(model, ids, add(direction(), 2.0, site="*.hook_resid_pre"))
    assert torch.equal(found, logits(model, ids, steered))


def test_resampling_everything_is_the_other_prompt(tiny, family: str, ids) -> None:
    model, other = tiny(family), ids.flip(1)
    theirs = run(model, other, read=["1.resid_post", "1.z", "0.mlp_out"])
    edits = tuple(resample(site, donor) for site, donor in theirs.activations.items())
    assert_close(logits(model, ids, edits), logits(model, other), atol=1e-5, rtol=1e-5)
    own = run(model, ids, read="*.z")
    same = tuple(resample(site, donor) for site, donor in own.activations.items())
    assert torch.equal(logits(model, ids, same), logits(model, ids))


# Steering


def test_steering_moves_by_strength_times_the_unit(road, ids) -> None:
    model, also = road
    read = ["1.resid_post", *also]
    clean = run(model, ids, read=read)["1.resid_post"]
    for strength in (-2.0, 0.5, 8.0):
        ran = run(model, ids, read=read, edit=add(direction(), strength))
        assert torch.equal(ran["1.resid_post"], clean + strength * direction().unit)
        assert ran.receipt.moved[0] == pytest.approx(abs(strength) * 24**0.5, rel=1e-5)


def test_strength_0_is_bit_for_bit_nothing(road, ids) -> None:
    model, also = road
    plain = logits(model, ids, read=also)
    ran = run(model, ids, read=also, edit=add(direction(), 0.0), stop="never")
    assert ran.logits is not None and torch.equal(ran.logits, plain)
    assert ran.receipt.moved == (0.0,)


def test_the_mean_norm_is_that_of_tokens_without_bos(tiny, family: str, corpus, tmp_path) -> None:
    model = tiny(family)
    resid = run(model, torch.from_numpy(corpus.ids).long(), read="1.resid_post")["1.resid_post"]
    expected = float(resid[torch.from_numpy(corpus.ids != 0)].norm(dim=-1).mean())
    assert mean_norm(model, "1.resid_post", corpus) == pytest.approx(expected, rel=1e-5)
    rows = [run(model, model.tokenize(t).tensor(), read="1.z")["1.z"][0, 1:] for t in PROMPTS]
    expected = float(torch.cat(rows).flatten(1).norm(dim=-1).mean())
    for _ in range(2):
        found = mean_norm(model, "1.z", PROMPTS, store=Store(tmp_path))
        assert found == pytest.approx(expected, rel=1e-5)


# Means


@pytest.mark.parametrize("site", ["*.resid_post", "L0H1.z", "1.mlp_post", "2.z"])
def test_means_are_those_of_brute_force(tiny, family: str, corpus, site: str) -> None:
    model = tiny(family)
    real = torch.from_numpy(corpus.documents != -1)
    taken = mean(model, site, corpus, batch=2)
    whole = run(model, torch.from_numpy(corpus.ids).long(), read=site)
    assert set(taken.values) == set(whole.activations)
    for place, tensor in whole.activations.items():
        assert_close(taken.values[place], tensor[real].mean(0), atol=1e-5, rtol=1e-5)
    assert taken.rows == int(real.sum()) and taken.rows_at is None
    assert taken.reference == f"5 x 9 tokens of drawn ({corpus.digest[:8]})"
    own = mean(model, site, corpus, per_position=True)
    assert own.rows_at is not None
    assert own.rows_at.tolist() == real.sum(0).tolist() and own.rows == taken.rows
    for place, tensor in whole.activations.items():
        for position in range(1, 9):
            expected = tensor[:, position][real[:, position]].mean(0)
            assert_close(own.values[place][position], expected, atol=1e-5, rtol=1e-5)


def test_means_over_prompts_count_every_token_alike(tiny, family: str, tmp_path) -> None:
    model = tiny(family)
    rows = [run(model, model.tokenize(t).tensor(), read="1.z")["1.z"][0] for t in PROMPTS]
    expected = torch.cat([row[1:] for row in rows]).mean(0)
    for store in (None, Store(tmp_path), Store(tmp_path)):
        taken = mean(model, "1.z", PROMPTS, batch=2, store=store)
        assert_close(taken.values[Site("z", 1)], expected, atol=1e-5, rtol=1e-5)
        assert (taken.rows, taken.reference) == (sum(map(len, rows)) - 3, "3 prompts")
    own = mean(model, "1.z", PROMPTS, batch=2, per_position=True)
    assert own.rows_at is not None
    for position, n in enumerate(own.rows_at.tolist()):
        there = [row[position] for row in rows if position < len(row)]
        assert n == (len(there) if position else 0)
        if position:
            found = own.values[Site("z", 1)][position]
            assert_close(found, torch.stack(there).mean(0), atol=1e-5, rtol=1e-5)


def test_each_position_gets_its_own_mean(tiny, family: str, corpus) -> None:
    """Where a position has no row (BOS), it stays; elsewhere it is the mean, in any padding."""
    model = tiny(family)
    table = mean(model, "1.z", corpus, per_position=True).values[Site("z", 1)]
    for side in ("left", "right"):
        batch = pad(ROWS, side=side)
        edits = mean(model, "1.z", corpus, per_position=True, mask=batch.mask).edits
        clean, ran = (
            run(model, batch.ids, mask=batch.mask, read="1.z", edit=e)["1.z"] for e in ((), edits)
        )
        for row, mask in enumerate(batch.mask):
            n = int(mask.sum())
            assert torch.equal(ran[row, mask][0], clean[row, mask][0])
            assert_close(ran[row, mask][1:], table[1:n], atol=0, rtol=0)


# Padded batches


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_batches_are_one_by_one(road, corpus, side) -> None:
    model, also = road
    batch = pad(ROWS, side=side)
    donors = run(model, batch.ids.flip(0), mask=batch.mask.flip(0), read=["1.z", *also])["1.z"]
    donors = torch.where(batch.mask[:, :, None, None], torch.nan_to_num(donors), torch.nan)
    taken = mean(model, "1.mlp_out", corpus)
    every: list[tuple[Callable[[Any], Edit], Any]] = [
        (lambda at: zero("L1H1.z", at), [1, -1]),
        (lambda at: zero("0.mlp_post", at, units=[4, 5]), None),
        (lambda at: add(direction(), 5.0, at), [-2]),
        (lambda at: add(direction(), 5.0, at), None),
        (lambda at: taken.edits[0], None),
        (lambda at: mean(model, "L0H1.z", corpus, at).edits[0], [0, 2]),
    ]
    for make, at in every:
        where = None if at is None else within(batch.mask, at)
        together = logits(model, batch.ids, make(where), mask=batch.mask, read=also)
        for number, row in enumerate(ROWS):
            alone = logits(model, torch.tensor([row]), make(at), read=also)
            found = together[number, batch.mask[number]]
            assert_close(found, alone[0], atol=2e-5, rtol=1e-4)
        assert bool(together[~batch.mask].isnan().all())
    put_in = logits(model, batch.ids, resample("1.z", donors, batch.mask), mask=batch.mask)
    for number, row in enumerate(ROWS):
        own = donors[number, batch.mask[number]][None]
        alone = logits(model, torch.tensor([row]), resample("1.z", own))
        assert_close(put_in[number, batch.mask[number]], alone[0], atol=2e-5, rtol=1e-4)
    with pytest.raises(InputError, match="NaN where it is put in; if its prompts are padded"):
        logits(model, batch.ids, resample("1.z", donors), mask=batch.mask)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.sampled_from(["left", "right"]),
    st.integers(-9, 8),
)
def test_a_position_within_each_prompt(lengths: list[int], side, position: int) -> None:
    batch = pad([list(range(n)) for n in lengths], side=side)
    if all(-n <= position < n for n in lengths):
        chosen = within(batch.mask, position)
        assert batch.ids[chosen].tolist() == [range(n)[position] for n in lengths]
    else:
        with pytest.raises(InputError, match=f"position {position} at row .* is outside"):
            within(batch.mask, position)


def test_what_padding_holds_is_left_alone() -> None:
    mask = torch.tensor([[False, True, True]])
    x = torch.randn(1, 3, 24)
    for edit in (
        zero("1.resid_post", mask),
        add(direction(), 3.0, mask),
        resample("1.resid_post", torch.ones(1, 3, 24), mask),
    ):
        new = edit.function(x)
        assert torch.equal(new[:, 0], x[:, 0]) and bool((new[:, 1:] != x[:, 1:]).all())


# Generation: the prompt first, then each new token


@pytest.mark.parametrize(
    ("positions", "prompt", "new"),
    [
        (None, range(6), True),
        ("new", [], True),
        (0, [0], False),
        ([-1, 1], [1, 5], False),
        (torch.tensor([[False, True, False, True, False, False]]), [1, 3], False),
    ],
)
def test_which_positions_are_steered_in_generation(tiny, positions, prompt, new: bool) -> None:
    """Against whole runs of every prefix, with the columns named by hand."""
    model = tiny("llama")
    tokens = model.tokenize("the cat")
    assert len(tokens) == 6
    edits = [add(direction(), 40.0, positions)]
    (row,) = generate(model, tokens, max_new_tokens=6, edits=edits, eos=False)
    for done in range(6):
        whole = torch.tensor([[*tokens.ids, *row.ids[:done]]])
        here = torch.zeros_like(whole, dtype=torch.bool)
        here[0, list(prompt)] = True
        here[0, 6:] = new
        found = logits(model, whole, add(direction(), 40.0, here))
        assert int(found[0, -1].argmax()) == row.ids[done]


def test_what_ablations_do_to_new_tokens(tiny, family: str, corpus) -> None:
    """A donor, a mean by position and numbered positions speak of the prompt alone."""
    model = tiny(family)
    tokens = model.tokenize("the cat")
    donor = run(model, tokens.tensor().roll(1), read="1.z")["1.z"]
    for edit, moves_new in (
        (resample("1.z", donor), False),
        (mean(model, "1.z", corpus, per_position=True).edits[0], False),
        (mean(model, "1.z", corpus).edits[0], True),
        (zero("1.z"), True),
        (zero("1.z", [2]), False),
        (zero("1.pattern", [2]), False),
    ):
        moved = []

        def function(x: Tensor, edit: Edit = edit, moved: list[bool] = moved) -> Tensor:
            new = edit.function(x)
            moved.append(bool((new != x).any()))
            return new

        generate(model, tokens, max_new_tokens=3, edits=[Edit(edit.site, function)], eos=False)
        assert moved == [True, moves_new, moves_new], edit.site


def test_generation_with_strength_0_is_the_models_own(tiny, family: str) -> None:
    model = tiny(family)
    drawn: dict[str, Any] = {"max_new_tokens": 8, "temperature": 1.5, "seed": 3}
    edits = [add(direction(), 0.0)]
    assert generate(model, PROMPTS, edits=edits, **drawn) == generate(model, PROMPTS, **drawn)


# Change


def test_what_moved_and_what_did_not_is_told(tiny, ids) -> None:
    model = tiny("gpt2")
    change = changed(model, ids, [zero("*.z"), zero("L0H1.z")])
    assert [str(site) for site, _ in change.moved] == ["0.z", "1.z", "2.z", "L0H1.z"]
    assert change.unmoved == (Site("z", 0, 1),), "it was zero already"
    assert torch.equal(change.after, logits(model, ids, zero("*.z")))


def test_changes_of_a_padded_batch(tiny, family: str) -> None:
    model, batch = tiny(family), pad(ROWS, side="left")
    change = changed(model, batch.ids, zero("1.attn_out"), mask=batch.mask)
    alone = [changed(model, torch.tensor([row]), zero("1.attn_out")).kl[0] for row in ROWS]
    assert_close(change.kl[batch.mask], torch.cat(alone), atol=1e-4, rtol=1e-3)
    assert change.mean_kl == pytest.approx(float(torch.cat(alone).mean()), rel=1e-3)
    assert bool(change.kl[~batch.mask].isnan().all())


# Mistakes


MISTAKES: list[tuple[Callable[[], Edit], str]] = [
    (lambda: zero("1.resid_pots"), "did you mean resid_post"),
    (lambda: zero("*.resid_pots", [1]), r"matches no site; did you mean \*\.resid_post"),
    (lambda: zero("9.z"), "layers run from 0 to 2"),
    (lambda: zero("L1H7.z", -1), "heads run from 0 to 2"),
    (lambda: zero("1.result"), "computed from z and cannot be edited"),
    (lambda: zero("1.z", 12), r"position 12 at 1\.z is outside the prompt of 12 tokens; give -12"),
    (lambda: zero("1.z", [0, -13]), "position -13 at 1.z is outside"),
    (lambda: zero("1.pattern", 12), "position 12 at 1.pattern is outside the prompt of 12"),
    (lambda: zero("1.z", torch.ones(2, 5, dtype=torch.bool)), r"\(2, 5\); .* need \(2, 12\)"),
    (lambda: zero("1.z", torch.ones(1, 12, dtype=torch.bool)), r"\(1, 12\); .* need \(2, 12\)"),
    (lambda: zero("1.mlp_post", units=[96]), "unit 96 is outside 1.mlp_post, whose .* 0 to 95"),
    (lambda: zero("1.mlp_post", units=[-1]), "unit -1 is outside"),
    (lambda: zero("1.mlp_post", units=[]), "no unit is named; give at least one"),
    (lambda: zero("1.z", []), r"positions \[\] should be whole numbers \(at least one\)"),
    (lambda: zero("1.*", [1]), "names sites of several shapes; with positions, give an edit"),
    (
        lambda: add(direction(width=25), 1.0),
        "has 25 values; the activation at 1.resid_post has 24: steer at a site of .* width",
    ),
    (lambda: add(direction(), float("nan")), r"strength nan \(scale 1\) is not a finite number"),
    (lambda: add(direction(), float("-inf")), "strength -inf"),
    (lambda: add(direction(), 1.0, scale=float("inf")), "scale inf"),
    (lambda: add(direction(), 0.0, 40), "position 40 at 1.resid_post is outside"),
    (lambda: resample("1.z", torch.ones(2, 11, 3, 8)), r"donor at 1\.z has shape \(2, 11, 3, 8\)"),
    (lambda: resample("1.z", torch.ones(1, 12, 3, 8)), "as many prompts, with as many tokens"),
    (lambda: resample("L1H1.z", torch.ones(2, 12, 3, 8)), r"has \(2, 12, 8\)"),
    (lambda: resample("1.z", torch.full((2, 12, 3, 8), torch.nan)), "NaN where it is put in"),
]


@pytest.mark.parametrize(("make", "told"), MISTAKES, ids=[told for _, told in MISTAKES])
def test_a_mistake_is_told_and_nothing_leaks(tiny, ids, make, told: str) -> None:
    model = tiny("gpt2")
    clean = logits(model, ids)
    with pytest.raises(InputError, match=told):
        run(model, ids, edit=[add(direction(), 3.0, site="0.resid_post"), make()])
    assert torch.equal(logits(model, ids), clean)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("positions", "told"),
    [
        ("old", "positions 'old' should be whole numbers .* 'new' for new tokens, or None"),
        ([1.5], r"positions \[1.5\] should be whole numbers"),
        ([True], "should be whole numbers"),
        (torch.tensor([1, 2]), r"are a mask, torch.bool \[batch, pos\]; given torch.int64 \(2,\)"),
    ],
)
def test_positions_of_no_sort(positions, told: str) -> None:
    with pytest.raises(InputError, match=told):
        zero("1.z", positions)


@pytest.mark.parametrize(
    ("site", "settings", "told"),
    [
        ("1.pattern", {}, "1.pattern has a value for each pair of positions"),
        ("*.nil", {}, "matches no site"),
        ((), {}, "no site is named"),
        ("1.z", {"reference": []}, "no prompt is given"),
        ("1.z", {"bos": True}, "no token but BOS"),
        ("1.z", {"reference": "the"}, None),
    ],
)
def test_references_that_give_no_mean(tiny, site, settings: dict, told: str | None) -> None:
    model = tiny("gpt2")
    reference = settings.get("reference", PROMPTS)
    if settings.get("bos"):
        reference = [tokens_of(model.vocabulary, [0], bos=True)]
    if told is None:
        assert mean(model, site, reference).rows == 1
        return
    with pytest.raises(InputError, match=told):
        mean(model, site, reference)


def test_a_prompt_longer_than_the_reference_is_refused(tiny, corpus, ids) -> None:
    edits = mean(tiny("gpt2"), "1.z", corpus, per_position=True).edits
    with pytest.raises(InputError, match="known for 9 positions, the prompt has 12; take a longer"):
        run(tiny("gpt2"), ids, edit=edits)
    mask = torch.ones(1, 5, dtype=torch.bool)
    edits = mean(tiny("gpt2"), "1.z", corpus, per_position=True, mask=mask).edits
    with pytest.raises(InputError, match=r"mask of the mean at 1.z has shape \(1, 5\); .* \(2, 7"):
        run(tiny("gpt2"), ids[:, :7], edit=edits)


@pytest.mark.parametrize("site", ["*.resid_post", "1.pattern"])
def test_a_norm_of_no_single_site(tiny, site: str) -> None:
    with pytest.raises(InputError, match="has no single length; name one site"):
        mean_norm(tiny("gpt2"), site, PROMPTS)

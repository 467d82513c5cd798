"""A padded batch is what its prompts are one by one; padding itself is nobody's number."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from workbench.cache import Store, capture
from workbench.errors import InputError
from workbench.hooks import Edit, Start, run
from workbench.models import Model, pad, positions_of

ROWS = [[5, 9, 11], [7, 3, 200, 41, 8, 19, 77], [12, 13, 14, 15, 90]]


def stretch(mask: Tensor) -> slice:
    first = int(mask.int().argmax())
    return slice(first, first + int(mask.sum()))


# Padding


@given(
    st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), min_size=1, max_size=5),
    st.sampled_from(["left", "right"]),
)
def test_pad_keeps_every_row(rows: list[list[int]], side) -> None:
    batch = pad(rows, side=side)
    for row, ids, mask in zip(rows, batch.ids, batch.mask, strict=True):
        assert ids[mask].tolist() == row
        assert positions_of(mask[None])[0][mask].tolist() == list(range(len(row)))
        assert bool(mask[-1 if side == "left" else 0])


@pytest.mark.parametrize("rows", [[], [[]], [[1], []]])
def test_no_empty_prompts(rows) -> None:
    with pytest.raises(InputError, match="at least one"):
        pad(rows)


# One by one


@pytest.mark.parametrize("side", ["left", "right"])
def test_every_site_of_a_batch_is_one_by_one(road, side) -> None:
    model, also = road
    batch = pad(ROWS, side=side)

    def every(site) -> bool:
        return bool(also) or model.plain_road is None or site in model.plain_road.points

    together = run(model, batch.ids, mask=batch.mask, read=every, stop="never")
    assert together.logits is not None
    for number, row in enumerate(ROWS):
        mask = batch.mask[number]
        here = stretch(mask)
        alone = run(model, torch.tensor([row]), read=every, stop="never")
        assert alone.logits is not None
        assert_close(together.logits[number, here], alone.logits[0], atol=1e-5, rtol=1e-5)
        for site, expected in alone.activations.items():
            found = together[site][number]
            for axis in site.kind.position_axes:
                found = found.index_select(axis - 1, torch.arange(here.start, here.stop))
            # Masked scores differ in what stands for "never": the causal half is compared.
            if site.name == "scores":
                found, expected = found.tril(), expected.tril()
            assert_close(found, expected[0], atol=1e-5, rtol=1e-5, msg=lambda m, s=site: f"{s} {m}")
            lost = together[site][number].movedim(site.kind.position_axes[0] - 1, 0)[~mask]
            assert bool(lost.isnan().all()), site
        assert bool(together.logits[number, ~mask].isnan().all())


@pytest.mark.parametrize("side", ["left", "right"])
def test_no_attention_to_padding(road, side) -> None:
    model, also = road
    batch = pad(ROWS, side=side)
    pattern = run(model, batch.ids, mask=batch.mask, read=["1.pattern", *also])["1.pattern"]
    for weights, mask in zip(pattern, batch.mask, strict=True):
        assert float(weights[:, mask][:, :, ~mask].abs().sum()) == 0.0


def test_the_native_model(by_hand: Model) -> None:
    rows = [[0, 3, 4, 3], [0, 5, 6, 7, 5, 6]]
    for side in ("left", "right"):
        batch = pad(rows, side=side)
        together = run(by_hand, batch.ids, mask=batch.mask).logits
        assert together is not None
        for number, row in enumerate(rows):
            alone = run(by_hand, torch.tensor([row])).logits
            assert alone is not None
            assert torch.equal(together[number, stretch(batch.mask[number])], alone[0])


def test_an_edit_moves_as_far_as_it_does_alone(road) -> None:
    model, also = road
    batch = pad(ROWS, side="left")
    for site in ("1.mlp_out", "L1H2.z", "L1H1.pattern"):
        edit = Edit(site, lambda x: 0.5 * x)
        together = run(model, batch.ids, mask=batch.mask, read=also, edit=edit, stop="never")
        alone = [run(model, torch.tensor([r]), read=also, edit=edit, stop="never") for r in ROWS]
        expected = sum(one.receipt.moved[0] ** 2 for one in alone) ** 0.5
        assert together.receipt.moved[0] == pytest.approx(expected, rel=1e-4), site


def test_continuing_a_padded_batch(tiny: Callable[..., Model], family: str) -> None:
    """What batched generation does: a left-padded past, one more token for each row."""
    model = tiny(family)
    batch = pad(ROWS, side="left")
    past = run(model, batch.ids, mask=batch.mask, keep_past=True).past
    new = torch.tensor([[21], [22], [23]])
    mask = torch.cat([batch.mask, torch.ones(3, 1, dtype=torch.bool)], dim=1)
    grown = run(model, new, mask=mask, past=past).logits
    assert grown is not None
    for number, row in enumerate(ROWS):
        alone = run(model, torch.tensor([[*row, int(new[number])]])).logits
        assert alone is not None
        assert_close(grown[number, 0], alone[0, -1], atol=1e-5, rtol=1e-5)


# The cache


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_prompts_share_the_entries_of_unpadded_ones(
    tiny: Callable[..., Model], family: str, side, tmp_path: Path
) -> None:
    model, store = tiny(family), Store(tmp_path)
    sites = ["1.resid_post", "*.pattern", "L1H2.z"]
    batch = pad(ROWS, side=side)
    first = capture(model, batch.ids, sites, store, mask=batch.mask)
    assert first.cached == 0
    for row in ROWS:
        assert capture(model, torch.tensor([row]), sites, store).whole
    again = capture(model, batch.ids, sites, Store(tmp_path), mask=batch.mask)
    fresh = run(model, batch.ids, mask=batch.mask, read=sites)
    assert again.whole
    for site, value in again.activations.items():
        assert_close(value, first[site], atol=0, rtol=0, equal_nan=True)
        assert_close(value, fresh[site], atol=1e-5, rtol=1e-5, equal_nan=True)
        bare = capture(model, batch.ids, site, mask=batch.mask)
        assert_close(bare[site], fresh[site], atol=1e-5, rtol=1e-5, equal_nan=True)


# Refusals


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ([[1, 1, 0, 1]], "has a gap"),
        ([[0, 0, 0, 0]], "is empty"),
        ([[1, 1, 1]], r"shape \(1, 3\); these tokens need \(1, 4\)"),
    ],
)
def test_masks_that_mark_no_prompt(tiny: Callable[..., Model], mask, words) -> None:
    model, tokens = tiny("gpt2"), torch.tensor([[1, 2, 3, 4]])
    wrong = torch.tensor(mask).bool()
    with pytest.raises(InputError, match=words):
        run(model, tokens, mask=wrong)
    with pytest.raises(InputError, match=words):
        capture(model, tokens, "0.z", mask=wrong)


@pytest.mark.parametrize("side", ["left", "right"])
def test_restart_from_a_padded_capture(road, side) -> None:
    """The NaN that a capture leaves at padding must not reach a real token."""
    model, also = road
    batch = pad(ROWS, side=side)
    full = run(model, batch.ids, mask=batch.mask, read=also, stop="never").logits
    resid = capture(model, batch.ids, "1.resid_pre", mask=batch.mask)["1.resid_pre"]
    assert bool(resid.isnan().any())
    restarted = run(model, batch.ids, mask=batch.mask, start=Start(1, resid)).logits
    assert full is not None and restarted is not None
    assert bool(restarted[~batch.mask].isnan().all())
    assert_close(restarted[batch.mask], full[batch.mask], atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match="holds NaN; give the mask"):
        run(model, batch.ids, start=Start(1, resid))


@pytest.mark.usefixtures("unchecked")
def test_a_mask_of_numbers_is_refused(tiny: Callable[..., Model]) -> None:
    with pytest.raises(InputError, match=r"the mask is torch.int64; give torch.bool"):
        run(tiny("gpt2"), torch.tensor([[1, 2]]), mask=torch.tensor([[0, 1]]))


def test_the_logits_of_padding_are_refused(tiny: Callable[..., Model]) -> None:
    batch = pad(ROWS, side="right")
    with pytest.raises(InputError, match="padded position"):
        run(tiny("gpt2"), batch.ids, mask=batch.mask, logits_at=-1)

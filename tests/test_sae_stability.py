"""Whether latents are found again: against loops, and where the answer is known."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sae.claims import planted
from sae.recipe import Recipe
from sae.saved import load_sae, save_sae
from sae.stability import match
from sae.training import started
from workbench.errors import InputError


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_largest_cosine_of_each():
    rows, others = drawn(7, 5), drawn(9, 5, seed=1)
    expected = [max(float(torch.cosine_similarity(a, b, dim=0)) for b in others) for a in rows]
    found = match(rows, others)
    torch.testing.assert_close(found.cosines, torch.tensor(expected))
    assert found.mean == pytest.approx(sum(expected) / 7)


def test_order_and_length_do_not_matter_and_more_rows_hide_nothing():
    rows = drawn(1500, 40)
    other = 3 * rows[torch.randperm(1500, generator=torch.Generator().manual_seed(0))]
    found = match(rows, torch.cat([other, drawn(500, 40, seed=2)]))
    assert found.mean == pytest.approx(1, abs=1e-5) and found.found_again == 1
    back = match(torch.cat([other, drawn(500, 40, seed=2)]), rows)
    assert back.found_again == pytest.approx(0.75, abs=0.01)
    assert found.chance < 0.7


def test_chance_is_not_where_a_dictionary_began():
    """A dictionary that never learnt is as near a random one as any other."""
    rows = started(Recipe("topk", 256, 4), torch.zeros(16))["W_dec"]
    assert match(rows, rows).chance < 0.9
    unrelated = match(drawn(256, 16, seed=5), drawn(256, 16, seed=6))
    assert unrelated.chance == pytest.approx(unrelated.mean, abs=0.02)


def test_planted_features_are_found_and_about_as_many_at_a_time():
    told = planted()
    assert told.found.mean > 0.9 > told.found.chance + 0.4
    assert told.l0 == pytest.approx(told.true_l0, rel=0.3) and told.explained > 0.9


def test_other_widths_are_refused():
    with pytest.raises(InputError, match="of 5 and 6 dimensions"):
        match(drawn(3, 5), drawn(3, 6))


def test_on_the_command_line(command: Callable[..., str], tmp_path: Path):
    sae = load_sae("othello-6x6-3-topk")
    save_sae(sae, tmp_path / "same")
    told = command(
        "sae", "evaluate", "othello-6x6-3-topk", "--against", tmp_path / "same"
    )  # fmt: skip
    assert "1.000" in told and "100.0 %" in told

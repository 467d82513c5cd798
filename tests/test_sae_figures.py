"""Figures of latents: what is counted is drawn, and titles tell what cannot be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sae.commands.sae_report import stand_ins, told, write
from sae.evaluation import Fit, Use
from sae.figures import density_histogram, positions, prompt_map
from sae.judging import Judgement
from sae.splicing import Spliced
from workbench.sites import Site


def test_dead_latents_are_counted_beside_the_bars() -> None:
    densities = np.array([0.0, 0.0, 1e-3, 2e-3, 0.5, 1.0])
    figure: Any = density_histogram(densities, title="Density")
    assert figure.layout.title.text == "Density: 6 latents, 2 dead, 2 dense"
    bars = figure.data[0]
    assert sum(bars.y) == 4, "also the one that is always active"
    (far,) = [x for x, y in zip(bars.x, bars.y, strict=True) if y and x < -2.9]
    assert far - bars.width[0] / 2 <= -3 <= far + bars.width[0] / 2
    assert figure.layout.shapes[0].x0 == -1
    nothing: Any = density_histogram(np.zeros(3), title="")
    assert sum(nothing.data[0].y) == 0 and "3 dead" in nothing.layout.title.text


def test_positions_are_bars_over_parts_of_a_context() -> None:
    figure: Any = positions(np.array([3, 0, 1]), np.array([0, 4, 8]), title="where")
    bars = figure.data[0]
    assert list(bars.y) == [3, 0, 1] and list(bars.x) == [1.5, 5.5, 9.5]
    assert list(bars.customdata)[1:] == ["positions 4 to 7", "positions 8 to 11"]
    single: Any = positions(np.array([3, 2]), np.array([0, 1]), title="").data[0]
    assert list(single.customdata) == ["position 0", "position 1"] and list(single.x) == [0, 1]


def test_a_prompt_has_a_row_for_each_latent() -> None:
    values = np.array([[np.nan, np.nan], [1.0, 0.0], [0.0, 2.0]])
    figure: Any = prompt_map(values, ["<s>", "a", "a"], ["7", "9"], title="")
    np.testing.assert_array_equal(figure.data[0].z, values.T)
    assert list(figure.layout.xaxis.ticktext) == ["&lt;s&gt;", "a", "a"]
    assert figure.data[0].zmin == 0 and list(figure.layout.yaxis.ticktext) == ["7", "9"]
    with pytest.raises(ValueError, match="activations of shape"):
        prompt_map(values, ["a"], ["7", "9"], title="")


def test_an_evaluation_is_a_page_of_its_own(tmp_path: Path) -> None:
    losses = {"clean": 3.0, "SAE": 3.2, "mean": 6.0, "zero": 9.0}
    n = torch.full((4,), 10.0)
    spliced = Spliced(
        n,
        {name: loss * n for name, loss in losses.items()},
        {name: n / 10 for name in losses if name != "clean"},
    )
    use = Use(20, torch.tensor([0, 1, 20, 3]))
    found = Judgement({"SAE": Fit(20, 0.25, 0.9, 1.0)}, use, spliced)
    head, rows = stand_ins(found)
    assert [row[0] for row in rows] == ["SAE", "clean", "mean ablation", "zero ablation"]
    assert rows[0][1] == "0.250" and rows[0][5].startswith("93.3 (") and len(head) == 7
    assert "25.00 % dead and 50.00 % dense" in told(found)
    write(tmp_path / "page.html", {Site("resid_post", 1): found}, "SAE <x>", "letters")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Density: 4 latents, 1 dead, 2 dense" in page and "SAE &lt;x&gt;" in page
    assert "held-out documents of letters: 20 rows, losses on 40 tokens" in page
    assert "93.3 (" in page and "<x>" not in page

"""One patch with its logits, and what a sweep costs: both agree with the sweep itself."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from tests.test_sweep import pairs_of
from workbench.errors import InputError
from workbench.hooks import sites
from workbench.models import Model
from workbench.patching import Metric, cost, patched_logits, sweep
from workbench.patching.metric import Wanted
from workbench.patching.rows import Rows
from workbench.sites import Site

SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "q", "k", "v")


@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("site", SITES)
def test_a_patch_has_the_metric_of_its_cell(
    family: str, site: str, direction: Any, tiny: Callable[..., Model]
) -> None:
    model = tiny(family)
    if Site(site, 0) not in sites(model):
        pytest.skip(f"{family} has no {site}")
    pairs = pairs_of(model, 7, first=2)
    (pair,) = pairs
    how: dict[str, Any] = {"direction": direction, "metric": "logit difference"}
    component = 1 if sites(model)[Site(site, 0)] else None
    for places, place in (([4], 4), ("all", "all")):
        found = sweep(model, pairs, site, places=places, **how)
        for layer in range(3):
            logits = patched_logits(
                model, pair, site, layer, place, component=component, direction=direction
            )
            clean = logits.source if direction == "denoising" else logits.base
            wanted = Wanted(
                torch.tensor([pair.answers]), torch.tensor([pair.wrongs]), clean[None, None]
            )
            base, patched, source = (
                float(Metric.named("logit difference")(one[None, None], wanted))
                for one in (logits.base, logits.patched, logits.source)
            )
            cell = found.values[layer, component or 0, 0, 0]
            assert patched == pytest.approx(float(cell), abs=2e-4)
            anchors = (float(found.clean), float(found.corrupted))
            expected = anchors if direction == "noising" else anchors[::-1]
            assert (base, source) == pytest.approx(expected, abs=2e-4)


def test_a_patch_before_the_prompts_part_changes_nothing(tiny: Callable[..., Model]) -> None:
    (pair,) = pairs_of(tiny("llama"), 7, first=3)
    logits = patched_logits(tiny("llama"), pair, "resid_pre", 1, 2)
    assert_close(logits.patched, logits.base, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(logits.source, logits.base)


def test_heads_are_patched_one_by_one(tiny: Callable[..., Model]) -> None:
    (pair,) = pairs_of(tiny("gpt2"), 5)
    with pytest.raises(InputError, match="site 'z' has 3 components; name one to patch"):
        patched_logits(tiny("gpt2"), pair, "z", 0, "all")
    with pytest.raises(InputError, match="z has no component 3"):
        patched_logits(tiny("gpt2"), pair, "z", 0, "all", component=3)


@pytest.mark.parametrize(
    ("site", "how"),
    [
        ("resid_pre", {}),
        ("z", {"places": "all"}),
        ("k", {"places": ["end", 1]}),
        ("z", {"places": "all", "layers": [2], "components": [0, 1]}),
    ],
)
def test_the_cost_is_what_the_sweep_runs(
    site: str, how: dict[str, Any], tiny: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row to a forward: then none computes positions for another's sake."""

    def one_by_one(rows: Rows, *_: object, **__: object) -> Iterator[tuple[int, Rows]]:
        for index, start in enumerate(rows.start.tolist()):
            yield start, rows.of(slice(index, index + 1))

    model, pairs = tiny("llama"), pairs_of(tiny("llama"), 6, 6, seed=3)
    told = cost(model, pairs, site, **how)
    module = sys.modules["workbench.patching.sweep"]  # the package hands out the function
    monkeypatch.setattr(module, "batches", one_by_one)
    found = sweep(model, pairs, site, **how)
    assert (told.runs, told.tokens) == (found.forwards, found.tokens)


def test_prompts_of_several_lengths_have_their_own_cost(tiny: Callable[..., Model]) -> None:
    model = tiny("llama")
    some: dict[str, Any] = {"places": ["end"]}
    whole = cost(model, pairs_of(model, 5, 7, first=1), "z", **some)
    assert (whole.runs, whole.tokens) == (2 * 3 * 6, 2 * 3 * 6)
    assert cost(model, pairs_of(model, 5, first=1), "z", places="all").tokens == 3 * 6 * 4
    with pytest.raises(InputError, match="have no positions in common"):
        cost(model, pairs_of(model, 5, 7), "resid_pre")

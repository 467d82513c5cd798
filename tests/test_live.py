"""Activations that nobody keeps: read as those of a harvest, whose numbers they are."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workbench.cache import Store, harvest, live, shuffled
from workbench.corpus import Corpus, from_ids
from workbench.errors import InputError
from workbench.models import Model

SITES = ["0.resid_post", "1.mlp_out"]


@pytest.fixture
def model(tiny: Callable[..., Model]) -> Model:
    return tiny("llama")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    ids = np.random.default_rng(0).integers(1, 40, (11, 6))
    ids[:, 0] = 0
    return from_ids("text", ids, bos_id=0)


def test_the_numbers_are_a_harvests(model: Model, corpus: Corpus, tmp_path: Path):
    kept = harvest(model, corpus, SITES, Store(tmp_path)).harvests
    for site, source in live(model, corpus, SITES, batch=3).items():
        assert source.shape == kept[site].shape and source.key == kept[site].key
        both = source.contexts(2, 9), kept[site].contexts(2, 9)
        torch.testing.assert_close(*both, rtol=1e-5, atol=1e-6)


def test_shuffled_reads_are_in_a_harvests_order(model: Model, corpus: Corpus, tmp_path: Path):
    """Several sites in step, blocks of a context, a buffer that holds four of the eleven."""
    kept = harvest(model, corpus, SITES, Store(tmp_path)).harvests
    made = live(model, corpus, SITES, batch=3)
    order: dict[str, Any] = {"batch_size": 7, "seed": 4, "block": 6, "buffer": 24, "epochs": 2}
    pairs = zip(
        shuffled(list(made.values()), **order), shuffled(list(kept.values()), **order), strict=True
    )
    for one, other in pairs:
        assert torch.equal(one.index, other.index)
        for site in SITES:
            torch.testing.assert_close(one[site], other[site], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stop", [1, 4, 9, 12])
def test_a_read_that_resumes_gives_the_same_bits(model: Model, corpus: Corpus, stop: int):
    order: dict[str, Any] = {"batch_size": 7, "seed": 4, "block": 6, "buffer": 24, "epochs": 2}

    def read(**more):
        return shuffled(list(live(model, corpus, SITES, batch=3).values()), **order, **more)

    whole = list(read())
    cut = list(islice(read(), stop))
    rest = list(read(state=cut[-1].state))
    assert len(whole) == len(cut) + len(rest)
    for one, other in zip(whole, [*cut, *rest], strict=True):
        for site in SITES:
            assert torch.equal(one[site], other[site])


def test_a_block_that_is_no_context_is_refused(model: Model, corpus: Corpus):
    made = live(model, corpus, SITES[:1])
    with pytest.raises(InputError, match="give block=6"):
        list(shuffled(list(made.values()), batch_size=7, block=4))

"""smollm2-135m, a real pretrained model: its known heads, its knowledge, its cache.

The bounds on head scores leave room for the draw of tokens: over seeds, blocks drawn without
replacement gave L18H6 .78 to .83; other draws gave .67 to .91.
"""

import pytest
import torch
from torch import Tensor

from workbench import attention, lens
from workbench.cache import Store, capture
from workbench.hooks import Edit, run
from workbench.models import Model
from workbench.sites import Head

pytestmark = pytest.mark.real_model

SEEDS = (0, 1, 2)
CAPITAL = "The capital of France is"


@pytest.fixture(scope="module", params=SEEDS)
def found(request: pytest.FixtureRequest, smollm2: Model) -> attention.Patterns:
    ids = attention.repeated_random(smollm2, length=50, batch=4, seed=request.param)
    assert ids.shape == (4, 101)
    assert (ids[:, 0] == 0).all(), "BOS is <|endoftext|>"
    return attention.patterns(smollm2, ids)


def leaders(found: attention.Patterns, name: str, n: int) -> list[str]:
    scores = found.scores(name)
    order = scores.flatten().argsort(descending=True)[:n].tolist()
    return [str(Head(i // scores.shape[1], i % scores.shape[1])) for i in order]


def score(found: attention.Patterns, name: str, head: str) -> float:
    place = Head.parse(head)
    return float(found.scores(name)[place.layer, place.head])


def test_induction_heads(found) -> None:
    first, *next_three = leaders(found, "induction", 4)
    assert first == "L18H6"
    assert set(next_three) == {"L17H3", "L17H4", "L17H5"}
    assert score(found, "induction", "L18H6") == pytest.approx(0.80, abs=0.13)
    for head in next_three:
        assert score(found, "induction", head) == pytest.approx(0.66, abs=0.15)
    assert float(found.scores("induction").median()) < 0.1


def test_previous_token_heads(found) -> None:
    assert leaders(found, "previous token", 2) == ["L16H0", "L11H1"]
    assert score(found, "previous token", "L16H0") == pytest.approx(0.89, abs=0.06)
    assert score(found, "previous token", "L11H1") == pytest.approx(0.83, abs=0.08)


def test_duplicate_token_heads(found) -> None:
    assert leaders(found, "duplicate token", 1) == ["L14H3"]
    assert score(found, "duplicate token", "L14H3") == pytest.approx(0.65, abs=0.15)


def test_tokens_that_do_not_repeat_have_no_induction(smollm2) -> None:
    ids = attention.repeated_random(smollm2, length=50, batch=4)[:, :51]
    assert attention.patterns(smollm2, ids).scores("induction").isnan().all()


@pytest.fixture(scope="module")
def capital(smollm2: Model) -> Tensor:
    tokens = smollm2.tokenize(CAPITAL)
    assert tokens.strings == ("<|endoftext|>", "The", " capital", " of", " France", " is")
    return tokens.tensor()


def test_the_lens_ends_in_paris(smollm2, capital) -> None:
    resid, _ = lens.residuals(smollm2, capital)
    paris = smollm2.token_id(" Paris")
    read = lens.lens(resid, smollm2.unembed, traced=paris)
    assert len(read.layers) == 31
    assert int(read.rank[-1, -1]) == 0
    assert int(read.top_ids[-1, -1, 0]) == paris
    assert int(read.rank[0, -1]) > 100, "the embedding of ` is` does not know"
    logits = run(smollm2, capital).logits
    assert logits is not None
    assert float(read.prob[-1, -1]) == pytest.approx(
        float(logits[0, -1].softmax(-1)[paris]), abs=1e-5
    )


def test_cached_equals_fresh(smollm2, capital, tmp_path) -> None:
    sites = ["*.resid_post", "*.pattern", "17.z", "17.scores"]
    fresh = capture(smollm2, capital, sites)
    store = Store(tmp_path / "store")
    capture(smollm2, capital, sites, store)
    again = capture(smollm2, capital, sites, Store(store.folder))
    assert again.whole
    assert len(again.activations) == 62
    for site in fresh.activations:
        assert torch.equal(again[site], fresh[site]), site


def test_both_roads_agree(smollm2, capital) -> None:
    plain = run(smollm2, capital, read="*.resid_post", stop="never")
    bridge = run(smollm2, capital, read=["*.resid_post", "0.scores"], stop="never")
    assert (plain.receipt.road, bridge.receipt.road) == ("plain", "bridge")
    assert plain.logits is not None
    assert torch.allclose(plain.logits, bridge.logits, atol=1e-3)  # type: ignore[arg-type]
    for site in plain.activations:
        assert torch.allclose(plain[site], bridge[site], atol=1e-2, rtol=1e-4), site


def test_without_its_induction_heads_it_copies_worse(smollm2) -> None:
    """The heads that score as induction heads are the ones that copy."""
    ids = attention.repeated_random(smollm2, length=50, batch=2)

    def loss(heads: list[str]) -> float:
        ran = run(smollm2, ids, edit=[Edit(f"{head}.z", torch.zeros_like) for head in heads])
        assert ran.logits is not None
        log_probs = ran.logits[:, 51:-1].log_softmax(-1)
        return -float(log_probs.gather(-1, ids[:, 52:, None]).mean())

    clean = loss([])
    induction = loss(["L18H6", "L17H3", "L17H4", "L17H5"])
    others = loss(["L18H0", "L17H0", "L17H1", "L17H2"])
    assert induction - clean > 3 * abs(others - clean)

"""What dictionaries are judged by, against loops, identities and known ends."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sae.baselines import components, random_dictionary, untrained
from sae.claims import identity
from sae.evaluation import fit, use
from sae.judging import judge
from sae.recipe import Recipe
from sae.samples import samples
from sae.slopes import Rows
from sae.splicing import spliced
from tests.conftest import VOCAB
from workbench.cache import Store, harvest
from workbench.corpus import Corpus, from_ids
from workbench.errors import InputError
from workbench.hooks import Edit, run
from workbench.metrics import kl_divergence
from workbench.models import Model
from workbench.sites import Site


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def corpus() -> Corpus:
    ids = np.random.default_rng(0).integers(1, VOCAB, (40, 12))
    ids[:, 0] = 0
    return from_ids("text", ids, bos_id=0)


@pytest.mark.parametrize("site", ["1.resid_post", "1.resid_pre", "2.resid_post", "1.mlp_out"])
def test_losses_are_those_of_edited_runs(site: str, tiny, corpus: Corpus):
    """Blocks below the site are not run again: the same numbers as by edits of whole runs."""
    model: Model = tiny("gpt2")
    counted = corpus.documents >= 0
    counted[5:] = False

    def half(x: Tensor) -> Tensor:
        return 0.5 * x

    found = spliced(model, corpus, Site.parse(site), {"half": half}, counted, batch=2)
    ids = torch.from_numpy(corpus.ids[:5].astype(np.int64))

    def edit(x: Tensor) -> Tensor:
        x[:, 1:] = 0.5 * x[:, 1:]  # position 0 is BOS
        return x

    logits = run(model, ids, edit=Edit(site, edit)).logits
    assert logits is not None
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    ).view(5, -1)
    torch.testing.assert_close(found.losses["half"], losses.sum(1), rtol=1e-4, atol=1e-4)
    assert found.n_tokens.tolist() == [11.0] * 5


@pytest.mark.parametrize("site", ["0.resid_post", "2.resid_post"])
def test_only_counted_tokens_count(site: str, tiny, corpus: Corpus):
    """Another number in each context, some none: as whole logits at the same places say."""
    model: Model = tiny("llama")
    draw = np.random.default_rng(1)
    counted = (corpus.documents >= 0) & (draw.random(corpus.ids.shape) < 0.4)
    counted[3] = False
    found = spliced(model, corpus, Site.parse(site), {"none": torch.zeros_like}, counted, batch=7)

    def edit(x: Tensor) -> Tensor:
        x[:, 1:] = 0
        return x

    ids = torch.from_numpy(corpus.ids.astype(np.int64))
    both = [run(model, ids).logits, run(model, ids, edit=Edit(site, edit)).logits]
    clean, none = (one.double().log_softmax(-1)[:, :-1] for one in both if one is not None)
    taken = torch.from_numpy(counted[:, 1:])
    kept = torch.from_numpy(counted[:, 1:].any(1))
    assert not kept[3] and len(found.n_tokens) == int(kept.sum())
    for name, log_probs in (("clean", clean), ("none", none)):
        losses = -log_probs.gather(2, ids[:, 1:, None])[..., 0] * taken
        expected = losses.sum(1)[kept].float()
        torch.testing.assert_close(found.losses[name], expected, rtol=1e-5, atol=1e-5)
    kl = (kl_divergence(clean, none) * taken).sum(1)[kept].float()
    torch.testing.assert_close(found.kl["none"], kl, rtol=1e-4, atol=1e-5)
    assert found.n_tokens.tolist() == taken.sum(1)[kept].tolist()


def test_what_is_not_finite_is_refused(tiny, corpus: Corpus):
    model: Model = tiny("gpt2")

    def broken(x: Tensor) -> Tensor:
        return x * torch.nan

    with pytest.raises(InputError, match="logits that are not finite"):
        spliced(model, corpus, Site.parse("1.mlp_out"), {"broken": broken}, corpus.documents >= 0)


def test_identity_recovers_all_and_the_ablation_nothing(tiny, corpus: Corpus):
    model: Model = tiny("llama")
    d = model.architecture.d_model
    stand_ins = {"identity": identity(Site.parse("1.resid_post"), d), "zero": torch.zeros_like}
    site = Site.parse("1.resid_post")
    found = spliced(model, corpus, site, stand_ins, corpus.documents >= 0)
    assert float(found.recovered("identity", "zero").mean) == pytest.approx(1, abs=1e-4)
    assert float(found.recovered("zero", "zero").mean) == 0
    assert found.mean_kl("identity") < 1e-5 < found.mean_kl("zero")


def test_sinks_and_bos_are_never_replaced(tiny, corpus: Corpus):
    model: Model = tiny("gpt2")
    seen = []

    def watched(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    ids = torch.from_numpy(corpus.ids.astype(np.int64))
    norms = (
        run(model, ids, read="1.resid_post").activations[Site.parse("1.resid_post")].norm(dim=-1)
    )
    limit = float(norms[:, 1:].median())
    site = Site.parse("1.resid_post")
    spliced(model, corpus, site, {"watched": watched}, corpus.documents >= 0, limit=limit)
    expected = int((norms[:, 1:] <= limit).sum())
    assert sum(len(x) for x in seen) == expected


def test_fvu_is_about_the_rows_own_mean():
    x = drawn(500, 6) + 10
    perfect = fit([Rows(x[:300]), Rows(x[300:])], x.mean(0), lambda rows: rows)
    assert (perfect.fvu, perfect.shrinkage) == (0, pytest.approx(1))
    mean = fit([Rows(x)], x.mean(0), lambda rows: x.mean(0).expand_as(rows))
    assert mean.fvu == pytest.approx(1)  # though almost all of the length is explained
    small = fit([Rows(x)], x.mean(0), lambda rows: x.mean(0) + 0.5 * (rows - x.mean(0)))
    assert (small.fvu, small.shrinkage) == (pytest.approx(0.25), pytest.approx(2))
    assert small.n == 500 and 0.9 < small.cosine < 1


def test_principal_components_are_numpys():
    x = drawn(400, 7) * torch.logspace(0, 1, 7) + 3
    found = components([x[:150], x[150:]])
    _, _, expected = np.linalg.svd((x - x.mean(0)).double().numpy(), full_matrices=False)
    along = (found.directions.double().numpy() * expected).sum(1)
    np.testing.assert_allclose(np.abs(along), 1, atol=1e-4)
    fits = [fit([Rows(x)], x.mean(0), found.first(k)).fvu for k in (1, 3, 7)]
    assert fits == sorted(fits, reverse=True) and fits[-1] < 1e-6
    assert fit([Rows(x)], x.mean(0), found.largest(3)).fvu <= fits[1]


def test_solved_values_fit_better_than_products():
    x = drawn(300, 12)
    recipe = Recipe(width=96, k=4)
    solved = fit([Rows(x)], x.mean(0), random_dictionary(recipe, x.mean(0)))
    plain = fit([Rows(x)], x.mean(0), untrained(recipe, Site.parse("1.resid_post"), x.mean(0)))
    assert solved.fvu < plain.fvu
    assert solved.shrinkage == pytest.approx(1, abs=0.02)


def test_use_counts_what_is_active():
    sae = identity(Site.parse("1.resid_post"), 4)
    x = torch.tensor([[1.0, -1, 0, 0], [2, 0, 0, 0]])
    found = use(sae, [x])
    assert found.counts.tolist() == [2, 0, 0, 0, 0, 1, 0, 0]
    assert (found.l0, found.dead, found.dense) == (1.5, 0.75, 0.25)


def test_a_judgement_of_a_harvest(tiny, corpus: Corpus, tmp_path: Path):
    model: Model = tiny("gpt2")
    site = Site.parse("1.resid_post")
    kept = harvest(model, corpus, site, Store(tmp_path))
    rows = samples(kept[site], held_out=0.2)
    sae = identity(Site.parse("1.resid_post"), model.architecture.d_model)
    found = judge(sae, rows, model, contexts=5)
    assert found.fits["SAE"].fvu < 1e-8 and found.use.l0 == pytest.approx(24)
    assert {"PCA, first 24", "PCA, largest 24", "random dictionary"} < set(found.fits)
    assert len(found.spliced.n_tokens) == 5
    assert found.use.n == int((rows.train | rows.held_out).sum())
    with pytest.raises(InputError, match=r"this is the SAE of 0\.resid_post"):
        judge(replace(sae, site=Site.parse("0.resid_post")), rows, model)

"""What a latent is active on: counted again by loops, and rules whose answer is known."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sae.activity import Activity, activity, load_activity, save_activity
from sae.dictionary import SAE
from sae.explanations import explain, load_rules, median_f1, save_rules, text_of
from sae.features import feature
from sae.samples import Samples, samples
from tests.harvests import made_of
from workbench import load
from workbench.corpus import Corpus, from_ids
from workbench.errors import InputError
from workbench.models import Model
from workbench.sites import Site

N, N_CTX, VOCAB = 400, 13, 12


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Random letters, two documents in each context, BOS in front of both."""
    ids = np.random.default_rng(0).integers(1, VOCAB, (N, N_CTX))
    documents = np.arange(N)[:, None] * 2 + (np.arange(N_CTX) >= 6)
    ids[:, [0, 6]], documents[:, [0, 6]] = 0, -1
    return from_ids("letters", ids, documents=documents, bos_id=0)


@pytest.fixture(scope="module")
def rows(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Each row says its token and the one before it, and some noise."""
    ids = torch.from_numpy(corpus.ids.astype(np.int64))
    one = torch.nn.functional.one_hot(ids, VOCAB)
    draw = torch.Generator().manual_seed(0)
    shaped = torch.cat([one, one.roll(1, 1)], -1) + 0.05 * torch.rand(
        N, N_CTX, 2 * VOCAB, generator=draw
    )
    return samples(made_of(tmp_path_factory.mktemp("rows"), shaped, corpus, 100), held_out=0.3)


@pytest.fixture(scope="module")
def sae() -> SAE:
    """Latent 0: token 3 or 5. 1: token 4 after token 7. 2: anything after 9. 3: nothing. 4: noise.

    Their thresholds make them so.
    """
    W = torch.zeros(5, 2 * VOCAB)
    W[0, [3, 5]] = 1.0
    W[1, [4, VOCAB + 7]] = 1.0
    W[2, VOCAB + 9] = 1.0
    W[4] = torch.linspace(-1, 1, 2 * VOCAB)
    bias = torch.zeros(2 * VOCAB)
    return SAE(
        site=Site.parse("1.resid_post"), kind="jumprelu", W_enc=W, b_enc=torch.zeros(5),
        W_dec=W + 1e-3, b_dec=bias, b_in=bias, k=None,
        threshold=torch.tensor([0.5, 1.5, 0.5, 9.0, 0.0]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(sae: SAE, rows: Samples) -> Activity:
    return activity(sae, rows)


def test_every_entry_is_kept_once(sae: SAE, rows: Samples, corpus: Corpus, found: Activity):
    text = torch.from_numpy(corpus.documents >= 0)
    acts = sae.encode(rows.harvest.contexts(0, N)).where(text[..., None], 0.0).flatten(0, 1)
    again = torch.zeros_like(acts)
    for latent in range(5):
        places, values = found.of(latent)
        assert (places.diff() > 0).all()
        again[places, latent] = values
    torch.testing.assert_close(again, acts, rtol=1e-3, atol=1e-3)
    assert found.n_rows == int(text.sum())


def test_activity_comes_back(found: Activity, tmp_path: Path):
    save_activity(found, tmp_path / "a.safetensors")
    back = load_activity(tmp_path / "a.safetensors")
    assert torch.equal(back.places, found.places) and torch.equal(back.values, found.values)
    assert (back.corpus, back.n_rows, back.n_ctx) == (found.corpus, found.n_rows, found.n_ctx)


def test_rules_are_found_and_hold_on_text_held_out(
    rows: Samples, corpus: Corpus, found: Activity, tmp_path: Path
):
    rules = explain(found, text_of(corpus, rows.train, rows.held_out))
    token, pair, previous, nothing, _pairs = rules
    assert token is not None and pair is not None and previous is not None
    assert (token.sort, set(token.words)) == ("token", {(3,), (5,)})
    assert (pair.sort, pair.words) == ("pair", ((7, 4),))
    assert (previous.sort, previous.words) == ("previous", ((9,),))
    for rule in (token, pair, previous):
        assert (rule.f1, rule.precision, rule.recall, rule.trained) == (1, 1, 1, 1)
    assert nothing is None
    assert median_f1(rules) == 1
    save_rules(rules, tmp_path / "rules.json")
    assert load_rules(tmp_path / "rules.json") == rules


def test_scores_are_those_of_a_loop(rows: Samples, corpus: Corpus, found: Activity):
    """The noisy latent's rule, said aloud over the held-out text."""
    rule = explain(found, text_of(corpus, rows.train, rows.held_out))[4]
    assert rule is not None
    places, values = found.of(4)
    strong = set(places[values > 0.3 * values.max()].tolist())
    said, true = 0, 0
    ids = corpus.ids.ravel()
    for place in np.flatnonzero(rows.held_out.ravel()).tolist():
        before = ids[place - 1] if place % N_CTX else -1
        word = {"token": (ids[place],), "previous": (before,), "pair": (before, ids[place])}
        if word[rule.sort] in rule.words:
            said, true = said + 1, true + (place in strong)
    wanted = sum(bool(rows.held_out.ravel()[place]) for place in strong)
    assert rule.f1 == pytest.approx(2 * true / (said + wanted))


@pytest.fixture(scope="module")
def model() -> Model:
    return load("induction-by-hand")


def test_a_feature_is_what_the_text_says(sae: SAE, found: Activity, corpus: Corpus, model: Model):
    wide = model.architecture.d_model
    own = torch.zeros(5, wide)
    own[:, : min(wide, 2 * VOCAB)] = sae.W_dec[:, :wide]
    zero = torch.zeros(wide)
    fits = SAE(sae.site, "jumprelu", own, sae.b_enc, own, zero, zero, None, sae.threshold)
    page = feature(fits, found, corpus, model, 1, n=6)
    assert len({one.context for one in page.top}) == len(page.top) == 6
    _places, values = found.of(1)
    assert page.largest == float(values.max()) == page.top[0].value
    assert int(page.histogram.sum()) == len(values) == int(page.positions.sum())
    for one in page.top:
        here = corpus.ids[one.context, one.first : one.first + len(one.ids)]
        assert one.ids.tolist() == here.tolist()
        documents = corpus.documents[one.context, one.first : one.first + len(one.ids)]
        assert set(documents.tolist()) == {corpus.documents[one.context, one.pos]}
        assert (corpus.ids[one.context, one.pos - 1], corpus.ids[one.context, one.pos]) == (7, 4)
    [(token, times, mean)] = page.tokens
    occurs = int(((corpus.ids == 4) & (corpus.documents >= 0)).sum())
    assert (token, times) == (4, len(values))
    assert mean == pytest.approx(float(values.sum()) / occurs, rel=1e-5)
    strongest = [band[0].value for band in page.bands if band]
    assert strongest == sorted(strongest, reverse=True)
    assert page.neighbours[0][1] <= 1 and 1 not in [latent for latent, _ in page.neighbours]


def test_a_latent_that_is_never_active_has_a_page(found: Activity, corpus: Corpus, model: Model):
    own = torch.nn.functional.normalize(torch.ones(5, model.architecture.d_model), dim=1)
    zero = torch.zeros(model.architecture.d_model)
    fits = SAE(
        Site.parse("1.resid_post"), "jumprelu", own, torch.zeros(5), own, zero, zero, None,
        torch.ones(5),
    )  # fmt: skip
    page = feature(fits, found, corpus, model, 3)
    assert (page.top, page.bands, page.density, page.tokens) == ((), (), 0, ())
    other = from_ids("other", corpus.ids)
    with pytest.raises(InputError, match="of another corpus or SAE"):
        feature(fits, found, other, model, 3)


def test_the_command_line_from_text_to_features(
    command: Callable[..., str], tmp_path: Path, tiny_folder: Callable[[str], Path]
):
    """train, evaluate and features on a tiny model and a text of one's own."""
    text = tmp_path / "text.txt"
    words = np.random.default_rng(0).choice(["the cat ", "sat on ", "a mat. ", "dogs run "], 3000)
    text.write_text("".join(words))
    shared = ["--model", tiny_folder("gpt2"), "--store", tmp_path / "store", "--threads", 1]
    data = ["--corpus", text, "--site", "1.resid_post", "--n-ctx", 32]
    out = command(
        "sae", "train", *shared, *data, "--out", tmp_path / "made", "--width", 64, "--k", 4,
        "--steps", 40, "--batch", 128,
    )  # fmt: skip
    assert "FVU (training)" in out
    folder = tmp_path / "made" / "topk"
    told = json.loads(command("sae", "evaluate", folder, *shared, "--json", "--contexts", 9))
    assert told["l0"] == pytest.approx(4, abs=0.2)
    assert told["fits"]["SAE"]["fvu"] < told["fits"]["untrained SAE"]["fvu"]
    shown = json.loads(command("sae", "features", folder, *shared, "--json", "--latent", 3))
    assert shown[0]["latent"] == 3
    assert (folder / "activity.safetensors").exists()
    assert "drawn by chance" in command("sae", "features", folder, *shared, "--random", 5)

"""What a latent is active on: counted again by loops, and rules whose answer is known."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sae.activity import Activity, activity, load_activity, save_activity
from sae.atlas import ATLAS, Atlas, atlas_of, load_atlas, make_atlas, save_atlas
from sae.dictionary import SAE
from sae.explanations import Contexts, contexts, detected
from sae.features import Example, Feature, feature, starts
from sae.rules import (
    explain,
    load_rules,
    median_f1,
    of_random_directions,
    save_rules,
    text_of,
)
from sae.samples import Samples, samples
from sae.saved import SHIPPED
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


@pytest.fixture(scope="module")
def fits(sae: SAE, model: Model) -> SAE:
    """The same latents at the model's width, so that what they write has logits."""
    wide = model.architecture.d_model
    own = torch.zeros(5, wide)
    own[:, : min(wide, 2 * VOCAB)] = sae.W_dec[:, :wide]
    zero = torch.zeros(wide)
    return SAE(sae.site, "jumprelu", own, sae.b_enc, own, zero, zero, None, sae.threshold)


@pytest.fixture(scope="module")
def atlas(fits: SAE, found: Activity, corpus: Corpus, model: Model, rows: Samples) -> Atlas:
    rules = explain(found, text_of(corpus, rows.train, rows.held_out))
    return make_atlas(fits, found, corpus, model, rules)


def test_a_feature_is_what_the_text_says(fits: SAE, found: Activity, corpus: Corpus, model: Model):
    page = feature(fits, found, corpus, model, 1)
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


def test_a_latent_that_is_never_active_has_a_page(
    fits: SAE, found: Activity, corpus: Corpus, model: Model
):
    page = feature(fits, found, corpus, model, 3)
    assert (page.top, page.bands, page.density, page.tokens) == ((), (), 0, ())
    other = from_ids("other", corpus.ids)
    with pytest.raises(InputError, match="of another corpus or SAE"):
        feature(fits, found, other, model, 3)
    with pytest.raises(InputError, match="there is no latent 5; this dictionary has 0 to 4"):
        feature(fits, found, corpus, model, 5)


def plainly(page: Feature) -> tuple[Any, list[float]]:
    """All of it as lists, and what stands where the lists have a 0.5: 16 bits hold about that."""
    fractions: list[float] = []

    def told(x: Any) -> Any:
        if isinstance(x, float):
            fractions.append(x)
            return 0.5
        if isinstance(x, torch.Tensor):
            return told(x.tolist())
        if isinstance(x, Example):
            return told(vars(x))
        if isinstance(x, dict):
            return {name: told(value) for name, value in x.items()}
        return [told(value) for value in x] if isinstance(x, list | tuple) else x

    told_of = {name: value for name, value in vars(page).items() if name != "rule"}
    # Rows at right angles are as near as each other, but for rounding.
    near = sorted(page.neighbours, key=lambda one: (-round(one[1], 3), one[0]))
    return told({**told_of, "neighbours": near}), fractions


def test_an_atlas_has_every_latents_page(
    atlas: Atlas, fits: SAE, found: Activity, corpus: Corpus, model: Model, tmp_path: Path
):
    """From the file, with neither corpus nor model, what is made from them of one latent."""
    save_atlas(atlas, tmp_path / ATLAS)
    back = load_atlas(tmp_path / ATLAS)
    assert back.n_latents == 5 and atlas_of(tmp_path / "none") is None
    for latent in range(5):
        page = back.feature(latent)
        whole, fractions = plainly(page)
        as_made, exact = plainly(feature(fits, found, corpus, model, latent))
        assert whole == as_made and fractions == pytest.approx(exact, rel=1e-3, abs=1e-6)
        assert page.rule == atlas.rules[latent]
    assert back.density.tolist() == pytest.approx(
        [len(found.of(latent)[0]) / found.n_rows for latent in range(5)]
    )
    assert (back.corpus, back.corpus_name, back.n_ctx) == (corpus.digest, "letters", N_CTX)
    with pytest.raises(InputError, match="there is no latent -1"):
        back.feature(-1)


def test_positions_are_counted_in_parts_of_a_context():
    assert starts(13).tolist() == list(range(13))
    parts = starts(128)
    assert parts.tolist() == list(range(0, 128, 4))
    uneven = starts(50)
    assert len(uneven) == 32 and uneven[0] == 0 and {1, 2} == set(uneven.diff().tolist())
    assert [int(p * 32 // 50) for p in uneven] == list(range(32))  # each begins its own part


def test_an_atlas_is_searched_by_words(atlas: Atlas, model: Model):
    """The pair's first token is only in the rule and the text, the second in both."""
    seven, four = model.vocabulary.string(7), model.vocabulary.string(4)
    assert atlas.rule(1) == f"pair: {seven!r} {four!r}" and atlas.rule(3) == "none"
    assert f"»{four}«" in atlas.strongest[1] and atlas.strongest[3] == ""
    assert 1 in atlas.search(f"pair: {seven.upper()}") and atlas.search("nothing like it") == []
    assert 0 not in atlas.search("pair:")
    assert atlas.search("") == list(range(5))


def test_the_shipped_dictionary_has_its_atlas():
    [name] = [name for name in SHIPPED if name.startswith("smollm2")]
    atlas = atlas_of(name)
    assert atlas is not None and (atlas.n_latents, atlas.corpus_name) == (4608, "smol-sample")
    assert (SHIPPED[name] / ATLAS).stat().st_size < 8e6
    [best] = [
        latent for latent in atlas.search("gently slowly") if "carefully" in atlas.rule(latent)
    ]
    assert best == 7 and atlas.feature(7).top[0].value == float(atlas.largest[7])


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
    for name in ("activity.safetensors", "rules.json"):
        (folder / name).unlink()  # the atlas is enough
    assert "drawn by chance" in command("sae", "features", folder, *shared, "--random", 5)
    assert not (folder / "rules.json").exists()


def test_random_directions_are_explained_by_the_same_rows(sae: SAE, rows: Samples):
    """Counted again from all rows: the largest of each about the mean, above 0.3 of the largest."""
    by_chance = of_random_directions(sae, rows, 1)
    draw = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(5, 2 * VOCAB, generator=draw), dim=1)
    text = torch.from_numpy(rows.train | rows.held_out)
    said = (rows.harvest.contexts(0, N)[text] - rows.mean) @ unit.T
    best = said.where(said == said.amax(1, keepdim=True), 0.0).clamp_min(0)
    strong = (best > 0.3 * best.amax(0)).sum(0).tolist()
    assert [rule and rule.n_strong for rule in by_chance] == pytest.approx(strong, abs=1)


LETTERS = "zabcdefghijk"  # token 1 is a


@pytest.fixture(scope="module")
def about(found: Activity, corpus: Corpus, rows: Samples) -> Contexts:
    return contexts(found, corpus, rows.train, rows.held_out, 1, LETTERS.__getitem__, n=5)


def test_a_language_model_is_shown_strong_and_silent_texts(
    about: Contexts, found: Activity, corpus: Corpus, rows: Samples
):
    """Latent 1 is d after g: marked in what is shown, there in strong texts, in no silent one."""
    assert all("g«d»" in text for text in about.shown)
    assert about.strong and all("gd" in text and "«" not in text for text in about.strong)
    assert len(about.silent) == 5 and not any("gd" in text for text in about.silent)
    lines = ["".join(LETTERS[token] for token in context) for context in corpus.ids]
    trained = [line for line, part in zip(lines, rows.train, strict=True) if part.any()]
    held = [line for line, part in zip(lines, rows.held_out, strict=True) if part.any()]
    for text in about.shown:
        assert any(text.replace("«", "").replace("»", "") in line for line in trained)
    for text in (*about.strong, *about.silent):
        assert any(text in line for line in held)
    with pytest.raises(InputError, match="latent 3 is not strongly active both in training"):
        contexts(found, corpus, rows.train, rows.held_out, 3, LETTERS.__getitem__)
    other = from_ids("other", corpus.ids)
    with pytest.raises(InputError, match="of another corpus"):
        contexts(found, other, rows.train, rows.held_out, 1, LETTERS.__getitem__)


def test_detection_is_scored_by_what_a_scripted_model_says(about: Contexts):
    heard: list[Sequence[str]] = []

    def explain(texts: Sequence[str]) -> str:
        heard.append(texts)
        return "d after g"

    def right(explanation: str, texts: Sequence[str]) -> list[bool]:
        assert explanation == "d after g"
        heard.append(texts)
        return ["gd" in text for text in texts]

    found = detected(about, explain, right)
    assert (found.explanation, found.f1, found.balanced_accuracy) == ("d after g", 1, 1)
    assert heard[0] == about.shown
    assert sorted(heard[1]) == sorted([*about.strong, *about.silent])
    assert list(heard[1]) != [*about.strong, *about.silent]  # the order gives nothing away
    always = detected(about, explain, lambda _, texts: [True] * len(texts))
    n, m = len(about.strong), len(about.silent)
    assert always.balanced_accuracy == 0.5 and always.f1 == pytest.approx(2 * n / (2 * n + m))
    wrong = detected(about, explain, lambda _, texts: ["gd" not in text for text in texts])
    assert (wrong.f1, wrong.balanced_accuracy) == (0, 0)
    with pytest.raises(InputError, match=r"1 answers on \d+ texts"):
        detected(about, explain, lambda _, __: [True])

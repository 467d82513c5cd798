"""What leaves the workbench: a page that needs nothing, Neuronpedia's files, copies."""

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch

from sae.activity import Activity
from sae.atlas import Atlas, make_atlas
from sae.commands.sae_asked import FORMS
from sae.dictionary import SAE
from sae.feature_pages import feature_page
from sae.neuronpedia import Source, upload, write_neuronpedia
from sae.rules import explain, text_of
from sae.saved import load_sae, save_sae
from workbench import load
from workbench.corpus import from_ids
from workbench.errors import InputError
from workbench.models import Model
from workbench.sites import Site

FIELDS = {  # of SAEDashboard 0.8.0's NeuronpediaDashboardFeature
    "feature_index", "neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1",
    "correlated_neurons_indices", "correlated_neurons_l1", "correlated_neurons_pearson",
    "correlated_features_indices", "correlated_features_l1", "correlated_features_pearson",
    "neg_str", "neg_values", "pos_str", "pos_values", "frac_nonzero", "freq_hist_data_bar_values",
    "freq_hist_data_bar_heights", "logits_hist_data_bar_heights", "logits_hist_data_bar_values",
    "n_prompts_total", "n_tokens_in_prompt", "dataset", "activations", "decoder_weights_dist",
    "vector",
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Model:
    return load("induction-by-hand")


@pytest.fixture(scope="module")
def sae(model: Model) -> SAE:
    d = model.architecture.d_model
    W = torch.nn.functional.normalize(
        torch.randn(3, d, generator=torch.Generator().manual_seed(0)), dim=1
    )
    zero = torch.zeros(d)
    return SAE(Site.parse("1.resid_post"), "topk", W, torch.zeros(3), W, zero, zero, 1, None,
               {"name": "some/model"})  # fmt: skip


@pytest.fixture(scope="module")
def atlas(sae: SAE, model: Model) -> Atlas:
    """Latent 0 says 1 to 10 at each token 5, 1 is silent, 2 says 2 at every position 3."""
    ids = np.random.default_rng(0).integers(1, 9, (40, 8))
    corpus = from_ids("letters", ids, documents=np.zeros_like(ids) + np.arange(40)[:, None])
    fives = np.flatnonzero(ids.ravel() == 5)
    third = np.arange(40) * 8 + 3
    said = 1 + 9 * torch.arange(len(fives)) / (len(fives) - 1)
    found = Activity(
        offsets=torch.tensor([0, len(fives), len(fives), len(fives) + 40]),
        places=torch.from_numpy(np.concatenate([fives, third])).int(),
        values=torch.cat([said, torch.full((40,), 2.0)]).half(),
        corpus=corpus.digest, n_rows=320, n_ctx=8,
    )  # fmt: skip
    half = np.zeros((40, 8), dtype=bool)
    half[:20] = True
    rules = explain(found, text_of(corpus, half, ~half))
    return make_atlas(sae, found, corpus, model, rules)


def test_a_page_has_all_it_shows_and_asks_for_nothing(atlas: Atlas):
    page = feature_page(atlas, [0, 1], title="<Features>", about="of a & b")
    assert "<h1>&lt;Features&gt;</h1>" in page and "of a &amp; b" in page
    assert not re.search(r"(src|href)=['\"](?!#)|url\(|@import|https?:", page)
    assert re.findall(r"<section id='(\d+)'", page) == ["0", "1"]
    assert "2 of 3 latents, on 320 rows of letters" in page and "never active" in page
    [rule] = re.findall(r"<p class='tokens'>(token: .*?) \(F1 [\d.]+\)", page)
    assert unescape(rule) == atlas.rule(0)
    titles = re.findall(r"<i style='height:\d+%' title='([\d,]+)'>", page)
    drawn = [*atlas.histogram[0].tolist(), *atlas.histogram[1].tolist()]
    assert [int(n) for n in titles[:40]] == drawn  # the table's; then each section's own
    outlined = re.findall(r"<b title='([\d.]+)'[^>]*>", page)
    assert max(map(float, outlined)) == pytest.approx(10, abs=0.01)
    with pytest.raises(InputError, match="there is no latent 3"):
        feature_page(atlas, [3], title="", about="")


def test_neuronpedias_fields_are_filled_from_the_page(atlas: Atlas):
    told = upload(atlas, 0)
    assert set(told) == FIELDS
    page = atlas.feature(0)
    assert told["frac_nonzero"] == page.density
    assert sum(told["freq_hist_data_bar_heights"]) == int(atlas.counts[0])
    assert told["pos_values"] == sorted(told["pos_values"], reverse=True)
    assert told["neg_values"] == sorted(told["neg_values"]) and told["neg_values"][0] < 0
    top = [one for one in told["activations"] if one["bin_min"] == -1]
    assert len(top) == len(page.top) and top[0]["bin_max"] == page.largest == 10
    shares = {one["bin_min"]: one["bin_contains"] for one in told["activations"]}
    del shares[-1]
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    for one in told["activations"]:
        at = one["qualifying_token_index"]
        value = one["values"][at]
        assert len(one["tokens"]) == len(one["values"])
        assert one["bin_min"] < value <= one["bin_max"] + 1e-3
        assert one["tokens"][at] == atlas.strings[5]


def test_neuronpedias_files_leave_out_what_is_never_active(atlas: Atlas, tmp_path: Path):
    folder = tmp_path / "up"
    assert write_neuronpedia(atlas, folder, Source("m", 1, "s")) == 2
    batch = json.loads((folder / "batch-0.json").read_text())
    assert (batch["model_id"], batch["layer"], batch["sae_set"]) == ("m", 1, "s")
    assert [one["feature_index"] for one in batch["features"]] == [0, 2]
    assert json.loads((folder / "skipped_indexes.json").read_text())["skipped_indexes"] == [1]
    with pytest.raises(InputError, match="is there already; give another folder"):
        write_neuronpedia(atlas, folder, Source("m", 1, "s"))


def test_the_command_line_exports(
    command: Callable[..., str], sae: SAE, atlas: Atlas, tmp_path: Path
):
    from sae.atlas import ATLAS, save_atlas

    folder = tmp_path / "own"
    save_sae(sae, folder)
    save_atlas(atlas, folder / ATLAS)
    page, up = tmp_path / "page.html", tmp_path / "up"
    told = json.loads(
        command(
            "sae", "export", folder, "--html", page, "--first", 2, "--neuronpedia", up, "--json"
        )
    )
    assert told["files"] == [str(page), str(up)]
    assert "2 of 3 latents" in page.read_text() and "some/model" in page.read_text()
    assert json.loads((up / "batch-0.json").read_text())["model_id"] == "model"
    command("sae", "export", folder, "--html", page, "--latent", "2")
    assert re.findall(r"<section id='(\d+)'", page.read_text()) == ["2"]
    for form in FORMS:
        out = tmp_path / form
        told = json.loads(command("sae", "export", folder, "--out", out, "--as", form, "--json"))
        # sparsify's folder says where it reads
        assert told["files"] == [str(out / "layers.1" if form == "sparsify" else out)]
        back = load_sae(told["files"][0])
        tolerance = 0 if form not in ("float16", "bfloat16") else 0.01
        torch.testing.assert_close(back.W_enc, sae.W_enc, rtol=tolerance, atol=0)
    weights = "sae_weights.safetensors"
    sizes = [(tmp_path / form / weights).stat().st_size for form in ("bfloat16", "float32")]
    assert sizes[0] < sizes[1]


def test_an_export_of_nothing_is_refused(
    sae: SAE, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from workbench.__main__ import main

    save_sae(sae, tmp_path / "own")
    assert main(["sae", "export", str(tmp_path / "own")]) != 0
    assert "nothing to export: give --html FILE" in capsys.readouterr().err
    page = str(tmp_path / "page.html")
    assert main(["sae", "export", str(tmp_path / "own"), "--html", page, "--first", "0"]) != 0
    assert "--first takes a whole number from 1" in capsys.readouterr().err

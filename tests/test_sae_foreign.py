"""Folders of sparsify and dictionary_learning, and releases on the Hub.

The libraries are not needed: folders are made by hand, and what they compute is written out. It was
compared with eai-sparsify 1.3.3 and dictionary-learning 0.1.0 themselves, equal to 1e-5.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from sae_lens import SAE as Peer
from sae_lens import StandardSAE, StandardSAEConfig
from sae_lens.loading import pretrained_sae_loaders
from torch import Tensor

from sae import releases
from sae.foreign import LEARNING, SPARSIFY, read_foreign, save_foreign
from sae.saved import about_sae, folder_of, listed_saes, load_sae, save_sae
from tests.test_sae_saved import drawn, made
from workbench import load
from workbench.cache import DamagedError
from workbench.errors import InputError

D, N, K = 8, 24, 5
X = drawn(50, D, seed=9)


def sparsify_folder(folder: Path, **config: Any) -> dict[str, Tensor]:
    weights = {
        "encoder.weight": drawn(N, D, seed=1),
        "encoder.bias": drawn(N, seed=2),
        "W_dec": drawn(N, D, seed=3),
        "b_dec": drawn(D, seed=4),
    }
    folder.mkdir(parents=True)
    safetensors.torch.save_file(weights, folder / "sae.safetensors")
    told = {"activation": "topk", "expansion_factor": N // D, "num_latents": 0, "k": K, "d_in": D}
    (folder / "cfg.json").write_text(json.dumps(told | config))
    return weights


def top(acts: Tensor, k: int) -> Tensor:
    best = acts.topk(k)
    return torch.zeros_like(acts).scatter(1, best.indices, best.values)


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("layers.3", "3.resid_post"),
        ("h.3.mlp", "3.mlp_out"),
        ("layers.3.self_attn", "3.attn_out"),
        ("model.layers.11/seed2", "11.resid_post"),
    ],
)
def test_sparsify_is_read(name: str, site: str, tmp_path: Path):
    w = sparsify_folder(tmp_path / name)
    own = load_sae(tmp_path / name)
    pre = (X - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"]
    acts = top(pre.relu(), K)
    torch.testing.assert_close(own.encode(X), acts, rtol=0, atol=1e-5)
    torch.testing.assert_close(own(X), acts @ w["W_dec"] + w["b_dec"], rtol=0, atol=1e-5)
    assert (str(own.site), own.kind, own.model) == (site, "topk", None)
    assert about_sae(tmp_path / name)["arguments"] == {"site": site}


@pytest.mark.parametrize(
    ("name", "config", "told"),
    [
        ("layers.3", {"transcode": True}, "with transcode"),
        ("layers.3", {"skip_connection": True}, "with skip_connection"),
        ("layers.3", {"activation": "groupmax"}, "activation groupmax"),
        ("layers.3", {"d_in": 9}, "field encoder.weight: expected"),
        ("middle", {}, "'middle' does not say"),
    ],
)
def test_what_of_sparsify_is_refused(name: str, config: dict[str, Any], told: str, tmp_path: Path):
    sparsify_folder(tmp_path / name, **config)
    with pytest.raises(InputError, match=told):
        load_sae(tmp_path / name)


def learnt(kind: str) -> dict[str, Tensor]:
    """What is in its `ae.pt`: encoders as torch's linear layers have them, or turned."""
    plain = {
        "W_enc": drawn(D, N, seed=1),
        "b_enc": drawn(N, seed=2),
        "W_dec": drawn(N, D, seed=3),
        "b_dec": drawn(D, seed=4),
    }
    linear = {"encoder.weight": drawn(N, D, seed=1), "decoder.weight": drawn(D, N, seed=3)}
    if kind == "GatedAutoEncoder":
        more = {name: drawn(N, seed=5 + i) for i, name in enumerate(("r_mag", "gate_bias"))}
        return {**linear, **more, "mag_bias": drawn(N, seed=2), "decoder_bias": drawn(D, seed=4)}
    if kind == "JumpReluAutoEncoder":
        return {**plain, "threshold": drawn(N, seed=5)}
    numbers = {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(0.6)}
    if kind == "MatryoshkaBatchTopKSAE":
        return {**plain, **numbers, "group_sizes": torch.tensor([8, 16])}
    biased = {**linear, "encoder.bias": drawn(N, seed=2)}
    bias = drawn(D, seed=4)
    return biased | ({"bias": bias} if kind == "AutoEncoder" else {"b_dec": bias, **numbers})


def expected(kind: str, w: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Activations and reconstructions of X, as each class computes them."""
    if kind == "GatedAutoEncoder":
        seen = (X - w["decoder_bias"]) @ w["encoder.weight"].T
        gate = (seen + w["gate_bias"] > 0).float()
        acts = gate * (w["r_mag"].exp() * seen + w["mag_bias"]).relu()
        return acts, acts @ w["decoder.weight"].T + w["decoder_bias"]
    if kind == "AutoEncoder":  # read with unit decoder rows
        length = w["decoder.weight"].norm(dim=0)
        acts = ((X - w["bias"]) @ w["encoder.weight"].T + w["encoder.bias"]).relu() * length
        return acts, acts @ (w["decoder.weight"] / length).T + w["bias"]
    if kind == "JumpReluAutoEncoder":  # whose input is not centred
        pre = X @ w["W_enc"] + w["b_enc"]
        acts = (pre * (pre > w["threshold"])).relu()
        return acts, acts @ w["W_dec"] + w["b_dec"]
    if kind == "MatryoshkaBatchTopKSAE":
        acts = ((X - w["b_dec"]) @ w["W_enc"] + w["b_enc"]).relu()
        acts = acts * (acts > w["threshold"])
        return acts, acts @ w["W_dec"] + w["b_dec"]
    acts = ((X - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"]).relu()
    acts = top(acts, K) if kind == "AutoEncoderTopK" else acts * (acts > w["threshold"])
    return acts, acts @ w["decoder.weight"].T + w["b_dec"]


def learnt_folder(folder: Path, kind: str, **trainer: Any) -> dict[str, Tensor]:
    told = {"dict_class": kind, "activation_dim": D, "dict_size": N, "k": K, "layer": 3,
            "lm_name": "a model", "submodule_name": "resid_post_layer_3"}  # fmt: skip
    folder.mkdir()
    config = {"trainer": told | trainer, "buffer": {"io": "out", "ctx_len": 128}}
    (folder / "config.json").write_text(json.dumps(config))
    weights = learnt(kind)
    torch.save(weights, folder / "ae.pt")
    return weights


KINDS = (
    "AutoEncoder",
    "AutoEncoderTopK",
    "BatchTopKSAE",
    "MatryoshkaBatchTopKSAE",
    "JumpReluAutoEncoder",
    "GatedAutoEncoder",
)


@pytest.mark.parametrize("kind", KINDS)
def test_dictionary_learning_is_read(kind: str, tmp_path: Path):
    weights = learnt_folder(tmp_path / "ae", kind)
    safetensors.torch.save_file(weights, tmp_path / "ae" / "ae.safetensors")
    own = load_sae(tmp_path / "ae")
    acts, out = expected(kind, weights)
    torch.testing.assert_close(own.encode(X), acts, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(own(X), out, rtol=1e-5, atol=1e-5)
    assert str(own.site) == "3.resid_post" and own.card["trained on"] == "a model"


def test_a_threshold_that_was_never_set_is_none(tmp_path: Path):
    weights = learnt_folder(tmp_path / "ae", "BatchTopKSAE") | {"threshold": torch.tensor(-1.0)}
    safetensors.torch.save_file(weights, tmp_path / "ae" / "ae.safetensors")
    pre = (X - weights["b_dec"]) @ weights["encoder.weight"].T + weights["encoder.bias"]
    torch.testing.assert_close(load_sae(tmp_path / "ae").encode(X), pre.relu(), rtol=0, atol=1e-5)


@pytest.mark.unpickles
def test_a_pickled_file_is_refused_and_can_be_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    weights = learnt_folder(tmp_path / "ae", "AutoEncoderTopK")
    weights["encoder.weight"] = weights["encoder.weight"].T.clone().T  # as its constructor has it
    torch.save(weights, tmp_path / "ae" / "ae.pt")
    for name in (tmp_path / "ae", tmp_path / "ae" / "ae.pt"):
        with pytest.raises(InputError, match="is pickled, and reading it could run") as told:
            load_sae(name)
    monkeypatch.chdir(tmp_path / "ae")
    exec(str(told.value).partition("in Python: ")[2], {"torch": torch, "safetensors": safetensors})
    acts, _ = expected("AutoEncoderTopK", weights)
    torch.testing.assert_close(load_sae(tmp_path / "ae").encode(X), acts, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("trainer", "told"),
    [
        ({"dict_class": "CrossCoder"}, "'CrossCoder'; known are"),
        ({"submodule_name": None}, "does not say what this SAE reads"),
        ({"dict_size": 25}, "field encoder.weight: expected"),
    ],
)
def test_what_of_dictionary_learning_is_refused(trainer: dict[str, Any], told: str, tmp_path: Path):
    weights = learnt_folder(tmp_path / "ae", "AutoEncoderTopK", **trainer)
    safetensors.torch.save_file(weights, tmp_path / "ae" / "ae.safetensors")
    with pytest.raises(InputError, match=told):
        load_sae(tmp_path / "ae")
    (tmp_path / "ae" / "config.json").write_text('{"trainer": [1]}')
    with pytest.raises(InputError, match="None; known are"):
        load_sae(tmp_path / "ae")


def test_a_broken_file_is_told_by_name(tmp_path: Path):
    sparsify_folder(tmp_path / "layers.1")
    (tmp_path / "layers.1" / "sae.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(DamagedError, match=r"sae\.safetensors: field file: expected safetensors"):
        load_sae(tmp_path / "layers.1")
    assert read_foreign(tmp_path) is None


@pytest.mark.parametrize(
    ("format", "threshold", "name"),
    [
        (SPARSIFY, None, "any"),
        (LEARNING, None, "ae"),
        (LEARNING, torch.zeros(N), "ae"),
        (LEARNING, torch.full((N,), 0.5), "ae"),
    ],
)
def test_what_is_written_comes_back(
    format: str, threshold: Tensor | None, name: str, tmp_path: Path
):
    own = replace(made(), k=4 if threshold is None else None, threshold=threshold)
    folder = save_foreign(own, tmp_path / name, format)
    assert folder == tmp_path / name / ("layers.1" if format == SPARSIFY else "")
    back = load_sae(folder)
    torch.testing.assert_close(back.encode(X), own.encode(X), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(back(X), own(X), rtol=1e-6, atol=1e-6)
    assert back.site == own.site
    with pytest.raises(InputError, match="is there already"):
        save_foreign(own, tmp_path / name, format)


def test_what_a_format_lacks_is_not_written(tmp_path: Path):
    with pytest.raises(InputError, match="TopK dictionaries only"):
        save_foreign(made(None), tmp_path / "a", SPARSIFY)
    with pytest.raises(InputError, match="no centred SAE with thresholds"):
        save_foreign(made(None), tmp_path / "b", LEARNING)
    with pytest.raises(InputError, match="takes the decoder's bias off first"):
        save_foreign(replace(made(), b_in=torch.zeros(D)), tmp_path / "c", LEARNING)


NAME = "gpt2-small-res-jb/blocks.8.hook_resid_pre"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """The Hub as a folder, in the format of the time when that release was made."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(releases, "hub_answers", lambda: True)
    folder = tmp_path / "hub" / "blocks.8.hook_resid_pre"
    peer = StandardSAE(StandardSAEConfig(d_in=D, d_sae=N))
    with torch.no_grad():
        for seed, weight in enumerate(peer.parameters()):
            weight.copy_(drawn(*weight.shape, seed=seed))
    peer.save_model(folder)
    old = {"hook_point": "blocks.8.hook_resid_pre", "d_in": D, "d_sae": N, "dtype": "torch.float32",
           "model_name": "gpt2-small", "hook_point_layer": 8}  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(old))
    asked: list[str] = []

    def download(repo_id: str, filename: str, **_: Any) -> str:
        asked.append(filename)
        if not (tmp_path / "hub" / filename).exists():
            raise pretrained_sae_loaders.EntryNotFoundError(filename)
        assert repo_id == "jbloom/GPT2-Small-SAEs-Reformatted"
        return str(tmp_path / "hub" / filename)

    monkeypatch.setattr(pretrained_sae_loaders, "hf_hub_download", download)
    yield lambda: len(asked)


def test_a_release_is_fetched_once_by_its_name(hub: Callable[[], int], tmp_path: Path):
    own = load_sae(NAME)
    peer = Peer.load_from_disk(tmp_path / "hub" / "blocks.8.hook_resid_pre")
    torch.testing.assert_close(own.encode(X), peer.encode(X), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(own(X), peer(X), rtol=1e-5, atol=1e-5)
    assert (str(own.site), own.kind) == ("8.resid_pre", "standard")
    fetched = hub()
    assert torch.equal(load_sae(Path(NAME)).W_enc, own.W_enc) and hub() == fetched > 0
    assert listed_saes()[NAME] == folder_of(NAME)
    assert own.card["processing"] == "folded"
    # the folder itself, as it was downloaded by hand, and as the Hub's topk of the time says it
    by_hand = tmp_path / "hub" / "blocks.8.hook_resid_pre"
    torch.testing.assert_close(load_sae(by_hand)(X), peer(X), rtol=1e-5, atol=1e-5)
    config = json.loads((by_hand / "cfg.json").read_text())
    more = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3}}
    (by_hand / "cfg.json").write_text(json.dumps(config | {"architecture": "standard"} | more))
    assert load_sae(by_hand).k == 3


def test_a_release_that_cannot_be_had_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setattr(releases, "hub_answers", lambda: False)

    def never(*_: Any, **__: Any):
        raise AssertionError("nothing may be downloaded")

    monkeypatch.setattr(pretrained_sae_loaders, "hf_hub_download", never)
    for name, told in (
        (NAME, "the Hub cannot be reached"),
        ("gpt2-small-res-jp/blocks.8.hook_resid_pre", "did you mean gpt2-small-res-jb"),
        ("gpt2-small-res-jb/blocks.8.hook_resid_prae", "did you mean blocks.8.hook_resid_pre"),
        ("gpt2-small-res-jb", "has no ''; it has blocks.0"),
        ("no-such-sae", "none shipped, and no release"),
        ("gpt2-small-hook-z-kk/blocks.0.hook_z", "is pickled on the Hub"),
        ("goodfire-llama-3.1-8b-instruct/layer_19", "is pickled on the Hub"),
        ("gemma-scope-2b-pt-transcoders/layer_0/width_16k/average_l0_76", "what is read are SAEs"),
    ):
        with pytest.raises(InputError, match=told):
            load_sae(name)


def test_every_way_of_a_release_is_known():
    """A new one in SAELens is refused until somebody has looked whether it unpickles."""
    ways = {release.conversion_func for release in releases._releases().values()}
    refused = {"gemma_2_transcoder", "mwhanna_transcoder", "mntss_clt_layer_transcoder", "temporal"}
    assert ways <= {*releases._SAFE, *releases._PICKLED, *refused}


def test_a_wrong_sae_is_taken_where_the_user_insists(tmp_path: Path):
    model = load("induction-by-hand")
    other = {"name": "other", "fingerprint": "0"}
    wide = replace(made(d=model.architecture.d_model), model=other)
    save_sae(wide, tmp_path / "wide")
    with pytest.raises(InputError, match="of another model"):
        load_sae(tmp_path / "wide", model)
    taken = load_sae(tmp_path / "wide", model, insist=True)
    assert "of another model (other)" in taken.card["insisted"]
    assert "insisted" not in load_sae(tmp_path / "wide").card
    centred = replace(wide, model=None, card={"processing": "folded"})
    save_sae(centred, tmp_path / "centred")
    with pytest.raises(InputError, match="weights are folded, this one's are raw"):
        load_sae(tmp_path / "centred", model)
    assert (
        "--processing folded" in load_sae(tmp_path / "centred", model, insist=True).card["insisted"]
    )
    save_sae(replace(made(), model=other), tmp_path / "narrow")
    with pytest.raises(InputError, match="8 wide"):
        load_sae(tmp_path / "narrow", model, insist=True)

"""Dictionaries on disk: SAELens' folder both ways, and refusals."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sae_lens import SAE as Peer
from sae_lens import (
    JumpReLUSAE,
    JumpReLUSAEConfig,
    StandardSAE,
    StandardSAEConfig,
    TopKSAE,
    TopKSAEConfig,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from sae.dictionary import SAE, check_sae
from sae.saved import SHIPPED, listed_saes, load_sae, save_sae
from workbench import load
from workbench.cache import DamagedError
from workbench.errors import InputError
from workbench.sites import Site


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def made(k: int | None = 4, d: int = 8, latents: int = 24) -> SAE:
    rows = torch.nn.functional.normalize(drawn(latents, d), dim=1)
    bias = drawn(d, seed=1)
    return SAE(
        site=Site.parse("1.resid_post"),
        kind="topk" if k else "batchtopk",
        W_enc=rows + 0.1 * drawn(latents, d, seed=2),
        b_enc=0.1 * drawn(latents, seed=3),
        W_dec=rows,
        b_dec=bias,
        b_in=bias,
        k=k,
        threshold=None if k else drawn(latents, seed=4).abs(),
    )


@pytest.mark.parametrize("k", [4, None])
def test_saelens_reads_ours(k: int | None, tmp_path: Path):
    own = made(k)
    save_sae(own, tmp_path / "sae")
    peer = Peer.load_from_disk(tmp_path / "sae")
    x = drawn(50, 8, seed=9)
    torch.testing.assert_close(peer.encode(x), own.encode(x), rtol=0, atol=1e-6)
    torch.testing.assert_close(peer(x), own(x), rtol=0, atol=1e-6)
    assert peer.cfg.metadata.hook_name == "blocks.1.hook_resid_post"


@pytest.mark.parametrize("own_bias", [True, False])
@pytest.mark.parametrize("kind", ["topk", "rescaled", "jumprelu", "standard"])
def test_ours_reads_saelens(kind: str, own_bias: bool, tmp_path: Path):
    plain = {"d_in": 8, "d_sae": 24, "apply_b_dec_to_input": own_bias}
    peer = {
        "topk": lambda: TopKSAE(TopKSAEConfig(**plain, k=5)),
        "rescaled": lambda: TopKSAE(TopKSAEConfig(**plain, k=5, rescale_acts_by_decoder_norm=True)),
        "jumprelu": lambda: JumpReLUSAE(JumpReLUSAEConfig(**plain)),
        "standard": lambda: StandardSAE(StandardSAEConfig(**plain)),
    }[kind]()
    peer.cfg.metadata.hook_name = "blocks.2.hook_resid_post"
    with torch.no_grad():
        for seed, weight in enumerate(peer.parameters()):
            weight.copy_(drawn(*weight.shape, seed=seed))
    peer.save_model(tmp_path)
    own = load_sae(tmp_path)
    x = drawn(50, 8, seed=9)
    torch.testing.assert_close(own(x), peer(x), rtol=1e-5, atol=1e-5)
    assert str(own.site) == "2.resid_post" and own.model is None
    if kind != "rescaled":  # whose activations are told in other units
        torch.testing.assert_close(own.encode(x), peer.encode(x), rtol=1e-6, atol=1e-6)


def test_ours_come_back_as_they_were(tmp_path: Path):
    own = replace(made(), card={"recipe": {"k": 4}, "log": [1.5]})
    save_sae(own, tmp_path / "sae")
    back = load_sae(tmp_path / "sae")
    for name in ("W_enc", "b_enc", "W_dec", "b_dec", "b_in"):
        assert torch.equal(getattr(own, name), getattr(back, name))
    assert (back.site, back.kind, back.k, back.card) == (own.site, "topk", 4, own.card)


@pytest.mark.parametrize("k", [4, None])
@pytest.mark.parametrize("skip", [True, False])
def test_transcoders_and_crosscoders_come_back(skip: bool, k: int | None, tmp_path: Path):
    """In the same files; SAELens, which has no such dictionaries, refuses them."""
    own = replace(made(k), out=Site.parse("1.mlp_out"), b_in=drawn(8, seed=6))
    own = replace(own, skip=drawn(8, 8, seed=7) if skip else None)
    both = replace(made(k), others=(Site.parse("2.resid_post"),))
    x = drawn(50, 8, seed=9)
    for name, one in (("transcoder", own), ("crosscoder", both)):
        save_sae(one, tmp_path / name)
        back = load_sae(tmp_path / name)
        assert torch.equal(back.encode(x), one.encode(x)) and torch.equal(back(x), one(x))
        assert (back.reads, back.writes, back.name) == (one.reads, one.writes, one.name)
        with pytest.raises(KeyError, match=f"lensbench_{name}"):
            Peer.load_from_disk(tmp_path / name)


def test_those_at_hand_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    save_sae(made(), tmp_path / "saes" / "one")
    save_sae(made(), tmp_path / "saes" / "sweep" / "k4")
    assert list(listed_saes()) == [*SHIPPED, "one", "sweep/k4"]
    for name in ("one", "sweep/k4"):
        assert torch.equal(load_sae(name).W_enc, made().W_enc)


def test_what_is_no_sae_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="there is no SAE in"):
        load_sae(tmp_path)
    save_sae(made(), tmp_path / "sae")
    with pytest.raises(InputError, match="is there already"):
        save_sae(made(), tmp_path / "sae")
    config = tmp_path / "sae" / "cfg.json"
    (tmp_path / "sae" / "card.json").unlink()  # as somebody else's
    plain = json.loads(config.read_text())
    for change, told in (
        ({"architecture": "temporal"}, "architecture 'temporal'"),
        ({"normalize_activations": "layer_norm"}, "normalises activations"),
        ({"reshape_activations": "hook_z"}, "all heads in one row"),
        ({"d_sae": 25}, "field W_enc: expected"),
    ):
        config.write_text(json.dumps(plain | change))
        with pytest.raises(InputError, match=told):
            load_sae(tmp_path / "sae")
    config.write_text("[")
    with pytest.raises(DamagedError, match="expected JSON"):
        load_sae(tmp_path / "sae")


def test_changed_weights_are_noticed(tmp_path: Path):
    save_sae(made(), tmp_path / "sae")
    weights = tmp_path / "sae" / "sae_weights.safetensors"
    tensors = load_file(weights)
    tensors["b_dec"][0] += 1e-3
    save_file(tensors, weights)
    with pytest.raises(DamagedError, match="field checksum"):
        load_sae(tmp_path / "sae")


def test_another_model_is_refused():
    model = load("induction-by-hand")
    with pytest.raises(InputError, match="8 wide"):
        check_sae(made(), model)
    wide = made(d=model.architecture.d_model)
    check_sae(wide, model)
    other = {"name": "other", "fingerprint": "0"}
    with pytest.raises(InputError, match=r"of another model \(other\): field"):
        check_sae(replace(wide, model=other), model)


def test_a_latent_is_a_direction():
    sae = made()
    found = sae.direction(3)
    torch.testing.assert_close(found.unit, sae.W_dec[3])
    with pytest.raises(InputError, match="has 0 to 23"):
        sae.direction(24)


@pytest.mark.parametrize(
    ("name", "value"), [("k", 3), ("apply_b_dec_to_input", False), ("d_in", 7)]
)
def test_a_config_that_was_changed_is_damaged(name: str, value: object, tmp_path: Path):
    save_sae(made(), tmp_path / "sae")
    path = tmp_path / "sae" / "cfg.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(DamagedError, match=rf"cfg\.json: field {name}: expected"):
        load_sae(tmp_path / "sae")


def test_numbers_that_cannot_be_are_refused(unchecked):
    for k in (0, 25, 4.0):
        with pytest.raises(InputError, match=rf"k is {k} of 24 latents; it is a whole number"):
            replace(made(), k=k)
    with pytest.raises(InputError, match="W_dec of a dictionary holds what is no finite number"):
        replace(made(), W_dec=torch.full((24, 8), torch.nan))

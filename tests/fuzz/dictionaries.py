"""Sparse dictionaries: folders of ours, SAELens', sparsify's, dictionary_learning's; atlases."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from sae_lens import StandardSAE, StandardSAEConfig
from safetensors.torch import save

from sae.activity import Activity, load_activity, save_activity
from sae.atlas import load_atlas, make_atlas, save_atlas
from sae.dictionary import SAE
from sae.rules import explain, load_rules, save_rules, text_of
from sae.saved import load_sae, save_sae
from tests.fuzz import seals
from tests.fuzz.target import Case, Files, Target, files_in, folder_target
from tests.test_sae_foreign import KINDS, D, K, N, learnt, sparsify_folder
from tests.test_sae_saved import drawn
from tests.test_sae_saved import made as dictionary
from workbench.corpus import from_ids
from workbench.models import Model, load
from workbench.sites import Site

FILE = "some.safetensors"


def targets(case: Case, made: Path) -> Iterator[Target]:
    yield folder_target("SAE, ours", case, _ours(made), load_sae, seal=seals.dictionary)
    yield folder_target("SAE, SAELens", case, [_peers(made)], load_sae)
    yield folder_target("SAE, SAELens before 6", case, [_old()], load_sae)
    sparsify_folder(made / "layers.3")
    sparse = {f"layers.3/{name}": data for name, data in files_in(made / "layers.3").items()}
    yield folder_target("SAE, sparsify", case, [sparse], lambda at: load_sae(at / "layers.3"))
    yield folder_target("SAE, dictionary_learning", case, [_learnt(k) for k in KINDS], load_sae)
    model = load("induction-by-hand", device="cpu")
    activity, atlas, rules = _features(made, model)
    yield folder_target(
        "activity", case, [activity], lambda at: load_activity(at / FILE), seal=seals.carded
    )
    yield folder_target("atlas", case, [atlas], _looked_at, seal=seals.carded)
    yield folder_target("rules", case, [rules], lambda at: load_rules(at / "rules.json"))


def _ours(made: Path) -> list[Files]:
    found = []
    for name, k in (("topk", 4), ("jumprelu", None)):
        save_sae(dictionary(k), made / name)
        found.append(files_in(made / name))
    return found


def _peers(made: Path) -> Files:
    config = StandardSAEConfig(d_in=8, d_sae=12)
    config.metadata.hook_name = "blocks.1.hook_resid_post"
    StandardSAE(config).save_model(made / "peer")
    return files_in(made / "peer")


def _old() -> Files:
    """As its versions before 6 wrote it: no metadata."""
    config = {"architecture": "standard", "d_in": 8, "d_sae": 12, "dtype": "float32",
              "device": "cpu", "hook_name": "blocks.1.hook_resid_post", "hook_layer": 1,
              "activation_fn_str": "relu", "normalize_activations": "none", "model_name": "gpt2",
              "apply_b_dec_to_input": True, "finetuning_scaling_factor": False,
              "context_size": 8, "prepend_bos": True}  # fmt: skip
    weights = {"W_enc": drawn(8, 12), "b_enc": drawn(12), "W_dec": drawn(12, 8), "b_dec": drawn(8)}
    return {"cfg.json": json.dumps(config).encode(), "sae_weights.safetensors": save(weights)}


def _learnt(kind: str) -> Files:
    trainer = {"dict_class": kind, "activation_dim": D, "dict_size": N, "k": K, "layer": 3,
               "lm_name": "a model", "submodule_name": "resid_post_layer_3"}  # fmt: skip
    config = {"trainer": trainer, "buffer": {"io": "out", "ctx_len": 128}}
    return {"config.json": json.dumps(config).encode(), "ae.safetensors": save(learnt(kind))}


def _features(made: Path, model: Model) -> tuple[Files, Files, Files]:
    """What is made of a dictionary of three latents on letters."""
    d = model.architecture.d_model
    rows = torch.nn.functional.normalize(drawn(3, d), dim=1)
    zero = torch.zeros(d)
    sae = SAE(Site("resid_post", 1), "topk", rows, torch.zeros(3), rows, zero, zero, 1, None)
    ids = np.random.default_rng(0).integers(1, 9, (40, 8))
    corpus = from_ids("letters", ids, documents=np.zeros_like(ids) + np.arange(40)[:, None])
    places = torch.from_numpy(np.flatnonzero(ids.ravel() == 5)).int()
    said = Activity(
        offsets=torch.tensor([0, len(places), len(places), len(places)]),
        places=places,
        values=torch.linspace(1, 10, len(places)).half(),
        corpus=corpus.digest,
        n_rows=320,
        n_ctx=8,
    )
    text = np.ones_like(ids, dtype=bool)
    aside = text & (np.arange(40) % 4 == 0)[:, None]
    rules = explain(said, text_of(corpus, text & ~aside, aside))
    save_activity(said, made / "activity.safetensors")
    save_atlas(make_atlas(sae, said, corpus, model, rules), made / "atlas.safetensors")
    save_rules(rules, made / "rules.json")
    return (
        {FILE: (made / "activity.safetensors").read_bytes()},
        {FILE: (made / "atlas.safetensors").read_bytes()},
        {"rules.json": (made / "rules.json").read_bytes()},
    )


def _looked_at(folder: Path) -> None:
    """As the page does: every latent, and a search."""
    atlas = load_atlas(folder / FILE)
    for latent in range(min(atlas.n_latents, 3)):
        atlas.feature(latent)
        atlas.rule(latent)
    atlas.search("five")

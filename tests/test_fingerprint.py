"""Identity: it moves with everything that can change a number, and with nothing else."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from workbench.hooks import run
from workbench.models import Identity, Model, load, weights_digest

QUERIES = {
    "gpt2": "transformer.h.1.attn.c_attn.weight",
    "neox": "gpt_neox.layers.1.attention.query_key_value.weight",
    "llama": "model.layers.1.self_attn.q_proj.weight",
}


def identity(folder: Path, dtype: str = "float32") -> Identity:
    return load(str(folder), device="cpu", dtype=dtype).identity


def flip_last_bit(weight: Tensor) -> None:
    """Edit the last bit of the last number, in place."""
    with torch.no_grad():
        weight.view(torch.int32).flatten()[-1:] ^= 1


def set_config(folder: Path, change: Callable[[dict], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def moved(one: Identity, other: Identity) -> list[str]:
    names = [field.name for field in fields(Identity)]
    return [name for name in names if getattr(one, name) != getattr(other, name)]


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("gpt2", lambda config: config.update(layer_norm_epsilon=1e-4)),
        ("neox", lambda config: config.update(layer_norm_eps=1e-4)),
        ("neox", lambda config: config["rope_parameters"].update(rope_theta=5000)),
        ("llama", lambda config: config["rope_parameters"].update(rope_theta=5000)),
        ("llama", lambda config: config.update(rms_norm_eps=1e-4)),
        ("llama", lambda config: config.update(hidden_act="gelu")),
    ],
)
def test_a_change_of_the_config_alone_moves_it(tiny, copied, family: str, change) -> None:
    folder = copied(family)
    assert identity(folder) == tiny(family).identity
    set_config(folder, change)
    # A rotary base moves the table of frequencies as well, which is a buffer of the weights.
    assert moved(identity(folder), tiny(family).identity) in (["config"], ["config", "weights"])


def test_one_bit_of_one_weight_moves_it(tiny, copied, family: str) -> None:
    folder = copied(family)
    weights = load_file(folder / "model.safetensors")
    flip_last_bit(weights[QUERIES[family]])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert moved(identity(folder), tiny(family).identity) == ["weights"]


def test_the_folders_name_and_its_writer_do_not_move_it(tiny, copied, family: str) -> None:
    folder = copied(family)
    set_config(folder, lambda c: c.update(_name_or_path="elsewhere", transformers_version="9.9"))
    renamed = folder.rename(folder.with_name("renamed"))
    assert identity(renamed) == tiny(family).identity


def test_processing_and_dtype_move_it(tiny, tiny_folder, family: str) -> None:
    raw = tiny(family).identity
    assert {"processing", "weights"} == set(moved(tiny(family, "folded").identity, raw))
    low = identity(tiny_folder(family), dtype="bfloat16")
    assert {"compute_dtype", "weights"} == set(moved(low, raw))
    assert low.compute_dtype == "bfloat16"


@pytest.mark.parametrize("name", [field.name for field in fields(Identity)])
def test_every_field_moves_the_fingerprint(tiny, name: str) -> None:
    whole = tiny("llama").identity
    assert len(whole.fingerprint) == 32
    assert replace(whole, **{name: "other"}).fingerprint != whole.fingerprint


def test_the_digest_sees_names_shapes_and_dtypes() -> None:
    zeros = torch.zeros(4)
    digests = [
        weights_digest([("a", zeros)]),
        weights_digest([("b", zeros)]),
        weights_digest([("a", zeros.view(2, 2))]),
        weights_digest([("a", zeros.view(torch.int32))]),
        weights_digest([("a", -zeros)]),  # equal as numbers, not as bits
        weights_digest([("a", zeros), ("b", zeros)]),
        weights_digest([("a", torch.zeros(()))]),
        weights_digest([]),
    ]
    assert len(set(digests)) == len(digests)
    for position in range(zeros.nbytes):
        flipped = zeros.clone()
        flipped.view(torch.uint8)[position] ^= 1
        assert weights_digest([("a", flipped)]) != digests[0], position
    pair = [("a", zeros), ("b", zeros + 1)]
    assert weights_digest(pair) == weights_digest(pair[::-1])
    view = torch.arange(6.0).view(2, 3).T
    assert weights_digest([("a", view)]) == weights_digest([("a", view.contiguous())])


def logits(model: Model, ids: Tensor, also: tuple[str, ...]) -> Tensor:
    found = run(model, ids, read=also, stop="never").logits
    assert found is not None
    return found


def test_edits_in_place_are_seen(copied, ids, family: str, tmp_path: Path) -> None:
    """By the fingerprint and by both roads, as a model loaded from the edited weights is."""
    model = load(str(copied(family)), device="cpu")
    before = model.identity, logits(model, ids, ())
    weight = model.weights.get_parameter(QUERIES[family])
    with torch.no_grad():
        weight *= 1.5
    assert moved(model.identity, before[0]) == ["weights"]
    model.weights.save_pretrained(tmp_path / "edited")  # type: ignore[operator]
    for file in copied_tokenizer(tmp_path / f"copy-{family}"):
        (tmp_path / "edited" / file.name).write_bytes(file.read_bytes())
    edited = load(str(tmp_path / "edited"), device="cpu")
    assert edited.identity == model.identity
    for also in ((), ("0.scores",)):
        assert not torch.allclose(logits(model, ids, also), before[1], atol=1e-3)
        assert torch.equal(logits(model, ids, also), logits(edited, ids, also))
    flip_last_bit(weight)
    assert model.identity != edited.identity


def copied_tokenizer(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if "token" in path.name]


def test_a_folded_model_edited_in_place_is_another(tiny_folder, ids, family: str) -> None:
    model = load(str(tiny_folder(family)), device="cpu", processing="folded")
    before = model.identity, logits(model, ids, ())
    name, weight = next((n, w) for n, w in model.weights.named_parameters() if w.ndim == 2)
    with torch.no_grad():
        weight *= 1.5
    assert moved(model.identity, before[0]) == ["weights"], name
    assert not torch.allclose(logits(model, ids, ()), before[1], atol=1e-3)


def test_a_replaced_parameter_is_seen(tiny_folder, ids) -> None:
    model = load(str(tiny_folder("llama")), device="cpu")
    before = model.identity
    projection = model.weights.get_submodule("model.layers.1.mlp.up_proj")
    projection.weight = torch.nn.Parameter(torch.zeros_like(projection.weight))  # type: ignore
    assert moved(model.identity, before) == ["weights"]
    for also in ((), ("0.scores",)):
        assert float(run(model, ids, read=["1.mlp_out", *also])["1.mlp_out"].abs().max()) == 0

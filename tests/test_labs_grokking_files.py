"""Checkpoints of others: each layout gives the same logits, and what does not fit is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.test_labs_grokking import SMALL, all_pairs, dense, shaken
from workbench.errors import InputError
from workbench.labs.grokking import Weights, logits, read_weights, save_weights
from workbench.models import load
from workbench.models.native import Shape, network, save_native
from workbench.models.tokens import Labels

# d_model 16, 2 heads of 8, d_mlp 32, p 7: only W_Q and its kin are square when joined


@pytest.fixture
def weights() -> Weights:
    return shaken().weights()


def put(path: Path, tensors: dict[str, Tensor]) -> Path:
    file = path / "theirs.safetensors"
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, file)
    return file


def same(one: Tensor, other: Tensor) -> bool:
    """Logits of some 10, which another order of sums moves in the sixth digit."""
    return torch.allclose(one, other, atol=1e-4)


def joined(value: Tensor) -> Tensor:
    """[head, d_model, d_head] as a linear layer has it."""
    return value.transpose(1, 2).flatten(0, 1)


LAYOUTS: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "as they are": lambda own: own,
    "embeddings turned": lambda own: {
        **own,
        **{name: own[name].T for name in ("W_E", "W_pos", "W_U")},
    },
    "MLP turned": lambda own: {**own, "W_in": own["W_in"].T, "W_out": own["W_out"].T},
    "heads as [head, d_head, d_model]": lambda own: {
        **own,
        **{name: own[name].transpose(1, 2) for name in ("W_Q", "W_K", "W_V")},
    },
    "W_O as [head, d_model, d_head]": lambda own: {**own, "W_O": own["W_O"].transpose(1, 2)},
    "heads joined": lambda own: {
        **own,
        **{name: joined(own[name]) for name in ("W_Q", "W_K", "W_V")},
        "W_O": own["W_O"].flatten(0, 1).T,
    },
    "W_O alone joined": lambda own: {**own, "W_O": own["W_O"].flatten(0, 1).T},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_logits(weights: Weights, tmp_path: Path, layout: str):
    file = put(tmp_path, LAYOUTS[layout](weights.tensors()))
    found = read_weights(file, heads=2 if layout == "heads joined" else None)
    assert same(logits(found), logits(weights))


def test_p_outputs_are_those_of_the_residues(weights: Weights, tmp_path: Path):
    file = put(tmp_path, {**weights.tensors(), "W_U": weights.W_U[:, :7]})
    assert same(logits(read_weights(file)), logits(weights)[..., :7])


def test_foreign_names_and_a_square_matrix_the_other_way_round(weights: Weights, tmp_path: Path):
    own = weights.tensors()
    theirs = {f"blocks.0.{name}": value for name, value in own.items()}
    theirs["blocks.0.W_Q"] = joined(own["W_Q"]).T  # [d_model, d_model], as x @ W has it
    theirs["blocks.0.mask"] = torch.ones(3, 3)
    names = {name: f"blocks.0.{name}" for name in own}
    file = put(tmp_path, theirs)
    turned = read_weights(
        file, {**names, "W_Q": "blocks.0.W_Q.T"}, heads=2, ignore=["blocks.0.mask"]
    )
    assert same(logits(turned), logits(weights))
    with pytest.raises(InputError, match=r"holds blocks.0.mask, which nothing asked for"):
        read_weights(file, names, heads=2)


def test_mixed_attention_is_read_and_bridged_no_more(tmp_path: Path):
    mixed = shaken(replace(SMALL, attention=0.25)).weights()
    save_weights(tmp_path / "mixed", mixed, {})
    assert same(logits(read_weights(tmp_path / "mixed")), logits(mixed))
    with pytest.raises(InputError, match=r"no tokenizer"):
        load(str(tmp_path / "mixed"), device="cpu")
    file = put(tmp_path, mixed.tensors())
    assert same(logits(read_weights(file, attention=0.25)), logits(mixed))
    assert not torch.allclose(logits(read_weights(file)), logits(mixed), atol=1e-3)
    with pytest.raises(InputError, match=r"attention 1.5 is no share"):
        read_weights(file, attention=1.5)


def test_a_native_folder(weights: Weights, tmp_path: Path):
    save_weights(tmp_path / "model", weights, {})
    found = read_weights(tmp_path / "model")
    assert same(logits(found), logits(weights)) and found.n_heads == 2
    save_weights(tmp_path / "half", weights, {}, torch.float16)
    assert torch.allclose(logits(read_weights(tmp_path / "half")), logits(weights), atol=0.1)


def test_biases_are_taken_up(weights: Weights, tmp_path: Path):
    drawn = torch.Generator().manual_seed(1)
    lengths = {"b_V": 16, "b_O": 16, "b_in": 32, "b_out": 16, "b_U": 8}
    biases = {name: torch.randn(n, generator=drawn) for name, n in lengths.items()}
    keys = torch.randn(2, 8, generator=drawn)  # by head; no softmax sees them
    file = put(tmp_path, {**weights.tensors(), **biases, "b_K": keys, "b_Q": torch.zeros(16)})
    a, b = all_pairs(7)
    pattern, *_ = dense(weights, a, b)
    stream = weights.W_E[torch.stack((a, b, torch.full_like(a, 7)), 1)] + weights.W_pos
    values = torch.einsum("nsd,hdk->nhsk", stream, weights.W_V) + biases["b_V"].view(2, 1, 8)
    mid = stream[:, 2] + torch.einsum("nhs,nhsk,hkd->nd", pattern, values, weights.W_O)
    mid = mid + biases["b_O"]
    post = (mid @ weights.W_in + biases["b_in"]).relu()
    out = (mid + post @ weights.W_out + biases["b_out"]) @ weights.W_U + biases["b_U"]
    assert torch.allclose(logits(read_weights(file)).flatten(0, 1), out, atol=1e-4)


def test_a_bias_of_the_query_is_refused(weights: Weights, tmp_path: Path):
    file = put(tmp_path, {**weights.tensors(), "b_Q": torch.ones(16)})
    with pytest.raises(InputError, match=r"b_Q is not 0"):
        read_weights(file)


def test_a_native_folder_with_biases(tmp_path: Path):
    shape = Shape(1, 2, 16, 3, 8, 32, act_fn="relu", normalization=None)
    module = network(shape)
    with torch.no_grad():
        module.layers[0].mlp.fc_in.bias.fill_(0.3)  # type: ignore[union-attr]
    tensors = dict(module.named_parameters())
    save_native(tmp_path / "model", shape, Labels((*map(str, range(7)), "=")), tensors, {})
    a, b = all_pairs(7)
    out = module(torch.stack((a, b, torch.full_like(a, 7)), 1))[:, -1]
    found = logits(read_weights(tmp_path / "model")).flatten(0, 1)
    assert torch.allclose(found, out, atol=1e-5)


WRONG = {
    "W_E": (torch.zeros(8, 15), r"W_E is \(8, 15\), expected \(p \+ 1, 16\) or \(16, p \+ 1\)"),
    "W_pos": (torch.zeros(2, 16), r"W_pos is \(2, 16\), expected \(3, d_model\)"),
    "W_Q": (torch.zeros(3, 8, 16), r"W_K is \(2, 16, 8\), expected \(3, 8, 16\)"),
    "W_V": (torch.zeros(2, 8, 15), r"W_V is \(2, 8, 15\), expected \(2, 8, 16\)"),
    "W_O": (torch.zeros(2, 9, 16), r"W_O is \(2, 9, 16\), expected \(2, 8, 16\)"),
    "W_in": (torch.zeros(15, 32), r"W_in is \(15, 32\), expected \(16, d_mlp\)"),
    "W_out": (torch.zeros(31, 16), r"W_out is \(31, 16\), expected \(32, 16\) or \(16, 32\)"),
    "W_U": (torch.zeros(16, 9), r"W_U is \(16, 9\), expected \(16, 8\) or \(16, 7\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_by_tensor_and_shapes(
    weights: Weights, tmp_path: Path, name: str
):
    value, told = WRONG[name]
    with pytest.raises(InputError, match=told):
        read_weights(put(tmp_path, {**weights.tensors(), name: value}))


def test_a_bias_of_another_length_is_refused(weights: Weights, tmp_path: Path):
    with pytest.raises(InputError, match=r"b_in is \(31,\), expected \(32,\)"):
        read_weights(put(tmp_path, {**weights.tensors(), "b_in": torch.ones(31)}))


def test_what_is_no_number_is_refused(weights: Weights, tmp_path: Path):
    broken = torch.full_like(weights.W_Q, torch.inf)
    with pytest.raises(InputError, match=r"W_Q has values that are no numbers"):
        read_weights(put(tmp_path, {**weights.tensors(), "W_Q": broken}))


def test_missing_tensors_and_names_are_told(weights: Weights, tmp_path: Path):
    own = weights.tensors()
    file = put(tmp_path, {name: value for name, value in own.items() if name != "W_in"})
    with pytest.raises(InputError, match=r"no tensor 'W_in' for W_in; it has W_E"):
        read_weights(file)
    with pytest.raises(InputError, match=r"no tensor 'mlp.w' for W_in"):
        read_weights(file, {"W_in": "mlp.w"})
    with pytest.raises(InputError, match=r"names speak of W_X"):
        read_weights(file, {"W_X": "W_in"})


def test_joined_heads_have_to_be_counted(weights: Weights, tmp_path: Path):
    file = put(tmp_path, LAYOUTS["heads joined"](weights.tensors()))
    with pytest.raises(InputError, match=r"W_Q is \(16, 16\), all heads in one; say how many"):
        read_weights(file)
    with pytest.raises(InputError, match=r"W_Q is \(16, 16\), expected \(3 \* d_head, 16\)"):
        read_weights(file, heads=3)
    separate = put(tmp_path, weights.tensors())
    with pytest.raises(InputError, match=r"W_Q is \(2, 16, 8\), expected \(4, d_head, 16\)"):
        read_weights(separate, heads=4)


def test_a_pickle_is_never_opened(weights: Weights, tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"W_E": Trap()}, tmp_path / "theirs.pt")
    with pytest.raises(InputError, match="there is no checkpoint at"):
        read_weights(tmp_path / "none.pt")
    with pytest.raises(InputError, match=r"is no safetensors file .* a pickle may run any"):
        read_weights(tmp_path / "theirs.pt")
    assert not (tmp_path / "sprung").exists()


def test_a_folder_of_another_model_is_refused(tmp_path: Path):
    shape = Shape(2, 2, 16, 5, 8, 32)
    tensors = dict(network(shape).named_parameters())
    save_native(tmp_path / "gpt", shape, Labels(tuple("abcdefgh")), tensors, {})
    told = r"n_layers 2 \(expected 1\), n_ctx 5 \(expected 3\), act_fn gelu_new \(expected relu\)"
    with pytest.raises(InputError, match=told):
        read_weights(tmp_path / "gpt")
    (tmp_path / "gpt" / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(InputError, match=r"model of type 'llama'"):
        read_weights(tmp_path / "gpt")
    with pytest.raises(InputError, match=r"config.json does not load"):
        read_weights(tmp_path)


def test_a_damaged_folder_is_refused(weights: Weights, tmp_path: Path):
    save_weights(tmp_path / "model", weights, {})
    file = tmp_path / "model" / "model.safetensors"
    save_file({"head.weight": torch.ones(8, 16)}, file)
    with pytest.raises(InputError, match=r"lacks tok_embed.weight, pos.weight"):
        read_weights(tmp_path / "model")

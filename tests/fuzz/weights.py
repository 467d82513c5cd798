"""Weights: safetensors of any sort, folders of models, GGUF, checkpoints of labs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig

from tests.conftest import CONFIGS, _tokenizer
from tests.fuzz.target import Case, Files, Target, files_in, folder_target
from workbench.labs.grokking.checkpoints import read_weights
from workbench.labs.superposition.checkpoint import save_tensors, toy_from
from workbench.labs.tensors import read_tensors
from workbench.models import load
from workbench.models.foreign import read_foreign
from workbench.models.native import Shape, network, save_native
from workbench.models.smollm2 import SPECIAL, convert
from workbench.models.tokens import Labels

TINY = "tiny"  # the folder of a model in the Hub's format, beneath what is `made`


def targets(case: Case, made: Path) -> Iterator[Target]:
    """`made` is a folder for what seeds are made of."""
    yield folder_target(
        "safetensors", case, [_tensors(made)], lambda at: read_tensors(at / "some.safetensors")
    )
    yield folder_target("model, native", case, _native(made), lambda at: load(str(at)))
    yield folder_target("model, other code's", case, [_old(made)], _read_old)
    yield folder_target("model, Hub's folder", case, [files_in(tiny(made))], _load_whole)
    yield folder_target("GGUF", case, [{"m.gguf": gguf(made)}], _converted, fresh=True)
    yield folder_target("lab: grokking, folder", case, _grokking(made), read_weights)
    yield folder_target(
        "lab: grokking, file",
        case,
        [_grokking_file(made)],
        lambda at: read_weights(at / "some.safetensors", heads=2),
    )
    yield folder_target("lab: superposition", case, _toys(made), toy_from)


def _load_whole(folder: Path) -> None:
    """Its configuration too may ask for a file elsewhere."""
    load(str(folder), device="cpu")


def _converted(folder: Path) -> None:
    convert(folder / "m.gguf", folder / "made")


def _tensors(made: Path) -> Files:
    draw = torch.Generator().manual_seed(0)
    whole = {
        "W": torch.randn(6, 4, generator=draw),
        "half": torch.randn(3, generator=draw).half(),
        "brain": torch.randn(2, 2, 2, generator=draw).bfloat16(),
        "none": torch.zeros(0, 3),
    }
    save_file(whole, made / "some.safetensors", metadata={"format": "pt"})
    return {"some.safetensors": (made / "some.safetensors").read_bytes()}


def _native(made: Path) -> list[Files]:
    found = []
    for name, biases, norm in (("plain", True, "LN"), ("bare", False, None)):
        shape = Shape(1, 2, 8, 6, 5, 12, normalization=norm, biases=biases)
        weights = dict(network(shape, 0).named_parameters())
        labels = Labels(("a", "b", "c", "=", "end"), bos="a", pad=None)
        save_native(made / name, shape, labels, weights, {"about": name})
        found.append(files_in(made / name))
    return found


def _old(made: Path) -> Files:
    """A transformer of two layers of attention as TransformerLens had them."""
    shapes = {"embed.W_E": (5, 8), "pos_embed.W_pos": (6, 8), "ln_final.w": (8,)}
    shapes |= {"ln_final.b": (8,), "unembed.W_U": (8, 5), "unembed.b_U": (5,)}
    for at in ("blocks.0.", "blocks.1."):
        shapes |= {f"{at}attn.W_{name}": (2, 8, 4) for name in "QKV"}
        shapes |= {f"{at}attn.b_{name}": (2, 4) for name in "QKV"}
        shapes |= {f"{at}attn.W_O": (2, 4, 8), f"{at}attn.b_O": (8,)}
        shapes |= {f"{at}ln1.{part}": (8,) for part in "wb"}
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, made / "old")
    return {"old.safetensors": (made / "old").read_bytes()}


def _read_old(folder: Path) -> None:
    read_foreign(folder / "old.safetensors", "TransformerLens")


def tiny(made: Path) -> Path:
    """A Llama of one layer, with a tokenizer of bytes."""
    folder = made / TINY
    if not folder.is_dir():
        torch.manual_seed(7)
        config = LlamaConfig(**{**CONFIGS["llama"].to_dict(), "num_hidden_layers": 1})
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        _tokenizer().save_pretrained(folder)
    return folder


def gguf(made: Path) -> bytes:
    """A file with a tokenizer and weights of the names and types that are read."""
    tokens = ["<|endoftext|>", "<|im_end|>", "a", "b", "ab", "Ġ"]
    writer = GGUFWriter(made / "m.gguf", "llama")
    writer.add_token_list(tokens)
    writer.add_token_merges(["a b"])
    writer.add_token_types([3, 3, 1, 1, 1, 1])
    writer.add_unk_token_id(0)
    writer.add_chat_template("{{ messages }}")
    assert set(SPECIAL.values()) <= set(tokens)
    draw = np.random.default_rng(0)
    for name, rows in (("token_embd", 6), ("blk.0.attn_q", 18), ("blk.0.attn_k", 6)):
        writer.add_tensor(f"{name}.weight", draw.normal(size=(rows, 32)).astype(np.float32))
    writer.add_tensor("output_norm.weight", np.ones(32, dtype=np.float16))
    raw = draw.integers(0, 255, (4, 20), dtype=np.uint8)  # blocks of 32 in 20 bytes
    writer.add_tensor("blk.0.ffn_up.weight", raw, raw_dtype=GGMLQuantizationType.Q4_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (made / "m.gguf").read_bytes()


def _grokking(made: Path) -> list[Files]:
    shape = Shape(1, 2, 8, 3, 6, 12, act_fn="relu", normalization=None, biases=False)
    weights = dict(network(shape, 0).named_parameters())
    labels = Labels(tuple("01234="))
    save_native(made / "grokking", shape, labels, weights, {"log": []})
    return [files_in(made / "grokking")]


def _grokking_file(made: Path) -> Files:
    draw = torch.Generator().manual_seed(0)
    shapes = {"W_E": (6, 8), "W_pos": (3, 8), "W_Q": (2, 4, 8), "W_K": (8, 8), "W_V": (2, 8, 4),
              "W_O": (8, 8), "W_in": (8, 12), "W_out": (12, 8), "W_U": (8, 5),
              "b_in": (12,), "b_U": (5,)}  # fmt: skip
    whole = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    save_file(whole, made / "grok.safetensors")
    return {"some.safetensors": (made / "grok.safetensors").read_bytes()}


def _toys(made: Path) -> list[Files]:
    draw = torch.Generator().manual_seed(0)
    whole = {"weight": torch.randn(3, 2, 5, generator=draw), "bias": torch.zeros(3, 5)}
    save_tensors(made / "toys", whole, {"about": "toys"})
    return [
        files_in(made / "toys"),
        {"model.safetensors": files_in(made / "toys")["model.safetensors"]},
    ]

"""Families that the analyses of weights and paths do not understand are refused in a sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, Qwen3Config

from workbench import hooks
from workbench.attribution import Question, attribute
from workbench.circuits import ov, partners, qk
from workbench.errors import InputError
from workbench.lens import lens, residuals
from workbench.models import Model, load
from workbench.sites import Head

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 3,
    "head_dim": 8,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="module")
def other(tmp_path_factory, tiny_folder) -> Callable[..., Model]:
    """A config -> a random model of it, with the tiny models' tokenizer."""
    from transformers import AutoTokenizer

    def made(config) -> Model:
        folder: Path = tmp_path_factory.mktemp(config.model_type)
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny_folder("gpt2")).save_pretrained(folder)
        return load(str(folder), device="cpu")

    return made


@pytest.fixture(scope="module")
def gemma(other) -> Model:
    return other(Gemma2Config(**SIZES))


@pytest.fixture(scope="module")
def qwen(other) -> Model:
    return other(Qwen3Config(**SIZES))


def asked(model: Model) -> Question:
    return Question(torch.tensor([[1, 5, 9]]), torch.tensor([3]), torch.tensor([4]))


def test_gemma_2_runs_but_its_lens_and_paths_are_refused(gemma: Model) -> None:
    ids = torch.tensor([[1, 5, 9]])
    assert hooks.run(gemma, ids).logits is not None
    resid, _ = residuals(gemma, ids)
    with pytest.raises(InputError, match=r"\(gemma2\) caps its logits"):
        lens(resid, gemma.unembed)
    with pytest.raises(InputError, match=r"\(gemma2\) caps its logits"):
        attribute(gemma, asked(gemma))
    with pytest.raises(InputError, match=r"\(gemma2\) normalises what attention and MLP write"):
        ov(gemma, Head(0, 0))


def test_qwen_3_has_paths_but_no_qk_circuit(qwen: Model) -> None:
    found = attribute(qwen, asked(qwen))
    assert abs(float(found.remainder[0])) < 1e-4
    assert ov(qwen, Head(0, 0)).kind == "OV"
    for refused in (lambda: qk(qwen, Head(0, 0)), lambda: partners(qwen, Head(0, 0))):
        with pytest.raises(InputError, match=r"\(qwen3\) normalises queries and keys"):
            refused()

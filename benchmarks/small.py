"""A small GPT-2 with random weights, as a folder in the Hub's format."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

VOCABULARY = 1000


def write(
    folder: Path,
    *,
    d_model: int = 256,
    n_layers: int = 4,
    n_heads: int = 4,
    d_vocab: int = VOCABULARY,
) -> Path:
    """A model of these sizes, and a tokenizer of 1,000 words, which need not be all its tokens."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=d_vocab,
        n_positions=256,
        n_embd=d_model,
        n_layer=n_layers,
        n_head=n_heads,
        bos_token_id=0,
        eos_token_id=0,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    words = Tokenizer(
        models.WordLevel({f"w{number}": number for number in range(VOCABULARY)}, unk_token="w0")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="w0", eos_token="w0", unk_token="w0"
    ).save_pretrained(folder)
    return folder

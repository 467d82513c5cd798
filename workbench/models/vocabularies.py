"""The vocabulary of a small model's folder: labels in its config, or a tokenizer's files."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from workbench.errors import InputError
from workbench.models.tokens import HubVocabulary, Labels

TOKENIZER = "tokenizer"


def write_vocabulary(folder: Path, vocabulary: Labels | HubVocabulary) -> dict[str, Any] | str:
    """What config.json says of it; a tokenizer's files are written beside."""
    if isinstance(vocabulary, Labels):
        return asdict(vocabulary)
    vocabulary.tokenizer.save_pretrained(folder)
    return TOKENIZER


def read_vocabulary(folder: Path, told: Mapping[str, Any] | str) -> Labels | HubVocabulary:
    """The vocabulary of a folder, as its config.json tells. Raises `InputError` for files that do
    not load, and `LookupError` or `TypeError` for what is not told whole."""
    if told != TOKENIZER:
        if isinstance(told, str):
            raise TypeError(f"vocabulary {told!r}")
        labels, special = tuple(told["labels"]), (told["bos"], told["pad"])
        if not all(isinstance(one, str) for one in labels):
            raise TypeError("labels that are no texts")
        if missing := [one for one in special if one is not None and one not in labels]:
            raise LookupError(f"no label {missing[0]!r}")
        return Labels(labels, *special)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        tokenizer("a")  # it looks at some of its settings only now
        return HubVocabulary(tokenizer)
    except Exception as error:  # the library raises whatever a file's content makes of it
        raise InputError(
            f"{folder} has no tokenizer that loads ({error}); give a folder that `workbench train` "
            "wrote, with its tokenizer.json"
        ) from error

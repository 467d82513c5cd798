"""Checksums written anew: they guard against damage, so who means harm makes them fit."""

import json
from collections.abc import Callable
from typing import Any

import safetensors.torch
import xxhash

from tests.fuzz.target import Files
from tests.fuzz.tensors import framed
from workbench.carded import checksum
from workbench.corpus.packed import _card_sum

Seal = Callable[[Files], Files]


def safely(seal: Seal) -> Seal:
    """`seal`, or the files as they are where they are no longer what has a checksum."""

    def sealed(files: Files) -> Files:
        try:
            return seal(files)
        except Exception:  # whatever the change has left
            return files

    return sealed


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the data of a safetensors file."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def joined(told: Any, body: bytes) -> bytes:
    return framed(json.dumps(told).encode("utf-8", "surrogatepass"), body)


@safely
def carded(files: Files) -> Files:
    """Of `workbench.carded`: over the card and the tensors."""
    made = dict(files)
    for name, data in files.items():
        told, body = parts(data)
        card = dict(json.loads(told["__metadata__"]["card"]))
        card.pop("checksum", None)
        card["checksum"] = checksum(card, safetensors.torch.load(data))
        told["__metadata__"]["card"] = json.dumps(card)
        made[name] = joined(told, body)
    return made


@safely
def entry(files: Files) -> Files:
    """Of an entry of the store: over its words and the tensor."""
    made = dict(files)
    for name, data in files.items():
        if name.endswith(".safetensors"):
            told, body = parts(data)
            words, about = told["__metadata__"], told["activation"]
            dtype = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[about["dtype"]]
            shape = tuple(about["shape"])
            state = xxhash.xxh3_128(
                f"{words['key']}|{words['made']}|torch.{dtype}|{shape}|".encode()
            )
            state.update(body)
            words["checksum"] = state.hexdigest()
            made[name] = joined(told, body)
    return made


@safely
def shard(files: Files) -> Files:
    """Of a shard's header, and of the manifest."""
    made = dict(files)
    for name, data in files.items():
        if name.endswith(".safetensors"):
            told, body = parts(data)
            words, about = told["__metadata__"], told["activation"]
            names = ("format", "key", "shard", "rounding", "contexts")
            text = "|".join(
                [*(words[n] for n in names), "torch.float32", str(tuple(about["shape"]))]
            )
            words["checksum"] = xxhash.xxh3_128_hexdigest(text.encode())
            made[name] = joined(told, body)
        else:
            fields = json.loads(data)
            fields.pop("checksum", None)
            plain = json.dumps(fields, sort_keys=True).encode()
            fields["checksum"] = xxhash.xxh3_128_hexdigest(plain)
            made[name] = json.dumps(fields).encode()
    return made


@safely
def packed(files: Files) -> Files:
    """Of a packed corpus: each array's, and the card's own."""
    made, name = dict(files), "card.json"
    card = json.loads(files[name])
    card.pop("card", None)
    for array in ("ids", "documents"):
        data = files[f"{array}.npy"]
        card[array] = xxhash.xxh3_128_hexdigest(data[128:])  # behind NumPy's header
    made[name] = json.dumps(card | {"card": _card_sum(card)}).encode()
    return made


@safely
def dictionary(files: Files) -> Files:
    """Of an SAE's folder: over its card and its weights."""
    made, name = dict(files), "card.json"
    card = json.loads(files[name])
    card.pop("checksum", None)
    card["config"] = json.loads(files["cfg.json"])
    card["checksum"] = checksum(card, safetensors.torch.load(files["sae_weights.safetensors"]))
    made[name] = json.dumps(card).encode()
    return made


@safely
def lens(files: Files) -> Files:
    """Of a tuned lens: over its file."""
    made, card_name = dict(files), next(name for name in files if name.endswith("card.json"))
    weights = next(name for name in files if name.endswith(".safetensors"))
    card = json.loads(files[card_name])
    card["checksum"] = xxhash.xxh3_128_hexdigest(files[weights])
    made[card_name] = json.dumps(card).encode()
    return made

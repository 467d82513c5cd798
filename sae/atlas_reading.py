"""The parts of an atlas as its file holds them, unpacked; refused where they do not fit together,
since a checksum can be made to fit lies."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sae.rules import rules_of

_PER_LATENT = ("counts", "largest", "n_examples")
_TABLES = (("histogram",), ("positions",), ("tokens", "token_counts", "token_means"),
           ("promoted", "promoted_logits"), ("suppressed", "suppressed_logits"),
           ("neighbours", "cosines"))  # fmt: skip
_PER_EXAMPLE = ("groups", "context", "pos", "first", "lengths")
_TOKENS = ("ids", "tokens", "promoted", "suppressed")


def unpacked(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of an `Atlas`, by name. Raises `ValueError` and its like for what is none."""
    large = {
        name: value.float() if value.is_floating_point() else value.int() - 1
        for name, value in tensors.items()
    }
    active = np.unpackbits(tensors["active"].numpy(), count=len(tensors["ids"])).astype(bool)
    values = torch.zeros(len(active))
    values[torch.from_numpy(active)] = large["values"]
    strings = dict(zip(large["string_ids"].tolist(), card["strings"], strict=True))
    made = {**large, **card, "values": values, "strings": strings, "rules": rules_of(tensors)}
    _expect_whole(made)
    return made


def _expect_whole(made: Mapping[str, Any]) -> None:
    """Raise `ValueError` that names the first field which does not fit the others."""
    n = len(made["counts"])
    examples = int(made["n_examples"].clamp_min(0).sum())
    for name in _PER_LATENT:
        _expect_shape(name, made[name], (n,))
    for names in _TABLES:
        width = made[names[0]].shape[-1]
        for name in names:
            _expect_shape(name, made[name], (n, width))
    for name in _PER_EXAMPLE:
        _expect_shape(name, made[name], (examples,))
    tokens = int(made["lengths"].sum())
    for name in ("ids", "values"):
        _expect_shape(name, made[name], (tokens,))
    at = made["pos"] - made["first"]
    _expect("pos", bool(((at >= 0) & (at < made["lengths"])).all()))
    _expect("rules", len(made["rules"]) == n)
    _expect("n_rows and n_ctx", made["n_rows"] > 0 and made["n_ctx"] > 0)
    _expect("largest", bool((made["largest"].isfinite() & (made["largest"] >= 0)).all()))
    _expect("neighbours", bool((made["neighbours"] < n).all()))
    _expect_strings(made)


def _expect_strings(made: Mapping[str, Any]) -> None:
    """Each token that is shown has its text."""
    _expect("ids", bool((made["ids"] >= 0).all()))
    shown = torch.cat([made[name].flatten() for name in _TOKENS]).unique().tolist()
    said = {token for rule in made["rules"] if rule for word in rule.words for token in word}
    _expect("strings", {*said, *shown} - {-1} <= made["strings"].keys())
    _expect("strings", all(isinstance(one, str) for one in made["strings"].values()))


def _expect_shape(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(value.shape) != shape:
        raise ValueError(f"{name} is {tuple(value.shape)}, not {shape}")


def _expect(name: str, fits: bool) -> None:
    if not fits:
        raise ValueError(f"{name} does not fit the rest")

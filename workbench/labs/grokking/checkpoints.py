"""Weights from files: a native folder, or somebody's safetensors with names of their own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench.errors import InputError
from workbench.labs.grokking.weights import EMBED, IN, OUT, POSITIONS, UNEMBED, K, O, Q, V, Weights
from workbench.labs.tensors import read_tensors
from workbench.models.native import CONFIG, FAMILY, Shape, read_config
from workbench.models.native import WEIGHTS as FILE

MIXED = "lensbench-grokking-mixed"
"""The model_type of a folder whose attention is no softmax alone, which no bridge can run."""
NAMES = ("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "W_in", "W_out", "W_U")
BIASES = ("b_Q", "b_K", "b_V", "b_O", "b_in", "b_out", "b_U")
_NATIVE = {
    "W_E": EMBED,
    "W_pos": POSITIONS,
    **dict(zip(("W_Q", "W_K", "W_V", "W_O"), (Q, K, V, O), strict=True)),
    "W_in": IN,
    "W_out": OUT,
    "W_U": UNEMBED,
}
_NATIVE_BIASES = {
    f"b_{short}": _NATIVE[f"W_{short}"].replace("weight", "bias")
    for short in ("Q", "K", "V", "O", "in", "out")
}
_FITTING = {"n_layers": 1, "n_ctx": 3, "act_fn": "relu", "normalization": None}


def read_weights(
    path: Path | str,
    names: Mapping[str, str] | None = None,
    *,
    heads: int | None = None,
    attention: float | None = None,
    ignore: Sequence[str] = (),
) -> Weights:
    """The weights of a one-layer ReLU transformer on (a, b, =), in float32.

    `path` is a folder of `workbench train`, or a safetensors file; `names` says what a tensor is
    called there, ours to theirs (`{"W_E": "embed.weight"}`; the same where it says nothing), and
    ".T" behind their name transposes it first. Known: W_E and W_U either way round; W_Q, W_K, W_V
    by head [head, d_head, d_model] or [head, d_model, d_head], or joined as a linear layer has
    them, [head * d_head, d_model], which needs `heads`; W_O [head, d_head, d_model], [head,
    d_model, d_head], or joined, [d_model, head * d_head]; W_in and W_out either way round; outputs
    p or p + 1. Where a square matrix can be read in two ways the first of these is taken, for a
    joined one the linear layer's. Biases are taken up, but for that of the query, which must be 0.
    `attention` is the share of the softmax, the rest a third for each position. Nothing in the
    file may be left over unless `ignore` names it.

    Raises `InputError` for what does not fit: the tensor, its shape, the shape expected.
    """
    path = Path(path)
    if path.is_dir():
        given, heads, attention = _native(path, attention)
    else:
        given = _foreign(path, names or {}, ignore)
    if attention is None:
        attention = 1.0
    if not 0 <= attention <= 1:
        raise InputError(f"attention {attention} is no share; give a number from 0 to 1")
    return _fitted(str(path), given, heads, attention)


def _native(folder: Path, attention: float | None) -> tuple[dict[str, Tensor], int, float]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder / CONFIG} does not load: {error}") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in (FAMILY, MIXED):
        raise InputError(
            f"{folder} holds a model of type {kind!r}; give a folder that `workbench train "
            "grokking` wrote, or a safetensors file with names"
        )
    shape, _ = read_config(folder, config)
    _expect_shape(folder, shape)
    found = read_tensors(folder / FILE)
    own = {**_NATIVE, **_NATIVE_BIASES}
    given = {name: found[theirs] for name, theirs in own.items() if theirs in found}
    missing = [theirs for theirs in _NATIVE.values() if theirs not in found]
    if missing:
        raise InputError(f"{folder / FILE} lacks {', '.join(missing)}; give a whole folder")
    held = config.get("attention", 1.0) if attention is None else attention
    if not isinstance(held, int | float):
        raise InputError(f"{folder / CONFIG}: attention {held!r} is no share; it is from 0 to 1")
    return given, shape.n_heads, float(held)


def _expect_shape(folder: Path, shape: Shape) -> None:
    told = [
        f"{name} {getattr(shape, name)} (expected {wanted})"
        for name, wanted in _FITTING.items()
        if getattr(shape, name) != wanted
    ]
    if not shape.d_mlp:
        told.append("d_mlp 0 (expected an MLP)")
    if told:
        raise InputError(
            f"{folder} is no model of this lab: {', '.join(told)}; give one that reads (a, b, =) "
            "with one layer, ReLU and no LayerNorm"
        )


def _foreign(path: Path, names: Mapping[str, str], ignore: Sequence[str]) -> dict[str, Tensor]:
    unknown = [name for name in names if name not in (*NAMES, *BIASES)]
    if unknown:
        raise InputError(
            f"names speak of {', '.join(unknown)}, which this lab does not have; known: "
            f"{', '.join((*NAMES, *BIASES))}"
        )
    found = read_tensors(path)
    given, used = {}, set(ignore)
    for name in (*NAMES, *BIASES):
        theirs = names.get(name, name)
        plain = theirs.removesuffix(".T")
        if theirs in found:  # a name that ends so of itself
            plain = theirs
        if plain in found:
            value = found[plain]
            given[name] = value.T if plain != theirs else value
            used.add(plain)
        elif name in NAMES or name in names:
            raise InputError(
                f"{path} has no tensor {plain!r} for {name}; it has {', '.join(found)}: say by "
                f"names what {name} is called"
            )
    left = [name for name in found if name not in used]
    if left:
        raise InputError(
            f"{path} holds {', '.join(left)}, which nothing asked for; name each in names or, if "
            "it does not change the logits, in ignore"
        )
    return given


@dataclass(frozen=True)
class _Sizes:
    path: str
    d_model: int
    p: int
    heads: int
    d_head: int

    def refuse(self, name: str, value: Tensor, expected: str) -> InputError:
        return _refusal(self.path, name, value, expected)


def _refusal(path: str, name: str, value: Tensor, expected: str) -> InputError:
    return InputError(f"{path}: {name} is {tuple(value.shape)}, expected {expected}")


def _fitted(path: str, given: Mapping[str, Tensor], heads: int | None, share: float) -> Weights:
    sizes = _sizes(path, given, heads)
    d_model, p = sizes.d_model, sizes.p
    w_in, w_out, w_u = given["W_in"], given["W_out"], given["W_U"]
    if w_in.ndim != 2 or d_model not in w_in.shape:
        raise sizes.refuse("W_in", w_in, f"({d_model}, d_mlp) or (d_mlp, {d_model})")
    w_in = w_in if w_in.shape[0] == d_model else w_in.T
    d_mlp = w_in.shape[1]
    weights: dict[str, Any] = {
        "W_E": _either(sizes, "W_E", given["W_E"], (p + 1, d_model)),
        "W_pos": _either(sizes, "W_pos", given["W_pos"], (3, d_model)),
        **{name: _into_heads(sizes, name, given[name]) for name in ("W_Q", "W_K", "W_V")},
        "W_O": _out_of_heads(sizes, given["W_O"]),
        "W_in": w_in,
        "W_out": _either(sizes, "W_out", w_out, (d_mlp, d_model)),
    }
    outputs = next((n for n in (p + 1, p) if sorted(w_u.shape) == sorted((d_model, n))), None)
    if outputs is None:
        expected = f"({d_model}, {p + 1}) or ({d_model}, {p}), or transposed"
        raise sizes.refuse("W_U", w_u, expected)
    weights["W_U"] = w_u if w_u.shape == (d_model, outputs) else w_u.T
    made = Weights(**{n: v.contiguous() for n, v in weights.items()}, attention=share)
    return _with_biases(sizes, made, {name: given[name] for name in BIASES if name in given})


def _sizes(path: str, given: Mapping[str, Tensor], heads: int | None) -> _Sizes:
    positions, embedding, query = given["W_pos"], given["W_E"], given["W_Q"]
    if positions.ndim != 2 or 3 not in positions.shape:
        raise _refusal(path, "W_pos", positions, "(3, d_model): one for each of a, b and =")
    d_model = positions.shape[1] if positions.shape[0] == 3 else positions.shape[0]
    if embedding.ndim != 2 or d_model not in embedding.shape:
        expected = f"(p + 1, {d_model}) or ({d_model}, p + 1), as W_pos has {d_model} wide vectors"
        raise _refusal(path, "W_E", embedding, expected)
    vocabulary = embedding.shape[0] if embedding.shape[1] == d_model else embedding.shape[1]
    if vocabulary < 3:
        raise _refusal(path, "W_E", embedding, f"(p + 1, {d_model}) with p from 2")
    if query.ndim == 3:
        found = query.shape[0]
        if heads not in (None, found):
            raise _refusal(path, "W_Q", query, f"({heads}, d_head, {d_model})")
        d_head = query.shape[1] if query.shape[2] == d_model else query.shape[2]
        return _Sizes(path, d_model, vocabulary - 1, found, d_head)
    if heads is None:
        raise InputError(f"{path}: W_Q is {tuple(query.shape)}, all heads in one; say how many")
    if heads < 1 or query.ndim != 2 or query.shape[0] % heads:
        raise _refusal(path, "W_Q", query, f"({heads} * d_head, {d_model})")
    return _Sizes(path, d_model, vocabulary - 1, heads, query.shape[0] // heads)


def _either(sizes: _Sizes, name: str, value: Tensor, expected: tuple[int, int]) -> Tensor:
    if value.shape == expected:
        return value
    if value.shape == expected[::-1]:
        return value.T
    raise sizes.refuse(name, value, f"{expected} or {expected[::-1]}")


def _into_heads(sizes: _Sizes, name: str, value: Tensor) -> Tensor:
    heads, d_head, d_model = sizes.heads, sizes.d_head, sizes.d_model
    if value.shape == (heads, d_head, d_model):
        return value.transpose(1, 2)
    if value.shape == (heads, d_model, d_head):
        return value
    if value.shape == (heads * d_head, d_model):
        return value.unflatten(0, (heads, d_head)).transpose(1, 2)
    expected = f"({heads}, {d_head}, {d_model}), ({heads}, {d_model}, {d_head}) or"
    raise sizes.refuse(name, value, f"{expected} ({heads * d_head}, {d_model})")


def _out_of_heads(sizes: _Sizes, value: Tensor) -> Tensor:
    heads, d_head, d_model = sizes.heads, sizes.d_head, sizes.d_model
    if value.shape == (heads, d_head, d_model):
        return value
    if value.shape == (heads, d_model, d_head):
        return value.transpose(1, 2)
    if value.shape == (d_model, heads * d_head):
        return value.T.unflatten(0, (heads, d_head))
    expected = f"({heads}, {d_head}, {d_model}), ({heads}, {d_model}, {d_head}) or"
    raise sizes.refuse("W_O", value, f"{expected} ({d_model}, {heads * d_head})")


def _with_biases(sizes: _Sizes, made: Weights, biases: Mapping[str, Tensor]) -> Weights:
    """Those behind the attention, as biases of the MLP's input and of the logits.

    A pattern's row sums to 1, so that the values' bias is a constant; that of the keys adds the
    same to all scores, which no softmax sees.
    """
    width = sizes.heads * sizes.d_head
    lengths = dict.fromkeys(("b_Q", "b_K", "b_V"), width)
    lengths |= {"b_O": sizes.d_model, "b_in": made.d_mlp, "b_out": sizes.d_model}
    lengths["b_U"] = made.W_U.shape[1]
    for name, value in biases.items():
        if value.numel() != lengths[name]:
            raise sizes.refuse(name, value, f"({lengths[name]},)")
    if not any(bool(value.any()) for value in biases.values()):
        return made
    flat = {
        name: biases[name].flatten() if name in biases else torch.zeros(n)
        for name, n in lengths.items()
    }
    if bool(flat["b_Q"].any()):
        raise InputError(
            f"{sizes.path}: b_Q is not 0, which this lab cannot hold; train without it"
        )
    past = flat["b_O"] + flat["b_V"] @ made.W_O.flatten(0, 1)
    return replace(
        made,
        b_in=flat["b_in"] + past @ made.W_in,
        b_U=flat["b_U"] + (past + flat["b_out"]) @ made.W_U,
    )

"""Models of other code: the same logits as their own, and nothing half read."""

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from workbench.__main__ import main
from workbench.errors import InputError
from workbench.hooks import run
from workbench.models import load
from workbench.models.foreign import convert, read_foreign

Names = dict[str, str]
Made = tuple[str, Names, Names]  # of blocks, of what is in them, of the rest
IDS = torch.tensor([[0, 3, 1, 4, 4, 2]])
SIZES = {"n_layers": 2, "d_model": 12, "n_ctx": 7, "n_heads": 3, "d_vocab": 5}


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=draw) * 0.3 for name, shape in shapes.items()}


def hooked(**changes: object) -> Any:
    """A transformer of the old sort, every parameter drawn."""
    try:
        from transformer_lens import HookedTransformer, HookedTransformerConfig
    except ImportError:
        pytest.skip("TransformerLens 4 has no HookedTransformer to compare with")
    sizes = {**SIZES, "d_head": 4, "act_fn": "gelu", "d_mlp": 20, "normalization_type": "LN"}
    config: Any = {**sizes, **changes}
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        model = HookedTransformer(HookedTransformerConfig(**config))
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.3)
            if name == "unembed.b_U":
                parameter.zero_()
    return model


def saved(path: Path, weights: dict[str, Tensor]) -> Path:
    save_file({name: value.contiguous().clone() for name, value in weights.items()}, path)
    return path


def logits_of(folder: Path) -> Tensor:
    logits = run(load(str(folder), device="cpu"), IDS).logits
    assert logits is not None
    return logits


@pytest.mark.parametrize(
    ("changes", "how"),
    [
        ({}, {}),
        ({"act_fn": "relu", "normalization_type": None}, {"normalization": "none"}),
        ({"normalization_type": "LNPre"}, {"normalization": "LNPre"}),
        ({"attn_only": True, "d_mlp": None, "act_fn": None}, {}),
        ({"act_fn": "solu_ln"}, {"act_fn": "solu_ln"}),
    ],
    ids=["LN", "none", "LNPre", "attention only", "SoLU"],
)
def test_old_transformer_lens(changes: dict, how: dict, tmp_path: Path) -> None:
    model = hooked(**changes)
    source = saved(tmp_path / "old.safetensors", dict(model.state_dict()))
    act = how.get("act_fn", changes.get("act_fn") or "gelu")
    shape = convert(source, tmp_path / "new", "TransformerLens", **{**how, "act_fn": act})
    assert shape.n_heads == 3 and shape.d_mlp == (0 if "attn_only" in changes else 20)
    with torch.no_grad():
        expected = model(IDS)
    torch.testing.assert_close(logits_of(tmp_path / "new"), expected, atol=1e-5, rtol=1e-4)


def mingpt_shapes(block: str, parts: Names, fused: bool) -> dict[str, tuple[int, ...]]:
    d, shapes = 12, {}
    for layer in range(2):
        at = f"{block}{layer}."
        for norm in ("ln1", "ln2"):
            shapes |= {f"{at}{parts[norm]}.{p}": (d,) for p in ("weight", "bias")}
        for name in ("qkv",) if fused else ("q", "k", "v"):
            rows = 3 * d if fused else d
            shapes |= {f"{at}{parts[name]}.weight": (rows, d), f"{at}{parts[name]}.bias": (rows,)}
        for name, rows, columns in (("o", d, d), ("in", 20, d), ("out", d, 20)):
            shapes |= {
                f"{at}{parts[name]}.weight": (rows, columns),
                f"{at}{parts[name]}.bias": (rows,),
            }
    return shapes


def mingpt(weights: dict[str, Tensor], made: Made, act: nn.Module) -> Tensor:
    """minGPT's forward, written out."""
    block, parts, outer = made

    def affine(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(
            x, (12,), weights[f"{name}.weight"], weights[f"{name}.bias"]
        )

    n = IDS.shape[1]
    x = weights[outer["embed"]][IDS] + weights[outer["pos"]].reshape(-1, 12)[:n]
    mask = torch.ones(n, n).tril() == 0
    for layer in range(2):
        at = f"{block}{layer}."
        read = norm(at + parts["ln1"], x)
        if "qkv" in parts:
            q, k, v = affine(at + parts["qkv"], read).chunk(3, -1)
        else:
            q, k, v = (affine(at + parts[name], read) for name in "qkv")
        q, k, v = (y.view(1, n, 3, 4).transpose(1, 2) for y in (q, k, v))
        scores = (q @ k.transpose(2, 3) / math.sqrt(4)).masked_fill(mask, -math.inf)
        z = (scores.softmax(-1) @ v).transpose(1, 2).reshape(1, n, 12)
        x = x + affine(at + parts["o"], z)
        inner = act(affine(at + parts["in"], norm(at + parts["ln2"], x)))
        x = x + affine(at + parts["out"], inner)
    return norm(outer["norm"], x) @ weights[outer["head"]].T


NEW = (
    "transformer.h.",
    {"ln1": "ln_1", "ln2": "ln_2", "qkv": "attn.c_attn", "o": "attn.c_proj", "in": "mlp.c_fc",
     "out": "mlp.c_proj"},
    {"embed": "transformer.wte.weight", "pos": "transformer.wpe.weight",
     "norm": "transformer.ln_f", "head": "lm_head.weight"},
)  # fmt: skip
OLD = (
    "blocks.",
    {"ln1": "ln1", "ln2": "ln2", "q": "attn.query", "k": "attn.key", "v": "attn.value",
     "o": "attn.proj", "in": "mlp.0", "out": "mlp.2"},
    {"embed": "tok_emb.weight", "pos": "pos_emb", "norm": "ln_f", "head": "head.weight"},
)  # fmt: skip


def mingpt_weights(block: str, parts: Names, outer: Names) -> dict[str, Tensor]:
    shapes = mingpt_shapes(block, parts, "qkv" in parts)
    shapes |= {outer["embed"]: (5, 12), outer["head"]: (5, 12)}
    shapes[outer["pos"]] = (1, 7, 12) if outer["pos"] == "pos_emb" else (7, 12)
    shapes |= {f"{outer['norm']}.{part}": (12,) for part in ("weight", "bias")}
    return random_weights(shapes)


@pytest.mark.parametrize(
    ("layout", "made", "act_fn", "buffer"),
    [
        ("minGPT", NEW, "gelu_new", "transformer.h.0.attn.bias"),
        ("minGPT-2020", OLD, "gelu", "blocks.0.attn.mask"),
    ],
)
def test_mingpt(
    layout: str, made: tuple[str, Names, Names], act_fn: str, buffer: str, tmp_path: Path
) -> None:
    weights = mingpt_weights(*made)
    kind = "tanh" if act_fn == "gelu_new" else "none"
    expected = mingpt(weights, made, nn.GELU(approximate=kind))
    weights[buffer] = torch.ones(1, 1, 7, 7).tril()
    source = saved(tmp_path / "theirs.safetensors", weights)
    labels = ["a", "b", "c", "d", "e"]
    convert(source, tmp_path / "new", layout, labels, n_heads=3, act_fn=act_fn)
    torch.testing.assert_close(logits_of(tmp_path / "new"), expected, atol=1e-5, rtol=1e-4)
    assert load(str(tmp_path / "new"), device="cpu").tokenize("a d b").ids == (0, 3, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("blocks.1.attn.W_V"), "no blocks.1.attn.W_V"),
        (lambda w: w.update({"blocks.0.extra": torch.ones(2)}), "blocks.0.extra has no place"),
        (lambda w: w.update({"unembed.b_U": torch.ones(5)}), "unembed.b_U has no place"),
        (lambda w: w.pop("embed.W_E"), "has no embed.W_E, so it is not of this layout"),
        (
            lambda w: w.update({"ln_final.w": torch.ones(3)}),
            r"ln_final.w gives \(3,\), not",
        ),
        (lambda w: w.update({"blocks.0.attn.W_Q": torch.ones(12, 12)}), "not of layout Transf"),
        (lambda w: [w.pop(n) for n in [*w] if ".ln" in n or "ln_" in n], "no blocks.0.ln1.w"),
    ],
)
def test_what_does_not_fit_is_named(change, words: str, tmp_path: Path) -> None:
    weights = dict(hooked().state_dict())
    change(weights)
    source = saved(tmp_path / "old.safetensors", weights)
    with pytest.raises(InputError, match=words):
        convert(source, tmp_path / "new", "TransformerLens")
    assert not (tmp_path / "new").exists()


def test_heads_are_told_or_asked_for(tmp_path: Path) -> None:
    old = saved(tmp_path / "old.safetensors", dict(hooked().state_dict()))
    with pytest.raises(InputError, match=r"3 heads by its blocks.0.attn.W_Q, not 4"):
        read_foreign(old, "TransformerLens", n_heads=4)
    new = saved(tmp_path / "new.safetensors", mingpt_weights(*NEW))
    with pytest.raises(InputError, match="give their number"):
        read_foreign(new, "minGPT")
    with pytest.raises(InputError, match=r"layout 'nanoGPT'.* is not known; layouts: Transf"):
        read_foreign(new, "nanoGPT")


def test_what_is_no_such_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(InputError, match="save the state dict by safetensors"):
        read_foreign(tmp_path / "model.pt", "minGPT", n_heads=3)
    with pytest.raises(InputError, match="no safetensors file"):
        read_foreign(tmp_path / "none", "minGPT", n_heads=3)


def test_the_command(tmp_path: Path, command, capsys: pytest.CaptureFixture[str]) -> None:
    source = saved(tmp_path / "theirs.safetensors", mingpt_weights(*OLD))
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    asked = ("models", "convert", source, "--layout", "minGPT-2020", "--heads", 3)
    labels = ("--labels", tmp_path / "labels.txt")
    told = command(*asked, "--to", tmp_path / "new", *labels)
    assert f"--model {tmp_path / 'new'}" in told.replace("\n", "") and "n_layers" in told
    assert "L1H2" in command("attention", "a b a b", "--model", tmp_path / "new")
    (tmp_path / "few.txt").write_text("a\na\nc\nd\ne\n")
    for more, words in (
        ((), "needs --to"),
        (("--to", tmp_path / "new"), "is there already"),
        (("--to", tmp_path / "b", "--labels", tmp_path / "few.txt"), "5 labels, 4 of them diff"),
        (("--to", tmp_path / "b", "--labels", tmp_path / "no"), "cannot be read as text"),
    ):
        assert main([str(word) for word in (*asked, *more)]) == 2
        assert words in capsys.readouterr().err

"""Where the weights of the native network stand in other code's state dicts, name by name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from einops import rearrange
from torch import Tensor

_LAYER = re.compile(r"layers\.(\d+)\.")


def _same(value: Tensor) -> Tensor:
    return value


def _across(value: Tensor) -> Tensor:
    return value.T


def _into_heads(value: Tensor) -> Tensor:
    return rearrange(value, "head d_model d_head -> (head d_head) d_model")


def _out_of_heads(value: Tensor) -> Tensor:
    return rearrange(value, "head d_head d_model -> d_model (head d_head)")


def _flat(value: Tensor) -> Tensor:
    return value.flatten()


def _part(number: int) -> Callable[[Tensor], Tensor]:
    """One of q, k and v, which stand in one matrix below each other."""
    return lambda value: value.chunk(3)[number]


Found = tuple[str, Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class Layout:
    """Where another code keeps the weights.

    Native name -> their name and how theirs becomes ours; in `block`, under their `blocks`.
    `buffers` are no weights; `heads` is one whose first axis is the heads; `zeros` must be 0, since
    the native network has none of them.
    """

    about: str
    outer: Mapping[str, Found]
    blocks: str
    block: Mapping[str, Found]
    buffers: str
    heads: str = ""
    zeros: tuple[str, ...] = ()

    def of(self, name: str) -> Found | None:
        """Theirs for a native name; None where it knows no such weight."""
        if not (layer := _LAYER.match(name)):
            return self.outer.get(name)
        found = self.block.get(name[layer.end() :])
        return found and (f"{self.blocks.format(layer[1])}{found[0]}", found[1])


def _both(pairs: Mapping[str, str]) -> dict[str, Found]:
    """Weight and bias of modules that are alike."""
    return {
        f"{ours}.{part}": (f"{theirs}.{part}", _same)
        for ours, theirs in pairs.items()
        for part in ("weight", "bias")
    }


def _fused() -> dict[str, Found]:
    return {
        f"attn.{name}.{part}": (f"attn.c_attn.{part}", _part(number))
        for number, name in enumerate("qkv")
        for part in ("weight", "bias")
    }


def _heads() -> dict[str, Found]:
    found: dict[str, Found] = {"attn.o.weight": ("attn.W_O", _out_of_heads)}
    found["attn.o.bias"] = ("attn.b_O", _same)
    for name in "qkv":
        found[f"attn.{name}.weight"] = (f"attn.W_{name.upper()}", _into_heads)
        found[f"attn.{name}.bias"] = (f"attn.b_{name.upper()}", _flat)
    for ours, theirs in (("fc_in", "in"), ("fc_out", "out")):
        found[f"mlp.{ours}.weight"] = (f"mlp.W_{theirs}", _across)
        found[f"mlp.{ours}.bias"] = (f"mlp.b_{theirs}", _same)
    for ours, theirs in (("ln1", "ln1"), ("ln2", "ln2"), ("mlp.act.ln", "mlp.ln")):
        found[f"{ours}.weight"] = (f"{theirs}.w", _same)
        found[f"{ours}.bias"] = (f"{theirs}.b", _same)
    return found


LAYOUTS: Mapping[str, Layout] = {
    "TransformerLens": Layout(
        "HookedTransformer's: blocks.0.attn.W_Q [head, d_model, d_head], embed.W_E, ...",
        {
            "tok_embed.weight": ("embed.W_E", _same),
            "pos.weight": ("pos_embed.W_pos", _same),
            "ln_out.weight": ("ln_final.w", _same),
            "ln_out.bias": ("ln_final.b", _same),
            "head.weight": ("unembed.W_U", _across),
        },
        "blocks.{}.",
        _heads(),
        r".*\.(mask|IGNORE)",
        heads="blocks.0.attn.W_Q",
        zeros=("unembed.b_U",),
    ),
    "minGPT": Layout(
        "Karpathy's, since 2022: transformer.h.0.attn.c_attn [3 d_model, d_model], lm_head, ...",
        {
            "tok_embed.weight": ("transformer.wte.weight", _same),
            "pos.weight": ("transformer.wpe.weight", _same),
            **_both({"ln_out": "transformer.ln_f"}),
            "head.weight": ("lm_head.weight", _same),
        },
        "transformer.h.{}.",
        {
            **_both({"ln1": "ln_1", "ln2": "ln_2", "attn.o": "attn.c_proj"}),
            **_both({"mlp.fc_in": "mlp.c_fc", "mlp.fc_out": "mlp.c_proj"}),
            **_fused(),
        },
        r".*\.attn\.bias",
    ),
    "minGPT-2020": Layout(
        "its first form, as Othello-GPT's: blocks.0.attn.key, tok_emb, pos_emb [1, n_ctx, d_model]",
        {
            "tok_embed.weight": ("tok_emb.weight", _same),
            "pos.weight": ("pos_emb", lambda value: value[0]),
            **_both({"ln_out": "ln_f"}),
            "head.weight": ("head.weight", _same),
        },
        "blocks.{}.",
        {
            **_both({"ln1": "ln1", "ln2": "ln2", "mlp.fc_in": "mlp.0", "mlp.fc_out": "mlp.2"}),
            **_both({"attn.q": "attn.query", "attn.k": "attn.key", "attn.v": "attn.value"}),
            **_both({"attn.o": "attn.proj"}),
        },
        r".*\.attn\.mask",
    ),
}

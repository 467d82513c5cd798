"""Where each site is found in a module tree: the map from `Site` to modules.

A model has up to two trees that share every weight. The *plain* one is the Hub library's own;
its whole-module sites (residuals, attention and MLP outputs, ...) are read there at the
smallest cost. The *bridge* is TransformerLens' and has every site, among them those that
exist only inside a reconstructed attention.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from einops import rearrange
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from workbench.sites import KINDS, Site

Reshape = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Point:
    """One end of one module, and how its tensor becomes the site's.

    `carry` is set where the tensor also flows past the module: in
    `mid -> ln2 -> mlp -> + mid` the hook on ln2's input changes one branch only, so an edit
    must add its change to the block's output too.
    """

    module: nn.Module
    end: Literal["input", "output"] = "output"
    item: int = 0
    to_site: Reshape | None = None
    from_site: Reshape | None = None
    editable: bool = True
    carry: "Point | None" = None


@runtime_checkable
class Forward(Protocol):
    """Tokens to logits; the rest is what the Hub library's models take by these names."""

    def __call__(self, tokens: Tensor, **more: Any) -> Tensor: ...


@dataclass(frozen=True)
class Road:
    """One way through the model: a forward pass and the sites met on it.

    `passing` is what a block returns that hands its input on; `caches` tells whether the forward
    takes keys and values computed before.
    """

    name: Literal["plain", "bridge"]
    forward: Forward
    points: Mapping[Site, Point]
    blocks: Sequence[nn.Module]
    unembed: nn.Module
    passing: Callable[[Tensor], Any]
    caches: bool


@dataclass(frozen=True)
class _Tap:
    """A point of a model family, by path; `{layer}` is filled in."""

    path: str
    end: Literal["input", "output"] = "output"
    item: int = 0
    heads: Literal["n_heads", "n_kv_heads"] | None = None
    editable: bool = True
    carry: str | None = None


def _family(
    trunk: str, layers: str, ln2: str, attention: str, names: Mapping[str, str]
) -> dict[str, _Tap]:
    """The taps that all families have in common; `names` holds the family's own words."""
    block = f"{trunk}.{layers}.{{layer}}"
    return {
        "embed": _Tap(f"{trunk}.{names['embed']}"),
        "resid_pre": _Tap(block, "input"),
        "attn_in": _Tap(f"{block}.{names['ln1']}"),
        "pattern": _Tap(f"{block}.{attention}", item=1, editable=False),
        "z": _Tap(f"{block}.{attention}.{names['out']}", "input", heads="n_heads"),
        "attn_out": _Tap(f"{block}.{attention}"),
        "mlp_in": _Tap(f"{block}.{ln2}"),
        "mlp_pre": _Tap(f"{block}.mlp.{names['mlp_pre']}"),
        "mlp_post": _Tap(f"{block}.mlp.{names['mlp_out']}", "input"),
        "mlp_out": _Tap(f"{block}.mlp"),
        "resid_post": _Tap(block),
        "ln_final": _Tap(f"{trunk}.{names['ln_final']}"),
        "logits": _Tap(names["unembed"]),
    }


_GPT2 = _family(
    "transformer",
    "h",
    "ln_2",
    "attn",
    {
        "embed": "wte",
        "ln1": "ln_1",
        "out": "c_proj",
        "mlp_pre": "c_fc",
        "mlp_out": "c_proj",
        "ln_final": "ln_f",
        "unembed": "lm_head",
    },
) | {
    # No pos_embed: the tree's own has one row for the whole batch, the bridge's one for each.
    "resid_mid": _Tap("transformer.h.{layer}.ln_2", "input", carry="transformer.h.{layer}"),
}
_NEOX = _family(
    "gpt_neox",
    "layers",
    "post_attention_layernorm",
    "attention",
    {
        "embed": "embed_in",
        "ln1": "input_layernorm",
        "out": "dense",
        "mlp_pre": "dense_h_to_4h",
        "mlp_out": "dense_4h_to_h",
        "ln_final": "final_layer_norm",
        "unembed": "lm_head",
    },
)
_LLAMA = _family(
    "model",
    "layers",
    "post_attention_layernorm",
    "self_attn",
    {
        "embed": "embed_tokens",
        "ln1": "input_layernorm",
        "out": "o_proj",
        "mlp_pre": "gate_proj",
        "mlp_out": "down_proj",
        "ln_final": "norm",
        "unembed": "lm_head",
    },
) | {
    "q": _Tap("model.layers.{layer}.self_attn.q_proj", heads="n_heads"),
    "k": _Tap("model.layers.{layer}.self_attn.k_proj", heads="n_kv_heads"),
    "v": _Tap("model.layers.{layer}.self_attn.v_proj", heads="n_kv_heads"),
    "mlp_pre_linear": _Tap("model.layers.{layer}.mlp.up_proj"),
    "resid_mid": _Tap(
        "model.layers.{layer}.post_attention_layernorm", "input", carry="model.layers.{layer}"
    ),
}
FAMILIES = {"gpt2": _GPT2, "gpt_neox": _NEOX, "llama": _LLAMA}
"""Families with a plain road, by the Hub's `model_type`; all others run on the bridge alone."""


def plain_road(tree: nn.Module, family: str, n_layers: int, heads: Mapping[str, int]) -> Road:
    """The Hub library's own module tree, for a family in `FAMILIES`."""

    def point(tap: _Tap, layer: int | None) -> Point:
        return Point(
            tree.get_submodule(tap.path.format(layer=layer)),
            tap.end,
            tap.item,
            *(_split_heads(heads[tap.heads]) if tap.heads else (None, None)),
            editable=tap.editable,
            carry=Point(tree.get_submodule(tap.carry.format(layer=layer))) if tap.carry else None,
        )

    taps = FAMILIES[family]
    return Road(
        "plain",
        lambda tokens, **more: tree(tokens, **{"use_cache": False, **more}).logits,
        {
            site: point(taps[site.name], site.layer)
            for site in _sites(n_layers)
            if site.name in taps
        },
        blocks=[
            tree.get_submodule(taps["resid_post"].path.format(layer=layer))
            for layer in range(n_layers)
        ],
        unembed=tree.get_submodule(taps["logits"].path),
        passing=_itself,
        caches=True,
    )


def bridge_road(bridge: TransformerBridge, n_layers: int, *, native: bool) -> Road:
    """TransformerLens' tree: every hook point that exists, fired or not."""
    points = {}
    for site in _sites(n_layers):
        hook = bridge.get_hook_point(site.long)
        # A native model's scores hook fires on the pattern, after it was used: not a site.
        if hook is None or (native and site.name == "scores"):
            continue
        conversion = hook.hook_conversion
        points[site] = Point(
            hook,
            to_site=conversion.convert if conversion else None,
            from_site=conversion.revert if conversion else None,
            editable=not (native and site.name == "pattern"),
            carry=_block_output(bridge, site.layer) if site.name == "resid_mid" else None,
        )
    return Road(
        "bridge",
        lambda tokens, **more: bridge(tokens, return_type="logits", **more),
        points,
        blocks=list(bridge.blocks),
        unembed=bridge.unembed,
        passing=_as_tuple if native else _itself,
        caches=not native,
    )


def _itself(hidden: Tensor) -> Tensor:
    return hidden


def _as_tuple(hidden: Tensor) -> tuple[Tensor]:
    return (hidden,)


def _block_output(bridge: TransformerBridge, layer: int | None) -> Point:
    hook = bridge.get_hook_point(Site("resid_post", layer).long)
    assert hook is not None, f"block {layer} has no output hook"
    return Point(hook)


def _sites(n_layers: int) -> list[Site]:
    """Every site a model of `n_layers` may have, computed ones left out, in forward order."""
    kinds = [kind for kind in KINDS.values() if kind.name != "result"]
    sites = [
        Site(kind.name, layer)
        for kind in kinds
        for layer in (range(n_layers) if kind.layered else (None,))
    ]
    return sorted(sites, key=lambda site: site.order)


def _split_heads(n_heads: int) -> tuple[Reshape, Reshape]:
    return (
        lambda x: rearrange(x, "batch pos (head d_head) -> batch pos head d_head", head=n_heads),
        lambda x: rearrange(x, "batch pos head d_head -> batch pos (head d_head)"),
    )

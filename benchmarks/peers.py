"""The same activations by everybody's own way: contestants that return one tensor per site."""

# The peers are installed by `make bench` only.
# pyright: reportMissingImports=false

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nnsight
import torch
from datasets import Dataset
from sae_lens import ActivationsStore
from sae_lens.load_model import HookedProxyLM
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformer_lens import ActivationCache
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from workbench.hooks import run
from workbench.models import Model, Point, load
from workbench.models.model import twin
from workbench.sites import Site

Contestants = dict[str, Callable[[], list[Tensor]]]

OURS = "ours"
FLOOR = "plain hooks"
LENS = f"TransformerLens {version('transformer-lens')}"
SAE_BRIDGE = f"SAELens {version('sae-lens')} on the bridge"
SAE_HUB = f"SAELens {version('sae-lens')} on transformers"
NNSIGHT = f"nnsight {version('nnsight')}"
_TRUNKS = {"gpt2": "transformer.h", "llama": "model.layers"}  # model type -> its blocks


class _Stop(Exception):
    """Ends the hand-written forward."""


@dataclass(frozen=True)
class Trees:
    """One model's weights, opened by each library in its own way; attention is eager in all."""

    ours: Model
    hub: PreTrainedModel
    trunk: str
    bridge: TransformerBridge
    traced: nnsight.NNsight

    @property
    def n_layers(self) -> int:
        return self.ours.architecture.n_layers


def open_trees(folder: Path, dtype: torch.dtype = torch.float32) -> Trees:
    """Load the folder once for us and once for all peers, whose trees share their weights."""
    hub = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", use_safetensors=True
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bridge = TransformerBridge.boot_transformers(
        str(folder), hf_model=twin(hub), tokenizer=tokenizer, device="cpu", dtype=dtype
    )
    bridge.eval()
    return Trees(
        load(str(folder), device="cpu", dtype=str(dtype).removeprefix("torch.")),
        hub,
        _TRUNKS[hub.config.model_type],
        bridge,
        nnsight.NNsight(twin(hub)),
    )


def residuals(trees: Trees, tokens: Tensor, layers: Sequence[int]) -> Contestants:
    """Everybody's way to the resid_post of `layers` (ascending); all stop as early as they can."""
    return {
        FLOOR: lambda: plain_hooks(trees, tokens, layers),
        OURS: lambda: ours(trees, tokens, layers),
        LENS: lambda: transformer_lens(trees, tokens, layers),
        NNSIGHT: lambda: traced(trees, tokens, layers),
    }


def one_residual(trees: Trees, tokens: Tensor, layer: int) -> Contestants:
    """The same of one layer, with SAELens, whose stores know one hook each."""
    on_bridge = _store(trees, tokens, trees.bridge, f"blocks.{layer}.hook_resid_post")
    block = f"{trees.trunk}.{layer}"
    proxy = HookedProxyLM(twin(trees.hub), trees.bridge.tokenizer, hook_names=[block])
    on_hub = _store(trees, tokens, proxy, block)
    return residuals(trees, tokens, [layer]) | {
        SAE_BRIDGE: lambda: [on_bridge.get_activations(tokens)],
        SAE_HUB: lambda: [on_hub.get_activations(tokens)],
    }


def ours(trees: Trees, tokens: Tensor, layers: Sequence[int]) -> list[Tensor]:
    ran = run(trees.ours, tokens, read=[Site("resid_post", layer) for layer in layers])
    return list(ran.activations.values())


def plain_hooks(trees: Trees, tokens: Tensor, layers: Sequence[int]) -> list[Tensor]:
    """The floor: forward hooks by hand on the Hub library's model, stopped at the last."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: tuple, output: Tensor | tuple[Tensor, ...]) -> None:
        kept.append(output if isinstance(output, Tensor) else output[0])
        if len(kept) == len(layers):
            raise _Stop

    blocks = [trees.hub.get_submodule(f"{trees.trunk}.{layer}") for layer in layers]
    handles = [block.register_forward_hook(keep) for block in blocks]
    try:
        with torch.no_grad(), suppress(_Stop):
            trees.hub(tokens, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return kept


@torch.no_grad()
def transformer_lens(trees: Trees, tokens: Tensor, layers: Sequence[int]) -> list[Tensor]:
    names = [f"blocks.{layer}.hook_resid_post" for layer in layers]
    _, cache = trees.bridge.run_with_cache(tokens, names_filter=names, stop_at_layer=layers[-1] + 1)
    return [cache[name] for name in names]


def traced(trees: Trees, tokens: Tensor, layers: Sequence[int]) -> list[Tensor]:
    model: Any = trees.traced
    blocks = model.get(trees.trunk)
    with torch.no_grad(), model.trace(tokens, use_cache=False) as tracer:
        outputs = nnsight.save([blocks[layer].output for layer in layers])
        tracer.stop()
    return [x if isinstance(x, Tensor) else x[0] for x in outputs]


def all_sites(trees: Trees, tokens: Tensor, sites: Sequence[Site]) -> Contestants:
    """The activations of `sites` on the way to the logits; a floor where modules hold all."""
    names = [site.long for site in sites]
    contestants: Contestants = {
        OURS: lambda: list(run(trees.ours, tokens, read=sites).activations.values()),
        LENS: lambda: _cached(trees, tokens, names),
    }
    road = trees.ours.plain_road
    if road is not None and all(site in road.points for site in sites):
        points = [road.points[site] for site in sites]
        contestants[FLOOR] = lambda: _at_modules(trees, tokens, points)
    return contestants


@torch.no_grad()
def everything(trees: Trees, tokens: Tensor) -> ActivationCache:
    """TransformerLens' cache when it is not told what to keep: more names than tensors."""
    return trees.bridge.run_with_cache(tokens)[1]


@torch.no_grad()
def _cached(trees: Trees, tokens: Tensor, names: Sequence[str]) -> list[Tensor]:
    _, cache = trees.bridge.run_with_cache(tokens, names_filter=list(names))
    return [cache[name] for name in names]


def _at_modules(trees: Trees, tokens: Tensor, points: Sequence[Point]) -> list[Tensor]:
    """One plain hook for each point of the Hub library's model, and a full forward."""
    kept: dict[int, Tensor] = {}

    def keep(number: int, item: int, output: Any) -> None:
        kept[number] = output[item] if isinstance(output, tuple) else output

    def hook(number: int, point: Point) -> RemovableHandle:
        if point.end == "input":
            return point.module.register_forward_pre_hook(
                lambda module, args, kwargs: keep(number, 0, args or (*kwargs.values(),)),
                with_kwargs=True,
            )
        return point.module.register_forward_hook(
            lambda module, args, output: keep(number, point.item, output)
        )

    handles = [hook(number, point) for number, point in enumerate(points)]
    try:
        with torch.no_grad():
            trees.ours.weights(tokens, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return [
        point.to_site(kept[number]) if point.to_site else kept[number]
        for number, point in enumerate(points)
    ]


def _store(trees: Trees, tokens: Tensor, model, hook_name: str) -> ActivationsStore:
    """SAELens' own store; it wants a data set, which `get_activations` does not read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ActivationsStore(
            model=model,
            dataset=Dataset.from_dict({"tokens": tokens.tolist()}),
            streaming=False,
            hook_name=hook_name,
            hook_head_index=None,
            context_size=tokens.shape[1],
            d_in=trees.ours.architecture.d_model,
            n_batches_in_buffer=2,
            total_training_tokens=len(tokens),
            store_batch_size_prompts=len(tokens),
            train_batch_size_tokens=tokens.shape[1],
            prepend_bos=False,
            normalize_activations="none",
            device=torch.device("cpu"),
            dtype="float32",
        )

"""LayerNorm folded into the weights that read it, in place, one matrix at a time.

The same arithmetic as TransformerLens' compatibility mode (fold the norms, centre what writes to
the residual stream and the unembedding, move value biases into the output bias), which works on
whole float32 copies of the model. Here no more than a few rows are ever copied.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

_ROWS = 4096  # converted to float32 at a time


@dataclass(frozen=True)
class _Block:
    """One block's norms with their readers, and what writes to the residual stream."""

    readers: tuple[tuple[nn.Module, tuple[nn.Module, ...]], ...]
    writers: tuple[nn.Module, ...]
    value_bias: Callable[[], Tensor | None]
    attention_out: nn.Module


def _gpt2(block: nn.Module, n_heads: int) -> _Block:
    part = block.get_submodule
    qkv, out = part("attn.c_attn"), part("attn.c_proj")
    return _Block(
        ((part("ln_1"), (qkv,)), (part("ln_2"), (part("mlp.c_fc"),))),
        (out, part("mlp.c_proj")),
        lambda: qkv.get_parameter("bias").chunk(3)[2],
        out,
    )


def _neox(block: nn.Module, n_heads: int) -> _Block:
    part = block.get_submodule
    qkv, out = part("attention.query_key_value"), part("attention.dense")
    return _Block(
        (
            (part("input_layernorm"), (qkv,)),
            (part("post_attention_layernorm"), (part("mlp.dense_h_to_4h"),)),
        ),
        (out, part("mlp.dense_4h_to_h")),
        # Queries, keys and values lie interleaved by head; this is a view.
        lambda: (
            None
            if _bias(qkv) is None
            else rearrange(
                qkv.get_parameter("bias"), "(head three d) -> three head d", head=n_heads, three=3
            )[2]
        ),
        out,
    )


def _llama(block: nn.Module, n_heads: int) -> _Block:
    part = block.get_submodule
    heads = tuple(part(f"self_attn.{name}_proj") for name in "qkv")
    into_mlp = part("mlp.gate_proj"), part("mlp.up_proj")
    return _Block(
        ((part("input_layernorm"), heads), (part("post_attention_layernorm"), into_mlp)),
        (),  # RMSNorm does not centre: nothing may be taken from what is written
        lambda: None,
        part("self_attn.o_proj"),
    )


FOLDS: dict[str, tuple[str, str, tuple[str, ...], Callable[[nn.Module, int], _Block]]] = {
    "gpt2": ("transformer.h", "transformer.ln_f", ("transformer.wte", "transformer.wpe"), _gpt2),
    "gpt_neox": ("gpt_neox.layers", "gpt_neox.final_layer_norm", ("gpt_neox.embed_in",), _neox),
    "llama": ("model.layers", "model.norm", (), _llama),
}
"""Hub model type -> path of the blocks, of the final norm, of what is written first; the blocks."""


@torch.no_grad()
def fold(hub: PreTrainedModel) -> None:
    """Fold `hub`, a model of a family in `FOLDS`, in place; log-probabilities stay."""
    blocks, final, embeddings, block_of = FOLDS[str(hub.config.model_type)]
    unembed = _untied_unembedding(hub)
    _fold_norm(hub.get_submodule(final), (unembed,))
    _centre_columns(unembed)
    for path in embeddings:
        for rows in hub.get_submodule(path).get_parameter("weight").split(_ROWS):
            values = rows.float()
            rows.copy_(values - values.mean(dim=1, keepdim=True))
    for layer in hub.get_submodule(blocks).children():
        block = block_of(layer, hub.config.num_attention_heads)
        for norm, readers in block.readers:
            _fold_norm(norm, readers)
        _fold_value_bias(block)
        for writer in block.writers:
            _centre_columns(writer)


def _untied_unembedding(hub: PreTrainedModel) -> nn.Linear:
    """An unembedding of its own, with a bias to take the final norm's."""
    old = hub.get_output_embeddings()
    assert isinstance(old, nn.Linear), "the families that are folded here unembed by one matrix"
    new = nn.Linear(old.in_features, old.out_features, device="meta")
    new.weight = nn.Parameter(old.weight.detach().clone(), requires_grad=old.weight.requires_grad)
    bias = new.weight.new_zeros(old.out_features)
    if old.bias is not None:
        bias.copy_(old.bias)
    new.bias = nn.Parameter(bias, requires_grad=old.weight.requires_grad)
    hub.config.tie_word_embeddings = False
    hub.set_output_embeddings(new)
    return new


def _fold_norm(norm: nn.Module, readers: Iterable[nn.Module]) -> None:
    """Move a norm's weight and bias into its readers, and its centring where it centres."""
    weight, bias = norm.get_parameter("weight"), _bias(norm)
    centres = isinstance(norm, nn.LayerNorm)
    for reader in readers:
        added = []
        for rows in _by_output(reader).split(_ROWS):
            values = rows.float()
            if bias is not None:
                added.append(values @ bias.float())
            values *= weight.float()
            rows.copy_(values - values.mean(dim=1, keepdim=True) if centres else values)
        if bias is not None:
            own = _bias(reader)
            assert own is not None, f"{type(reader).__name__} has no bias to take a norm's"
            own.copy_(own.float() + torch.cat(added))
    weight.fill_(1)
    if bias is not None:
        bias.zero_()


def _fold_value_bias(block: _Block) -> None:
    """Attention weights sum to one, so a value bias always writes the same: into b_O."""
    values = block.value_bias()
    out = _bias(block.attention_out)
    if values is None or out is None:
        return
    flat = values.reshape(-1).float()
    added = [rows.float() @ flat for rows in _by_output(block.attention_out).split(_ROWS)]
    out.copy_(out.float() + torch.cat(added))
    values.zero_()


def _centre_columns(writer: nn.Module) -> None:
    """Take the mean over outputs from every input's column, and from the bias."""
    weight = _by_output(writer)
    mean = torch.zeros(weight.shape[1], device=weight.device)
    for rows in weight.split(_ROWS):
        mean += rows.float().sum(dim=0)
    mean /= len(weight)
    for rows in weight.split(_ROWS):
        rows.copy_(rows.float() - mean)
    if (bias := _bias(writer)) is not None:
        bias.copy_(bias.float() - bias.float().mean())


def _by_output(module: nn.Module) -> Float[Tensor, "output input"]:
    """A view of a matrix whose rows are outputs; GPT-2 keeps it the other way around."""
    weight = module.get_parameter("weight")
    return weight.T if isinstance(module, Conv1D) else weight


def _bias(module: nn.Module) -> nn.Parameter | None:
    return getattr(module, "bias", None)

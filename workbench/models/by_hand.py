"""A two-layer attention-only transformer written by hand, weights integers, nothing trained.

L0H1 attends to the previous token and writes that token into a second slot of the residual
stream; L1H2 attends from a token to the position whose second slot holds the same token (the
one after its earlier occurrence) and writes what stands there into the output slot: the
induction circuit of Elhage et al. 2021, with nothing else in it. All other heads have zero
weights: they attend evenly and write nothing.
"""

import torch
from torch import Tensor
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge

from workbench.models.tokens import Labels
from workbench.sites import Head

PREVIOUS_TOKEN = Head(0, 1)
INDUCTION = Head(1, 2)
LETTERS = Labels(("<bos>", *"abcdefghijklmnopqrstuvwxyz"), bos="<bos>")

_N_CTX = 64
_N_HEADS = 4
_D_HEAD = 64
# Large enough that softmax gives exactly 1.0 in float32: exp(-1000) is 0.
_SHARP = 1000 * 8  # scores are divided by sqrt(d_head) = 8
_COPY = 10  # logits of the copied token stand this far above the rest


def build() -> TransformerBridge:
    """The model on the CPU in float32."""
    vocab = LETTERS.size
    token, previous, out = (slice(i * vocab, (i + 1) * vocab) for i in range(3))
    position = slice(3 * vocab, 3 * vocab + _N_CTX)
    bridge = TransformerBridge.boot_native(
        TransformerBridgeConfig(
            d_model=3 * vocab + _N_CTX,
            d_head=_D_HEAD,
            n_heads=_N_HEADS,
            n_layers=2,
            n_ctx=_N_CTX,
            d_vocab=vocab,
            attn_only=True,
            normalization_type=None,
            act_fn="relu",
            seed=0,
        )
    )
    weights = dict(bridge.original_model.named_parameters())
    with torch.no_grad():
        for weight in weights.values():
            weight.zero_()
        _matrix(bridge.embed)[:, token] = torch.eye(vocab)
        _matrix(bridge.pos_embed)[:, position] = torch.eye(_N_CTX)
        _matrix(bridge.unembed)[:, out] = torch.eye(vocab)

        before = torch.diag(torch.ones(_N_CTX - 1), 1)  # query at i asks for position i - 1
        first = _head(bridge, PREVIOUS_TOKEN)
        first["q"][:, position] = _SHARP * before
        first["k"][:, position] = torch.eye(_N_CTX)
        first["v"][:vocab, token] = torch.eye(vocab)
        first["o"][previous, :vocab] = torch.eye(vocab)

        second = _head(bridge, INDUCTION)
        second["q"][:vocab, token] = _SHARP * torch.eye(vocab)
        second["k"][:vocab, previous] = torch.eye(vocab)
        second["v"][:vocab, token] = torch.eye(vocab)
        second["o"][out, :vocab] = _COPY * torch.eye(vocab)
    return bridge


def _matrix(component) -> Tensor:
    return component.original_component.weight


def _head(bridge: TransformerBridge, head: Head) -> dict[str, Tensor]:
    """Views of one head's q, k, v `[d_head, d_model]` and o `[d_model, d_head]` matrices."""
    attention = bridge.blocks[head.layer].attn
    rows = slice(head.head * _D_HEAD, (head.head + 1) * _D_HEAD)
    views = {name: _matrix(getattr(attention, name))[rows] for name in "qkv"}
    return {**views, "o": _matrix(attention.o)[:, rows]}

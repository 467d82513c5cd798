"""Small transformers written by hand, weights integers, nothing trained: known answers.

Each has a circuit that can be read off its weights, and heads that write where nobody reads.

- `induction`: two layers of attention. L0H1 attends to the previous token and writes that token
  into a second slot of the residual stream; L1H2 attends from a token to the position whose second
  slot holds the same token (the one after its earlier occurrence) and writes what stands there
  into the output slot: the induction circuit of Elhage et al. 2021, with nothing else in it. All
  other heads have zero weights: they attend evenly and write nothing.
- `copier`: one layer of attention. L0H2 attends to the first letter and writes it into the output
  slot; L0H0 and L0H3 copy into a slot that nothing reads.
- `counter`: two layers with MLPs. L0H1 attends evenly and writes the share of `a` among all
  tokens; L0's MLP turns that into the logit of `m` (many), from two in twelve tokens on, or
  of `f` (few), below. Layer 1 is zero but for a head that nothing reads.
"""

import torch
from torch import Tensor
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge

from workbench.models.tokens import Labels
from workbench.sites import Head

PREVIOUS_TOKEN = Head(0, 1)
INDUCTION = Head(1, 2)
COPIER = Head(0, 2)
COUNTER = Head(0, 1)
LETTERS = Labels(("<bos>", *"abcdefghijklmnopqrstuvwxyz"), bos="<bos>")

_N_CTX = 64
_N_HEADS = 4
_D_HEAD = 64
# Large enough that softmax gives exactly 1.0 in float32: exp(-1000) is 0.
_SHARP = 1000 * 8  # scores are divided by sqrt(d_head) = 8
_COPY = 10  # logits of the copied token stand this far above the rest


def induction() -> TransformerBridge:
    """The induction circuit, on the CPU in float32."""
    vocab = LETTERS.size
    token, previous, out = (slice(i * vocab, (i + 1) * vocab) for i in range(3))
    position = slice(3 * vocab, 3 * vocab + _N_CTX)
    bridge = _blank(2, position.stop)
    with torch.no_grad():
        _embed(bridge, token, position, out)

        before = torch.diag(torch.ones(_N_CTX - 1), 1)  # query at i asks for position i - 1
        first = _head(bridge, PREVIOUS_TOKEN)
        first["q"][:, position] = _SHARP * before
        first["k"][:, position] = torch.eye(_N_CTX)
        _copies(first, token, previous, 1)

        second = _head(bridge, INDUCTION)
        second["q"][:vocab, token] = _SHARP * torch.eye(vocab)
        second["k"][:vocab, previous] = torch.eye(vocab)
        _copies(second, token, out, _COPY)
    return bridge


def copier() -> TransformerBridge:
    """The first letter copied, on the CPU in float32."""
    vocab = LETTERS.size
    token, out, unread = (slice(i * vocab, (i + 1) * vocab) for i in range(3))
    position = slice(3 * vocab, 3 * vocab + _N_CTX)
    bridge = _blank(1, position.stop)
    with torch.no_grad():
        _embed(bridge, token, position, out)
        reader = _head(bridge, COPIER)
        reader["q"][1, position] = _SHARP  # every query asks for position 1: BOS stands at 0
        reader["k"][:, position] = torch.eye(_N_CTX)
        _copies(reader, token, out, _COPY)
        for number in (0, 3):
            _copies(_head(bridge, Head(0, number)), token, unread, _COPY)
    return bridge


def counter() -> TransformerBridge:
    """Many or few `a`, on the CPU in float32."""
    vocab = LETTERS.size
    token, out = slice(vocab), slice(vocab, 2 * vocab)
    share, unread, position = 2 * vocab, 2 * vocab + 1, slice(2 * vocab + 2, 2 * vocab + 2 + _N_CTX)
    bridge = _blank(2, position.stop, d_mlp=2)
    many, few, counted = (LETTERS.labels.index(letter) for letter in "mfa")
    with torch.no_grad():
        _embed(bridge, token, position, out)
        for head, slot in ((COUNTER, share), (Head(0, 3), unread), (Head(1, 0), unread)):
            weights = _head(bridge, head)
            weights["v"][0, counted] = 1
            weights["o"][slot, 0] = 1
        mlp = bridge.blocks[0].mlp
        into = getattr(mlp, "in").original_component
        into.weight[:, share] = torch.tensor([12.0, -12.0])  # neurons: above 1, below 2 of twelve
        into.bias[:] = torch.tensor([-1.0, 2.0])
        written = _matrix(mlp.out)
        written[vocab + many, 0] = written[vocab + few, 1] = _COPY
    return bridge


def _blank(n_layers: int, d_model: int, d_mlp: int = 0) -> TransformerBridge:
    """A model of zeros, without LayerNorm; attention only without `d_mlp`."""
    bridge = TransformerBridge.boot_native(
        TransformerBridgeConfig(
            d_model=d_model,
            d_head=_D_HEAD,
            n_heads=_N_HEADS,
            n_layers=n_layers,
            n_ctx=_N_CTX,
            d_vocab=LETTERS.size,
            d_mlp=d_mlp or None,
            attn_only=not d_mlp,
            normalization_type=None,
            act_fn="relu",
            seed=0,
        )
    )
    with torch.no_grad():
        for weight in bridge.original_model.parameters():
            weight.zero_()
    return bridge


def _embed(bridge: TransformerBridge, token: slice, position: slice, out: slice) -> None:
    """Tokens and positions into slots of their own, logits out of theirs."""
    _matrix(bridge.embed)[:, token] = torch.eye(LETTERS.size)
    _matrix(bridge.pos_embed)[:, position] = torch.eye(_N_CTX)
    _matrix(bridge.unembed)[:, out] = torch.eye(LETTERS.size)


def _copies(head: dict[str, Tensor], token: slice, slot: slice, times: int) -> None:
    """A head that writes the token it looks at into a slot."""
    head["v"][: LETTERS.size, token] = torch.eye(LETTERS.size)
    head["o"][slot, : LETTERS.size] = times * torch.eye(LETTERS.size)


def _matrix(component) -> Tensor:
    return component.original_component.weight


def _head(bridge: TransformerBridge, head: Head) -> dict[str, Tensor]:
    """Views of one head's q, k, v `[d_head, d_model]` and o `[d_model, d_head]` matrices."""
    attention = bridge.blocks[head.layer].attn
    rows = slice(head.head * _D_HEAD, (head.head + 1) * _D_HEAD)
    views = {name: _matrix(getattr(attention, name))[rows] for name in "qkv"}
    return {**views, "o": _matrix(attention.o)[:, rows]}

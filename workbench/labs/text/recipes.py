"""Small models of `smol-sample`: one-layer pairs that differ in the MLP, and attention alone."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.labs.text.rows import sample, sequences
from workbench.labs.text.tokenizer import SIZE, bpe
from workbench.models.native import SOLU, Shape
from workbench.training import Logits, NextToken

N_CTX = 128
D_MODEL, N_HEADS = 128, 4
_EVALUATED, _BATCH = 64, 16  # held-out contexts


def recipe(name: str, about: str, shape: Shape, steps: int) -> NextToken:
    """Next-token training of one shape on the text."""
    return NextToken(
        name=name,
        about=f"{about}, trained on the text of smol-sample",
        shape=shape,
        vocabulary=bpe(),
        sequences=sequences(shape.n_ctx),
        evaluate=held_out_loss,
        steps=steps,
        batch=16,
        rate=6e-3,
    )


def held_out_loss(logits: Logits) -> dict[str, float]:
    """Nats a token on text that was not trained on, BOS never a target."""
    rows = torch.from_numpy(sample(bpe(), N_CTX, most=_EVALUATED).ids).long()
    found = [losses(logits(part), part, bpe().bos_id) for part in rows.split(_BATCH)]
    return {"held-out loss": float(torch.cat(found).mean())}


def losses(
    logits: Float[Tensor, "batch pos d_vocab"], ids: Int[Tensor, "batch pos"], bos_id: int | None
) -> Float[Tensor, " target"]:
    """The loss at every token after the first, in nats, those at a BOS left out."""
    targets = ids[:, 1:].to(logits.device)
    every = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), targets.flatten(), reduction="none"
    )
    return every if bos_id is None else every[(targets != bos_id).flatten()]


def _with_mlp(act_fn: str) -> Shape:
    return Shape(1, N_HEADS, D_MODEL, N_CTX, SIZE, d_mlp=4 * D_MODEL, act_fn=act_fn)


def _attention_only(n_layers: int) -> Shape:
    sizes = (n_layers, N_HEADS, D_MODEL, N_CTX, SIZE)
    return Shape(*sizes, d_mlp=0, normalization=None, biases=False)


_STEPS, _ATTENTION_STEPS = 2000, 1000
SOLU_1L = recipe("solu-1l", "one layer, SoLU with LayerNorm", _with_mlp(SOLU), _STEPS)
GELU_1L = recipe("gelu-1l", "one layer, GELU", _with_mlp("gelu"), _STEPS)
TEXT_0L, TEXT_1L, TEXT_2L = (
    recipe(f"text-{n}l", about, _attention_only(n), _ATTENTION_STEPS)
    for n, about in enumerate(
        ("embedding and unembedding alone", "1 layer of attention alone", "2 layers of it")
    )
)

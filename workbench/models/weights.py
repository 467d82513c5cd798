"""A model's weights by name and by head, in TransformerLens' orientation: `x @ W`.

Read afresh from the live model at every call, so that an edit in place is seen. Values are
those of the weight processing in force: raw, or with LayerNorm folded in. What is handed out
may share memory with the model; change the model through `Model.weights`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens import FactoredMatrix
from transformer_lens.model_bridge import TransformerBridge

from workbench.errors import InputError
from workbench.models.model import Model
from workbench.models.roads import FAMILIES
from workbench.sites import Head

__all__ = [
    "AttentionWeights",
    "EmbeddingWeights",
    "FactoredMatrix",
    "MlpWeights",
    "Norm",
    "attention_weights",
    "by_head",
    "check_head",
    "embedding_weights",
    "mlp_weights",
    "norm",
    "rotation",
]


@dataclass(frozen=True)
class AttentionWeights:
    """One layer's attention. Keys and values have fewer heads where heads share them (GQA)."""

    W_Q: Float[Tensor, "head d_model d_head"]
    W_K: Float[Tensor, "kv_head d_model d_head"]
    W_V: Float[Tensor, "kv_head d_model d_head"]
    W_O: Float[Tensor, "head d_head d_model"]
    b_Q: Float[Tensor, "head d_head"] | None
    b_K: Float[Tensor, "kv_head d_head"] | None
    b_V: Float[Tensor, "kv_head d_head"] | None
    b_O: Float[Tensor, " d_model"] | None


@dataclass(frozen=True)
class MlpWeights:
    """One layer's MLP; `W_gate` where it is gated (`W_in` is then the up-projection)."""

    W_in: Float[Tensor, "d_model d_mlp"]
    W_gate: Float[Tensor, "d_model d_mlp"] | None
    W_out: Float[Tensor, "d_mlp d_model"]
    b_in: Float[Tensor, " d_mlp"] | None
    b_out: Float[Tensor, " d_model"] | None


@dataclass(frozen=True)
class EmbeddingWeights:
    """From tokens and positions into the residual stream, and out of it to logits."""

    W_E: Float[Tensor, "d_vocab d_model"]
    W_pos: Float[Tensor, "n_ctx d_model"] | None
    W_U: Float[Tensor, "d_model d_vocab_out"]
    b_U: Float[Tensor, " d_vocab_out"]


@dataclass(frozen=True)
class Norm:
    """A normalisation as numbers: `(x - mean if centres) / scale(x) * weight + bias`.

    LayerNorm centres, RMSNorm does not; `eps` is None where nothing is normalised (scale 1).
    """

    weight: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    centres: bool
    eps: float | None

    def scale(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch"]:
        """What `x` is divided by: its standard deviation, or root mean square."""
        if self.eps is None:
            return torch.ones_like(x[..., 0])
        spread = x - x.mean(-1, keepdim=True) if self.centres else x
        return (spread.square().mean(-1) + self.eps).sqrt()

    def folded(
        self, matrix: Float[Tensor, "*batch d_model n"]
    ) -> Float[Tensor, "*batch d_model n"]:
        """What reads from the residual as `matrix` reads from the norm's output, times scale.

        `x @ folded(matrix) / scale(x) + bias @ matrix` is `norm(x) @ matrix`. Idempotent on
        weights that are folded already.
        """
        return self.centred(self.weight[:, None] * matrix, axis=-2)

    def centred(self, x: Tensor, *, axis: int) -> Tensor:
        """`x` without its mean along `axis`, where the norm takes no notice of that mean."""
        return x - x.mean(axis, keepdim=True) if self.centres else x

    def __call__(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """`x` normalised, in float32."""
        x = x.float()
        return self.centred(x, axis=-1) / self.scale(x)[..., None] * self.weight + self.bias


def attention_weights(model: Model, layer: int) -> AttentionWeights:
    """The attention of one layer, by head. Raises `InputError` for a layer out of range."""
    attention = _block(model, layer).attn
    return AttentionWeights(
        W_Q=_detached(attention.W_Q),
        W_K=_detached(attention.W_K),
        W_V=_detached(attention.W_V),
        W_O=_detached(model.output_matrix(layer)),
        **{name: _optional(attention, name) for name in ("b_Q", "b_K", "b_V", "b_O")},
    )


def check_queries(model: Model, layer: int) -> None:
    """Raise `InputError` where queries and keys are normalised: no matrix stands for QK then."""
    if hasattr(_block(model, layer).attn, "q_norm"):
        raise InputError(
            f"{model.name} ({model.architecture.family}) normalises queries and keys, so its QK "
            "circuits are no product of weights; look at OV, or at patterns"
        )


def by_head(
    shared: Float[Tensor, "kv_head d_model d_head"], n_heads: int
) -> Float[Tensor, "head d_model d_head"]:
    """Keys' or values' weights repeated, so that each head finds its own at its index."""
    return shared.repeat_interleave(n_heads // len(shared), dim=0)


def check_head(model: Model, head: Head) -> None:
    """Raise `InputError` for a head that the model does not have."""
    sizes = model.architecture
    if not sizes.n_layers:
        raise InputError(f"{model.name} has no layers, and so no heads; choose another model")
    if not (0 <= head.layer < sizes.n_layers and 0 <= head.head < sizes.n_heads):
        raise InputError(
            f"head {head} is out of range: layers run from 0 to {sizes.n_layers - 1}, "
            f"heads from 0 to {sizes.n_heads - 1}"
        )


def mlp_weights(model: Model, layer: int) -> MlpWeights:
    """The MLP of one layer. Raises `InputError` where there is none."""
    mlp = getattr(_block(model, layer), "mlp", None)
    if mlp is None:
        raise InputError(f"{model.name} has no MLPs; its blocks are attention only")
    return MlpWeights(
        W_in=_detached(mlp.W_in),
        W_gate=_optional(mlp, "W_gate"),
        W_out=_detached(mlp.W_out),
        b_in=_optional(mlp, "b_in"),
        b_out=_optional(mlp, "b_out"),
    )


def embedding_weights(model: Model) -> EmbeddingWeights:
    """Embedding, learned positions (None where positions are rotary) and unembedding."""
    bridge = _fresh(model)
    positions = getattr(bridge, "pos_embed", None)
    return EmbeddingWeights(
        W_E=_detached(bridge.W_E),
        W_pos=None if positions is None else _detached(positions.W_pos),
        W_U=_detached(bridge.W_U),
        b_U=_detached(bridge.b_U),
    )


def norm(
    model: Model, layer: int | None = None, *, before: Literal["attention", "MLP"] = "attention"
) -> Norm:
    """The norm before one layer's attention or MLP; the final one without a layer.

    Raises `InputError` for a layer out of range and where the model has no such norm.
    """
    bridge = _fresh(model)
    owner = bridge if layer is None else _block(model, layer)
    name = "ln_final" if layer is None else {"attention": "ln1", "MLP": "ln2"}[before]
    component = getattr(owner, name, None)
    module = getattr(component, "original_component", None)
    kind = type(module).__name__
    if not isinstance(module, nn.Identity) and "RMSNorm" not in kind and "LayerNorm" not in kind:
        raise InputError(
            f"{model.name} ({model.architecture.family}) has no LayerNorm or RMSNorm "
            f"{'at its end' if layer is None else f'before its {before}'}, so this analysis of its "
            "weights does not apply"
        )
    ones = torch.ones(model.architecture.d_model, dtype=model.dtype, device=model.device)
    weight, bias = _optional(module, "weight"), _optional(module, "bias")
    if weight is not None and getattr(bridge.cfg, "rmsnorm_uses_offset", False):
        weight = weight + 1  # Gemma keeps what is added to 1
    return Norm(
        weight=ones if weight is None else weight,
        bias=torch.zeros_like(ones) if bias is None else bias,
        centres="LayerNorm" in kind,
        eps=_eps(module),
    )


def rotation(model: Model, distance: int) -> Float[Tensor, "d_head d_head"] | None:
    """What stands between a query and a key `distance` positions before it: `q @ R @ k`.

    None where positions are not rotary; the identity at distance 0. Raises `InputError` for a
    distance outside the context, and for one other than 0 in a family whose way of rotating is
    not known here.
    """
    bridge, sizes = _fresh(model), model.architecture
    if not 0 <= distance < sizes.n_ctx:
        raise InputError(f"distance {distance} is outside the context, 0 to {sizes.n_ctx - 1}")
    if str(bridge.cfg.positional_embedding_type).lower() != "rotary":
        return None
    one = torch.eye(sizes.d_head, device=model.device)
    if distance == 0:
        return one
    if sizes.family not in FAMILIES:
        raise InputError(
            f"distance {distance}: how the family {sizes.family} rotates is not known here "
            f"(known: {', '.join(FAMILIES)}); leave the distance at 0"
        )
    positions = torch.tensor([[0, distance]], device=model.device)
    cos, sin = bridge.rotary_emb.original_component(one, positions)
    here, there = (_rotated(one, cos[0, i].float(), sin[0, i].float()) for i in (1, 0))
    return here @ there.T


def _rotated(
    x: Float[Tensor, "row d_head"], cos: Float[Tensor, " rotary"], sin: Float[Tensor, " rotary"]
) -> Float[Tensor, "row d_head"]:
    """Rotary positions as these families apply them: halves of the first `rotary` axes."""
    turned, rest = x[:, : len(cos)], x[:, len(cos) :]
    first, second = turned.chunk(2, dim=-1)
    return torch.cat([turned * cos + torch.cat([-second, first], -1) * sin, rest], -1)


def _eps(module: Any) -> float | None:
    """Added under the root; None where nothing is normalised."""
    if isinstance(module, nn.Identity):
        return None
    return float(module.variance_epsilon if hasattr(module, "variance_epsilon") else module.eps)


def _fresh(model: Model) -> TransformerBridge:
    with model.lock:
        model.fresh_bridge()
        return model.bridge


def _block(model: Model, layer: int) -> Any:
    n_layers = model.architecture.n_layers
    if not 0 <= layer < n_layers:
        raise InputError(f"layer {layer} is out of range: layers run from 0 to {n_layers - 1}")
    block = _fresh(model).blocks[layer]
    if hasattr(block, "ln1_post") or hasattr(block, "ln2_post"):
        raise InputError(
            f"{model.name} ({model.architecture.family}) normalises what attention and MLP write, "
            "so this analysis of its weights does not apply"
        )
    return block


def _detached(tensor: Any) -> Tensor:
    return tensor.detach()


def _optional(owner: Any, name: str) -> Tensor | None:
    found = getattr(owner, name, None)
    return None if found is None else _detached(found)

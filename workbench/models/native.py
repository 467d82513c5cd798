"""Small GPT-2-class models from a config, and their folders: safetensors, JSON, a vocabulary.

The network is TransformerLens' native one, so that what is trained and what is bridged have the
same parameters under the same names. What it lacks is added here: SoLU, no layers, no biases.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources.native import NativeModel
from transformer_lens.model_bridge.sources.native.init import initialize_native_model
from transformer_lens.model_bridge.sources.native.model import NativeMLP

from workbench.errors import MISFITS, InputError
from workbench.fetching import write_whole
from workbench.models.tokens import HubVocabulary, Labels
from workbench.models.vocabularies import read_vocabulary, write_vocabulary

FAMILY = "lensbench-native"
SOLU = "solu_ln"
ACTIVATIONS = ("gelu_new", "gelu", "relu", "silu", SOLU)
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "card.json"
_WRAPPED = "_original_component."  # what the bridge puts into the names of parameters
_MLP = ("fc_in", "fc_out")
_NO_BIAS = "head.bias"  # the bridge's unembedding adds one of zeros


@dataclass(frozen=True)
class Shape:
    """The sizes of a pre-LayerNorm GPT with learned positions and an untied unembedding.

    `n_layers` 0 is a bigram model; `d_mlp` 0 leaves the MLPs out, `normalization` None LayerNorm,
    `biases` False those of all linear maps. Raises `InputError` that lists every size that cannot
    be.
    """

    n_layers: int
    n_heads: int
    d_model: int
    n_ctx: int
    d_vocab: int
    d_mlp: int
    act_fn: str = "gelu_new"
    normalization: str | None = "LN"
    biases: bool = True

    def __post_init__(self) -> None:
        least = {"d_mlp": 0, "n_layers": 0}
        wrong = [
            f"{field.name} {value!r}"
            for field in fields(self)
            if field.type is int
            and (type(value := getattr(self, field.name)) is not int)
            | (isinstance(value, int) and value < least.get(field.name, 1))
        ]
        if not wrong and self.d_model % self.n_heads:
            wrong.append(f"d_model {self.d_model}, not a multiple of n_heads {self.n_heads}")
        if self.act_fn not in ACTIVATIONS:
            wrong.append(f"act_fn {self.act_fn!r} (known: {', '.join(ACTIVATIONS)})")
        if self.normalization not in ("LN", None):
            wrong.append(f"normalization {self.normalization!r} (known: LN, None)")
        if wrong:
            raise InputError(f"no model has {'; '.join(wrong)}; give whole numbers that fit")


class SoLU(nn.Module):
    """x softmax(x), then LayerNorm (Elhage et al. 2022, "Softmax Linear Units")."""

    def __init__(self, d_mlp: int) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(d_mlp)

    def forward(self, pre: Float[Tensor, "*batch d_mlp"]) -> Float[Tensor, "*batch d_mlp"]:
        return self.ln(solu(pre))


def solu(pre: Float[Tensor, "*batch d_mlp"]) -> Float[Tensor, "*batch d_mlp"]:
    """x softmax(x), without the LayerNorm that follows it."""
    return pre * pre.softmax(-1)


def network(shape: Shape, seed: int = 0) -> NativeModel:
    """The plain module, in float32 on the CPU, with GPT-2's initial weights.

    Where the shape has no biases they are zeros that do not train.
    """
    config = _config(shape)
    made = NativeModel(config)
    if shape.n_layers:
        initialize_native_model(made, config, seed=seed)
    else:
        _initialise_bigrams(made, seed)
    _complete(made, shape)
    return made


def _initialise_bigrams(made: NativeModel, seed: int) -> None:
    """As `initialize_native_model`, which divides by the number of layers."""
    generator = torch.Generator().manual_seed(seed)
    for module in (made.tok_embed, made.pos, made.head):
        assert module is not None
        std = 0.8 / module.weight.shape[1] ** 0.5
        nn.init.normal_(module.weight, std=std, generator=generator)


def _complete(made: nn.Module, shape: Shape) -> None:
    """What TransformerLens' native network does not know."""
    for module in list(made.modules()):
        if shape.act_fn == SOLU and isinstance(module, NativeMLP):
            module.act = SoLU(shape.d_mlp)
        if not shape.biases and isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.requires_grad_(False).zero_()


def bridged(shape: Shape, weights: Mapping[str, Tensor]) -> TransformerBridge:
    """A bridge over a network with these weights."""
    bridge = TransformerBridge.boot_native(_config(shape))
    _complete(bridge.original_model, shape)
    own = dict(bridge.original_model.named_parameters())
    with torch.no_grad():
        for name, parameter in own.items():
            plain = name.replace(_WRAPPED, "")
            parameter.copy_(weights[plain]) if plain != _NO_BIAS else parameter.zero_()
    return bridge.eval()


def save_native(
    folder: Path,
    shape: Shape,
    vocabulary: Labels | HubVocabulary,
    weights: Mapping[str, Tensor],
    card: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model's folder, weights stored as `dtype`; biases only where the shape has them.

    Each file comes to be whole: one that is there is kept where the disk refuses another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = write_vocabulary(folder, vocabulary)
    config = {"model_type": FAMILY, **asdict(shape), "vocabulary": told}
    stored = {
        name: value.detach().cpu().to(dtype).contiguous()
        for name, value in weights.items()
        if shape.biases or not _is_bias(name)
    }
    write_whole(folder / WEIGHTS, save(stored))
    for name, content in ((CONFIG, config), (CARD, card)):
        text = json.dumps(content, indent=1, ensure_ascii=False)
        write_whole(folder / name, f"{text}\n".encode())


def is_native(folder: Path) -> bool:
    """Whether a folder holds a small model of `workbench train`."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False  # the Hub's reader says what is wrong with it
    return isinstance(config, dict) and config.get("model_type") == FAMILY


def shape_in(config: Mapping[str, Any]) -> Shape:
    """The sizes in a config.json. Raises `LookupError` or `TypeError` where they are not whole."""
    told = {"biases": True, **config}  # the first folders do not say
    return Shape(**{field.name: told[field.name] for field in fields(Shape)})


def read_config(folder: Path, config: Mapping[str, Any]) -> tuple[Shape, Labels | HubVocabulary]:
    """What a folder's config.json says. Raises `InputError` for one that is not whole."""
    try:
        shape = shape_in(config)
        vocabulary = read_vocabulary(folder, config["vocabulary"])
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder / CONFIG} is no config of a native model: {error!r}; give a folder that "
            "`workbench train` wrote"
        ) from error
    if vocabulary.size != shape.d_vocab:
        raise InputError(
            f"{folder / CONFIG}: d_vocab is {shape.d_vocab}, but there are {vocabulary.size} tokens"
        )
    return shape, vocabulary


def read_weights(folder: Path, shape: Shape) -> dict[str, Tensor]:
    """A folder's weights in float32. Raises `InputError` where they do not fit its config."""
    try:
        found = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError, *MISFITS) as error:
        raise InputError(f"{folder / WEIGHTS} does not load: {error}") from error
    _expect_room(folder, shape, found)
    with torch.device("meta"):
        made = NativeModel(_config(shape))
        _complete(made, shape)
    whole = {name: value.shape for name, value in made.named_parameters()}
    expected = {n: size for n, size in whole.items() if shape.biases or not _is_bias(n)}
    told = [
        f"{name} is {tuple(found[name].shape) if name in found else 'missing'}, "
        f"expected {tuple(expected[name]) if name in expected else 'nothing'}"
        for name in sorted({*expected, *found})
        if name not in found or name not in expected or found[name].shape != expected[name]
    ]
    if told:
        more = f" and {len(told) - 3} more" if len(told) > 3 else ""
        raise InputError(
            f"{folder}: the weights do not fit config.json: {'; '.join(told[:3])}{more}; "
            "give a folder that `workbench train` wrote"
        )
    zeros = {name: torch.zeros(size) for name, size in whole.items() if name not in expected}
    return zeros | {name: value.float() for name, value in found.items()}


def _expect_room(folder: Path, shape: Shape, found: Mapping[str, Tensor]) -> None:
    """Raise `InputError` for sizes that no file of these tensors can have, before any is made."""
    most = max(64, sum(value.numel() for value in found.values()))
    wrong = [
        f"{name} {value}"
        for name, value in asdict(shape).items()
        if type(value) is int and value > most
    ]
    if shape.n_layers > len(found):
        wrong.append(f"n_layers {shape.n_layers}")
    if wrong:
        raise InputError(
            f"{folder}: the weights do not fit config.json: {', '.join(wrong)}, but there are "
            f"{len(found):,} tensors of {most:,} numbers in all; give a folder that `workbench "
            "train` wrote"
        )


def _is_bias(name: str) -> bool:
    """Whether a parameter is the bias of a linear map, not of a LayerNorm."""
    return name.endswith(".bias") and name.split(".")[-2] in ("q", "k", "v", "o", *_MLP)


def sdpa(made: NativeModel) -> NativeModel:
    """The same network with torch's fused attention, for training on CUDA: no pattern comes out."""
    for block in made.layers:
        object.__setattr__(block.attn, "forward", _fused(block.attn))
    return made


def _fused(attention: Any):
    def forward(hidden: Tensor, **_: Any) -> tuple[Tensor, None]:
        batch, pos, _width = hidden.shape
        q, k, v = (
            part(hidden).view(batch, pos, attention.n_heads, attention.d_head).transpose(1, 2)
            for part in (attention.q, attention.k, attention.v)
        )
        z = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return attention.o(z.transpose(1, 2).reshape(batch, pos, -1)), None

    return forward


def _config(shape: Shape) -> TransformerBridgeConfig:
    return TransformerBridgeConfig(
        n_layers=shape.n_layers,
        n_heads=shape.n_heads,
        d_model=shape.d_model,
        d_head=shape.d_model // shape.n_heads,
        d_mlp=shape.d_mlp or None,
        attn_only=not shape.d_mlp,
        n_ctx=shape.n_ctx,
        d_vocab=shape.d_vocab,
        act_fn="gelu" if shape.act_fn == SOLU else shape.act_fn,  # replaced by `_complete`
        normalization_type=shape.normalization,
        init_mode="gpt2",
        init_weights=False,  # `network` does, and a bridge gets its weights
    )

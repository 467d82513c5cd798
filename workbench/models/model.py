"""The `Model` value: one set of weights, who it is, which sites it has."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from threading import RLock
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from workbench.errors import InputError
from workbench.models.fingerprint import (
    Identity,
    config_digest,
    named_tensors,
    rounded_digest,
    versions,
    weights_digest,
)
from workbench.models.roads import FAMILIES, Road, bridge_road, plain_road
from workbench.models.tokens import Tokens, Vocabulary, token_id, tokenize


@dataclass(frozen=True)
class Architecture:
    """The sizes of a model; `family` is the Hub's model type, or `native`; `d_mlp` may be 0."""

    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_vocab: int
    n_ctx: int
    d_mlp: int


class Model:
    """A loaded model: its trees, its vocabulary, its identity. Analyses are functions of it.

    `plain` is None where only the bridge serves: native models, and folded weights of families
    without a plain road. Forward passes go through `workbench.hooks.run`, under `lock`,
    because hooks are state of the modules and pages run in threads.
    """

    def __init__(
        self,
        name: str,
        *,
        build: Callable[[], TransformerBridge],
        plain: nn.Module | None,
        vocabulary: Vocabulary,
        processing: str,
        config: Mapping[str, Any],
        family: str,
    ) -> None:
        self.name = name
        self.vocabulary = vocabulary
        self.processing = processing
        self.config = config
        self.plain = plain
        self.lock = RLock()
        self._build = build
        self.bridge = build()
        self.architecture = _architecture(self.bridge.cfg, family)
        self._bridged_at = versions(plain) if plain is not None else ()
        self._bridge_road: Road | None = None
        self._identity: tuple[Any, Identity] | None = None

    @property
    def weights(self) -> nn.Module:
        """The module whose parameters are the model; edit these in place, under no_grad."""
        return self.plain if self.plain is not None else self.bridge.original_model

    @property
    def dtype(self) -> torch.dtype:
        return next(self.weights.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.weights.parameters()).device

    @cached_property
    def plain_road(self) -> Road | None:
        """The Hub library's own tree, where the family has one."""
        sizes = self.architecture
        if self.plain is None or sizes.family not in FAMILIES:
            return None
        heads = {"n_heads": sizes.n_heads, "n_kv_heads": sizes.n_kv_heads}
        return plain_road(self.plain, sizes.family, sizes.n_layers, heads)

    @property
    def bridge_road(self) -> Road:
        """TransformerLens' tree, which has every site."""
        with self.lock:
            self.fresh_bridge()
            if self._bridge_road is None:
                native = self.architecture.family == "native"
                n_layers = self.architecture.n_layers
                self._bridge_road = bridge_road(self.bridge, n_layers, native=native)
            return self._bridge_road

    def fresh_bridge(self) -> None:
        """Bridge anew where a plain weight moved since.

        Some families' bridges hold copies (GPT-NeoX splits its fused QKV), which an edit in
        place would leave behind.
        """
        if self.plain is not None and versions(self.plain) != self._bridged_at:
            self._bridged_at = versions(self.plain)
            self.bridge = self._build()
            self._bridge_road = None

    @property
    def identity(self) -> Identity:
        """Who this model is now; recomputed when a weight was edited in place or replaced."""
        now = versions(self.weights)
        if self._identity is None or self._identity[0] != now:
            identity = Identity(
                config=config_digest(self.config),
                weights=weights_digest(named_tensors(self.weights)),
                processing=self.processing,
                compute_dtype=str(self.dtype).removeprefix("torch."),
                attention="eager",
            )
            self._identity = (now, identity)
        return self._identity[1]

    @property
    def rounded(self) -> str:
        """The digest of the weights rounded to bfloat16, whatever the dtype they are loaded in."""
        return rounded_digest(named_tensors(self.weights))

    def tokenize(self, text: str, *, bos: bool | None = None, chat: bool = False) -> Tokens:
        """Tokenise a prompt under this model's vocabulary and context; see `tokens.tokenize`."""
        limit = self.architecture.n_ctx
        return tokenize(self.vocabulary, text, limit=limit, bos=bos, chat=chat)

    def token_id(self, text: str) -> int:
        """The id of a text that is a single token; `InputError` shows the tokens if it is not."""
        return token_id(self.vocabulary, text)

    def unembed(
        self, resid: Float[Tensor, "*batch d_model"], *, grad: bool = False
    ) -> Float[Tensor, "*batch d_vocab"]:
        """Final norm and unembedding of a residual stream: what the logit lens reads.

        With `grad`, what comes out can be differentiated. Raises `InputError` for a model that
        caps its logits (Gemma 2): this would read others.
        """
        with self.lock, torch.set_grad_enabled(grad):
            self.fresh_bridge()
            if (getattr(self.bridge.cfg, "output_logits_soft_cap", None) or -1) > 0:
                raise InputError(
                    f"{self.name} ({self.architecture.family}) caps its logits, which this "
                    "analysis does not take into account; use a model without the cap"
                )
            return self.bridge.unembed(self.bridge.ln_final(resid))

    def output_matrix(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        """W_O of one layer, by head."""
        with self.lock:
            self.fresh_bridge()
            return self.bridge.blocks[layer].attn.W_O


def twin(plain: nn.Module) -> nn.Module:
    """A second module tree over the very same parameters and buffers."""
    shared = {id(t): t for t in [*plain.parameters(), *plain.buffers()]}
    return copy.deepcopy(plain, memo=shared)


def _architecture(cfg: Any, family: str) -> Architecture:
    return Architecture(
        family=family,
        n_layers=cfg.n_layers,
        n_heads=cfg.n_heads,
        n_kv_heads=cfg.n_key_value_heads or cfg.n_heads,
        d_model=cfg.d_model,
        d_head=cfg.d_head,
        d_vocab=cfg.d_vocab,
        n_ctx=cfg.n_ctx,
        d_mlp=0 if cfg.attn_only else cfg.d_mlp,
    )

"""What is asked of a prompt, and the direction of the residual that answers it."""

from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.errors import InputError
from workbench.metrics import logit_difference
from workbench.models import Model
from workbench.models.weights import embedding_weights, norm
from workbench.sites import Site


@dataclass(frozen=True)
class Question:
    """Prompts, and which logit to split: that of `answer`, less that of `wrong` if there is one.

    It is read at `position`, a column of `ids` in each row; by default at the last real token.
    Raises `InputError` unless each row has its answer, its wrong token and a position of its own.
    """

    ids: Int[Tensor, "batch pos"]
    answer: Int[Tensor, " answer"]
    wrong: Int[Tensor, " wrong"] | None = None
    mask: Bool[Tensor, "batch pos"] | None = None
    position: Int[Tensor, " position"] | None = None

    def __post_init__(self) -> None:
        rows, length = self.ids.shape
        for name, given in (("answers", self.answer), ("wrong tokens", self.wrong)):
            if given is not None and len(given) != rows:
                raise InputError(f"{len(given)} {name} for {rows} prompts; give one for each")
        if self.position is None:
            return
        at, real = self.position, self._real
        if len(at) != rows or bool(((at < 0) | (at >= length)).any()):
            raise InputError(f"position needs a column from 0 to {length - 1} for each prompt")
        if not bool(real.gather(1, at.to(real.device)[:, None]).all()):
            raise InputError("position names a padded column; give each row one of its own")

    @property
    def columns(self) -> Int[Tensor, " batch"]:
        """The column at which each row is read."""
        if self.position is not None:
            return self.position
        return self._real.shape[1] - 1 - self._real.flip(1).int().argmax(1)

    def take(self, tensor: Float[Tensor, "batch pos ..."]) -> Float[Tensor, "batch ..."]:
        """Each row's column of a tensor, in float32."""
        columns = self.columns.to(tensor.device)
        return tensor[torch.arange(len(columns), device=tensor.device), columns].float()

    @property
    def _real(self) -> Bool[Tensor, "batch pos"]:
        return torch.ones_like(self.ids, dtype=torch.bool) if self.mask is None else self.mask


@dataclass(frozen=True)
class Reader:
    """Final norm and unembedding at one position of each row, as a direction of the residual."""

    direction: Float[Tensor, "batch d_model"]
    norm_bias: Float[Tensor, " batch"]
    unembed_bias: Float[Tensor, " batch"]
    logit: Float[Tensor, " batch"]

    def __call__(self, written: Float[Tensor, "batch d_model"]) -> Float[Tensor, " batch"]:
        return (written * self.direction).sum(-1)

    def constant(self, bias: Float[Tensor, " d_model"] | None) -> Float[Tensor, " batch"]:
        """The share of what is written on every prompt alike."""
        return torch.zeros_like(self.logit) if bias is None else self.direction @ bias.float()

    def through(
        self, W_O: Float[Tensor, "head d_head d_model"]
    ) -> Float[Tensor, "batch head d_head"]:
        """The direction as a head's mixed values meet it."""
        return einsum(W_O.float(), self.direction, "h d m, b m -> b h d")


def reader_of(model: Model, asked: Question, resid: Float[Tensor, "batch pos d_model"]) -> Reader:
    """The reader of the logit asked for, given the residual after the last layer."""
    final = asked.take(resid)
    weights, last = embedding_weights(model), norm(model)
    answer = _tokens(asked.answer, weights.W_U)
    unembed, bias = weights.W_U[:, answer].float(), weights.b_U[answer].float()
    logits = model.unembed(final.to(model.dtype)).float()
    logit = logits.gather(-1, answer[:, None])[:, 0]
    if asked.wrong is not None:
        wrong = _tokens(asked.wrong, weights.W_U)
        unembed, bias = unembed - weights.W_U[:, wrong].float(), bias - weights.b_U[wrong].float()
        logit = logit_difference(logits, answer, wrong)
    return Reader(
        direction=(last.folded(unembed) / last.scale(final)).T,
        norm_bias=last.bias.float() @ unembed,
        unembed_bias=bias,
        logit=logit,
    )


def _tokens(
    ids: Int[Tensor, " batch"], W_U: Float[Tensor, "d_model d_vocab"]
) -> Int[Tensor, " batch"]:
    outside = [token for token in ids.tolist() if not 0 <= token < W_U.shape[1]]
    if outside:
        raise InputError(f"token id {outside[0]} is outside the vocabulary of {W_U.shape[1]:,}")
    return ids.to(W_U.device)


def last_residual(model: Model) -> Site:
    """The residual that the final norm reads."""
    return Site("resid_post", model.architecture.n_layers - 1)

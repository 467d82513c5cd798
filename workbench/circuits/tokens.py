"""A circuit's ends as tokens: scores from token to token, singular directions, copying."""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from workbench.circuits.heads import Circuit, Folded, folded, layers
from workbench.errors import InputError
from workbench.models import Model
from workbench.models.weights import FactoredMatrix, embedding_weights, norm
from workbench.sites import Head


@dataclass(frozen=True)
class Directions:
    """A circuit's strongest singular directions, with the tokens at both ends.

    `left` is the source (OV) or the query (QK), `right` what is written to the logits (OV) or
    the key (QK). Sign 0 holds the tokens furthest along a direction, sign 1 those furthest
    against it; a sign's left tokens go with the same sign's right tokens.
    """

    values: Float[Tensor, " direction"]
    left_ids: Int[Tensor, "direction sign k"]
    left_scores: Float[Tensor, "direction sign k"]
    right_ids: Int[Tensor, "direction sign k"]
    right_scores: Float[Tensor, "direction sign k"]


@torch.no_grad()
def token_scores(
    model: Model, circuit: Circuit, left: Int[Tensor, " left"], right: Int[Tensor, " right"]
) -> Float[Tensor, "left right"]:
    """A circuit from token to token, for chosen tokens: W_E OV W_U or W_E QK W_E^T.

    OV: what attending to the left token adds to the right one's logit; QK: the score of the
    left token as query with the right one as key.
    """
    (start, end), factors = _ends(model, circuit), circuit.matrix
    return (start.rows(left) @ factors.A) @ (factors.B @ end.rows(right).T)


@torch.no_grad()
def directions(model: Model, circuit: Circuit, *, count: int = 3, k: int = 8) -> Directions:
    """The first `count` singular directions and the `k` tokens furthest along them.

    A singular vector's sign means nothing; it is set so that its strongest left token has
    sign 0.
    """
    start, end = _ends(model, circuit)
    u, s, v = (part[..., :count] for part in circuit.matrix.svd())
    left, right = start.along(u), end.along(v)
    strongest = left.gather(0, left.abs().argmax(0, keepdim=True))
    sign = torch.where(strongest < 0, -1.0, 1.0)
    return Directions(s, *_furthest(left * sign, k), *_furthest(right * sign, k))


@torch.no_grad()
def eigenvalues(model: Model, head: Head) -> Complex[Tensor, " d_head"]:
    """Eigenvalues of W_E OV W_U, token to token; all others are zero by its rank."""
    return _eigenvalues(folded(model, head), _to_tokens_again(model))[head.head]


def copying_score(values: Complex[Tensor, "*batch d_head"]) -> Float[Tensor, "*batch"]:
    """sum(eigenvalues) / sum(|eigenvalues|): 1 where tokens raise their own logits, -1 lower.

    Elhage et al. 2021; NaN where all are zero.
    """
    return values.real.sum(-1) / values.abs().sum(-1)


@torch.no_grad()
def copying_scores(model: Model) -> Float[Tensor, "layer head"]:
    """The copying score of every head's OV circuit."""
    again = _to_tokens_again(model)
    return torch.stack([copying_score(_eigenvalues(layer, again)) for layer in layers(model)])


@dataclass(frozen=True)
class _End:
    """Tokens at one end of a circuit, as rows of the residual's basis."""

    tokens: Float[Tensor, "d_vocab d_model"]
    weight: Float[Tensor, " d_model"]
    centred: bool

    def along(self, vectors: Float[Tensor, "d_model n"]) -> Float[Tensor, "d_vocab n"]:
        """Every token's product with each vector."""
        scores = self.tokens.float() @ (self.weight[:, None] * vectors)
        return scores - scores.mean(0) if self.centred else scores

    def rows(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n d_model"]:
        """Chosen tokens. Raises `InputError` for one outside the vocabulary."""
        size = len(self.tokens)
        if outside := [token for token in ids.tolist() if not 0 <= token < size]:
            raise InputError(f"token id {outside[0]} is outside the vocabulary of {size:,}")
        rows = self.tokens[ids.to(self.tokens.device)].float() * self.weight
        return rows - self.tokens.float().mean(0) * self.weight if self.centred else rows


def _ends(model: Model, circuit: Circuit) -> tuple[_End, _End]:
    weights, last = embedding_weights(model), norm(model)
    embedded = _End(weights.W_E, torch.ones_like(last.weight).float(), centred=False)
    if circuit.kind == "QK":
        return embedded, embedded
    return embedded, _End(weights.W_U.T, last.weight.float(), centred=True)


def _to_tokens_again(model: Model) -> Float[Tensor, "d_model d_model"]:
    """From what a head writes to logits, and from tokens, weighted by these, to embeddings."""
    weights, last = embedding_weights(model), norm(model)
    W_U, W_E = weights.W_U.float(), weights.W_E.float()
    if W_U.shape[1] != len(W_E):
        raise InputError(
            f"{model.name} reads {len(W_E)} tokens and predicts {W_U.shape[1]}: copying is not "
            "defined between two vocabularies"
        )
    return last.weight.float()[:, None] * (W_U @ W_E - W_U.mean(1)[:, None] * W_E.sum(0))


def _eigenvalues(
    layer: Folded, again: Float[Tensor, "d_model d_model"]
) -> Complex[Tensor, "head d_head"]:
    """Of A B by those of B A, which is only as large as the head."""
    return FactoredMatrix(again @ layer.values, layer.output).eigenvalues


def _furthest(
    scores: Float[Tensor, "d_vocab direction"], k: int
) -> tuple[Int[Tensor, "direction sign k"], Float[Tensor, "direction sign k"]]:
    best = torch.stack([scores.T, -scores.T], dim=1).topk(min(k, len(scores)), dim=-1)
    ids = best.indices
    return ids, scores.T[:, None].expand(-1, 2, -1).gather(-1, ids)

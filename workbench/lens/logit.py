"""The logit lens: what each layer's residual stream would predict if it were the last.

nostalgebraist 2020; the final norm is applied to every layer's residual.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.cache import Capture, Store, capture
from workbench.metrics import kl_divergence
from workbench.models import Model
from workbench.sites import Site

Unembed = Callable[[Float[Tensor, "*batch d_model"]], Float[Tensor, "*batch d_vocab"]]


@runtime_checkable
class ByRow(Protocol):
    """One unembedding for each row of the lens; -1 is the last: a `TunedLens`, or a list."""

    def __getitem__(self, row: int, /) -> Unembed: ...


@dataclass(frozen=True)
class Lens:
    """The lens over one prompt; row 0 is the embedding, row l + 1 the output of layer l.

    `top_ids` and `top_probs` are the likeliest tokens, best first; `entropy` and `kl` (of the
    final distribution from the layer's, KL(final || layer)) are in nats. `rank` (0 is top) and
    `prob` follow the tokens in `traced`, one for each position.
    """

    top_ids: Int[Tensor, "layer pos k"]
    top_probs: Float[Tensor, "layer pos k"]
    entropy: Float[Tensor, "layer pos"]
    kl: Float[Tensor, "layer pos"]
    traced: Int[Tensor, " pos"]
    rank: Int[Tensor, "layer pos"]
    prob: Float[Tensor, "layer pos"]

    @property
    def layers(self) -> list[str]:
        """Row labels: `embed`, `L0`, `L1`, ..."""
        return row_labels(len(self.entropy))


def row_labels(n_rows: int) -> list[str]:
    """What the rows of a lens are called: `embed`, `L0`, `L1`, ..."""
    return ["embed", *(f"L{layer}" for layer in range(n_rows - 1))]


@torch.no_grad()
def lens(
    resid: Float[Tensor, "layer pos d_model"],
    unembed: Unembed | ByRow,
    *,
    traced: int | None = None,
    k: int = 10,
    progress: Callable[[Iterable], Iterable] = lambda layers: layers,
) -> Lens:
    """Read every layer's residual through `unembed`, one layer at a time.

    `unembed` is the model's own for every row (the logit lens), or one for each row (a tuned
    lens). `traced` is the token whose rank and probability are followed; by default, at each
    position, the model's final top-1.
    """
    final = _of_row(unembed, -1)(resid[-1]).float().log_softmax(-1)
    followed = final.argmax(-1)
    if traced is not None:
        followed = torch.full_like(followed, traced)
    k = min(k, final.shape[-1])
    rows = []
    for row, layer in enumerate(progress(resid)):
        log_probs = _of_row(unembed, row)(layer).float().log_softmax(-1)
        probs = log_probs.exp()
        top = probs.topk(k, dim=-1)
        rows.append(
            (
                top.indices,
                top.values,
                torch.special.entr(probs).sum(-1),
                kl_divergence(final, log_probs),
                *_fate(log_probs, followed),
            )
        )
    ids, values, entropies, kl, rank, prob = (
        torch.stack(column) for column in zip(*rows, strict=True)
    )
    return Lens(ids, values, entropies, kl, followed, rank, prob)


@dataclass(frozen=True)
class Fate:
    """One token at one position, layer by layer; rank 0 is the most likely."""

    rank: Int[Tensor, " layer"]
    prob: Float[Tensor, " layer"]


@torch.no_grad()
def follow(resid: Float[Tensor, "layer d_model"], unembed: Unembed | ByRow, token: int) -> Fate:
    """Rank and probability of `token` through the layers at one position."""
    if callable(unembed):
        logits = unembed(resid)
    else:
        logits = torch.cat([unembed[row](one[None]) for row, one in enumerate(resid)])
    log_probs = logits.float().log_softmax(-1)
    return Fate(*_fate(log_probs, torch.full_like(log_probs[:, 0], token, dtype=torch.long)))


def _of_row(unembed: Unembed | ByRow, row: int) -> Unembed:
    return unembed if callable(unembed) else unembed[row]


def _fate(
    log_probs: Float[Tensor, "row d_vocab"], tokens: Int[Tensor, " row"]
) -> tuple[Int[Tensor, " row"], Float[Tensor, " row"]]:
    """Rank and probability of one token in each row."""
    own = log_probs.gather(-1, tokens[:, None])
    return (log_probs > own).sum(-1), own[:, 0].exp()


def stream_sites(model: Model) -> list[Site]:
    """The residual stream, one site for each row: into the first block, out of every block."""
    n_layers = model.architecture.n_layers
    return [Site("resid_pre", 0), *(Site("resid_post", layer) for layer in range(n_layers))]


def residuals(
    model: Model, ids: Int[Tensor, "1 pos"], store: Store | None = None
) -> tuple[Float[Tensor, "layer pos d_model"], Capture]:
    """The residual stream of one prompt: into the first block, then out of every block."""
    sites = stream_sites(model)
    taken = capture(model, ids, sites, store)
    return torch.stack([taken[site][0] for site in sites]), taken

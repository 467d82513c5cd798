"""Training of the tuned lens: least squares first, then steps down KL(final || lens).

Belrose et al. 2023 start from the identity and take 250 steps of 262,144 tokens. Least squares
come most of the way from a small part of that, so that short steps are all that is left.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from workbench.corpus import Corpus
from workbench.errors import InputError
from workbench.lens.least_squares import Moments, Start
from workbench.lens.logit import Unembed
from workbench.lens.rows import SHARE, rows, whole
from workbench.lens.tuned import TunedLens, untrained
from workbench.models import Model

_BATCH = 16  # contexts in one forward, while moments are gathered


@dataclass(frozen=True)
class Recipe:
    """How a lens is trained.

    Least squares read every position of the first `start_tokens` tokens; each of the `steps`
    after them reads about `positions` positions, an eighth of each context's.
    """

    steps: int = 160
    positions: int = 64
    start_tokens: int = 65_536
    learning_rate: float = 3e-4
    seed: int = 0

    def __post_init__(self) -> None:
        from_zero = ("steps", "seed")
        wrong = [
            f"{name} {value}"
            for name, value in asdict(self).items()
            if not (value > 0 or (value == 0 and name in from_zero))
        ]
        if wrong:
            raise InputError(
                f"a lens cannot be trained with {', '.join(wrong)}; give numbers above 0 "
                "(steps and seed from 0)"
            )

    def contexts(self, n_ctx: int) -> int:
        """Contexts that one step reads."""
        return max(1, round(self.positions / max(1, round(n_ctx * SHARE))))


@dataclass(frozen=True)
class Step:
    """One batch of training: the lens after it, and each row's KL on it, in nats, before it.

    `losses` are None, and `lens` is the logit lens, while moments for least squares are
    gathered; the last of these steps has their solution. `done` of `total` batches are through.
    """

    done: int
    total: int
    losses: Float[Tensor, " layer"] | None
    lens: TunedLens


def train(model: Model, corpus: Corpus, recipe: Recipe) -> Iterator[Step]:
    """Train a tuned lens on `corpus`, step by step; whoever reads may stop at any of them.

    All rows of the lens learn from the same forward passes. A corpus that is too short is read
    again. Where `in_bfloat16`, the unembedding is. One seed gives one lens, on one machine.
    """
    begun = untrained(model)
    n_first = min(len(corpus), -(-recipe.start_tokens // corpus.n_ctx))
    n_start = -(-n_first // _BATCH)
    total = n_start + recipe.steps
    moments = Moments()
    every = rows(model, corpus, batch=_BATCH, share=1.0, seed=recipe.seed)
    for done, batch in enumerate(islice(every, n_start), 1):
        moments.add(batch.flatten(1, 2))
        if done < n_start:
            yield Step(done, total, None, begun)
    start = moments.start()
    yield Step(n_start, total, None, TunedLens(start.matrix, start.bias, model.unembed))
    descent = descend(
        start,
        (batch.flatten(1, 2) for batch in _endless(model, corpus, recipe, n_start * _BATCH)),
        lambda resid: model.unembed(resid.to(model.dtype), grad=True),
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        bfloat16=in_bfloat16(model),
    )
    for done, (losses, matrix, bias) in enumerate(descent, n_start + 1):
        yield Step(done, total, losses, TunedLens(matrix, bias, model.unembed))


def descend(
    start: Start,
    batches: Iterable[Float[Tensor, "_ _ d_model"]],
    unembed: Unembed,
    *,
    steps: int,
    learning_rate: float,
    bfloat16: bool = False,
) -> Iterator[
    tuple[
        Float[Tensor, " layer"],
        Float[Tensor, "layer d_model d_model"],
        Float[Tensor, "layer d_model"],
    ]
]:
    """From `start` down the mean KL of `steps` batches: each row's loss, matrices and biases.

    `unembed` takes float32 and must be differentiable. Rows that hold NaN are left out. Adam,
    whose rate rises for a twelfth of the steps and falls to 0 over all of them.
    """
    turn, push = torch.zeros_like(start.matrix), torch.zeros_like(start.bias)
    adam = torch.optim.Adam([turn, push], learning_rate, betas=(0.9, 0.99))
    pace = torch.optim.lr_scheduler.LambdaLR(adam, partial(_pace, steps=steps))
    for _, batch in zip(range(steps), batches, strict=False):
        kept = whole(batch)
        if not kept.shape[1]:
            continue
        device = batch.device.type
        with torch.enable_grad(), torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            slopes = _slopes(start, turn, push, kept, unembed)
        losses, turn.grad, push.grad = slopes
        adam.step()
        pace.step()
        yield losses, *start.moved(turn, push)


def in_bfloat16(model: Model) -> bool:
    """Whether training multiplies a float32 model's unembedding in bfloat16: at twice the speed."""
    if model.dtype != torch.float32:
        return False
    if model.device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = getattr(torch.cpu, "get_capabilities", dict)()  # not in every torch that we allow
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))


def _pace(step: int, *, steps: int) -> float:
    return min(1.0, (step + 1) / (1 + steps // 12)) * (1 - step / max(1, steps))


def _slopes(
    start: Start,
    turn: Float[Tensor, "layer d_model d_model"],
    push: Float[Tensor, "layer d_model"],
    batch: Float[Tensor, "row position d_model"],
    unembed: Unembed,
) -> tuple[
    Float[Tensor, " layer"], Float[Tensor, "layer d_model d_model"], Float[Tensor, "layer d_model"]
]:
    """Each row's mean KL on the batch, and its gradients; one row at a time, to bound memory."""
    final = unembed(batch[-1]).detach().float().log_softmax(-1)
    probs = final.exp()
    certainty = (probs * final).sum(-1).mean()
    losses, turns, pushes = [], [], []
    for row in range(len(turn)):
        own = turn[row].detach().requires_grad_(), push[row].detach().requires_grad_()
        with torch.autocast(batch.device.type, enabled=False):
            x = batch[row]
            seen = (x - start.mean[row]) @ start.whiten[row]
            moved = linear(x, start.matrix[row], start.bias[row]) + start.scale * linear(seen, *own)
        logits = unembed(x + moved)
        cross_entropy = -(probs * logits.float().log_softmax(-1)).sum(-1).mean()
        slopes = torch.autograd.grad(cross_entropy, own)
        losses.append(cross_entropy.detach() + certainty)
        turns.append(slopes[0])
        pushes.append(slopes[1])
    return torch.stack(losses), torch.stack(turns), torch.stack(pushes)


def _endless(
    model: Model, corpus: Corpus, recipe: Recipe, first: int
) -> Iterator[Float[Tensor, "row context kept d_model"]]:
    """Batches for the steps, from context `first` on, then over and over from the beginning."""
    batch, seed = recipe.contexts(corpus.n_ctx), recipe.seed
    first %= len(corpus)
    while True:
        seed += 1
        yield from rows(model, corpus, batch=batch, seed=seed, first=first)
        first = 0

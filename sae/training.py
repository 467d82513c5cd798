"""Training itself: weights, their optimiser, and one step after the other."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae import kernels
from sae.dense import DENSE, FIRST_THRESHOLD
from sae.parallel import batch_top_k, of_whole_batch, own_part
from sae.recipe import SPARSE, Recipe
from sae.resampling import begin_anew, with_hardest
from sae.slopes import Rows, Slopes
from sae.sparse import Revival, sparse
from workbench.errors import InputError

_CLIP = 1.0
_PACE, _PACED = 0.01, 20  # of the running threshold of batch-wise kinds; in a whole training


@dataclass(frozen=True, eq=False)
class Step:
    """One step of one dictionary, before it: losses by name, L0, and how many latents are dead."""

    done: int
    losses: Mapping[str, Float[Tensor, ""]]
    l0: Float[Tensor, ""]
    n_dead: int


class Training:
    """A dictionary under way; rows are scaled, `mean` is the mean of those that should come out.

    With `d_in` it is a transcoder, whose rows of that width come centred. Decoder rows are kept at
    length 1, and the part of a gradient along them is taken off, since it would only change their
    length (Bricken et al. 2023), unless the recipe leaves them free. One seed, thread count and
    machine give one result, bit for bit, however often it is stopped and restored.
    """

    def __init__(
        self,
        recipe: Recipe,
        mean: Float[Tensor, " d_out"],
        device: torch.device,
        d_in: int | None = None,
    ) -> None:
        self.recipe, self.done = recipe, 0
        self.weights = {n: w.to(device) for n, w in started(recipe, mean, d_in).items()}
        for weight in self.weights.values():
            weight.grad = torch.zeros_like(weight)
        self._adam = torch.optim.Adam(list(self.weights.values()), lr=recipe.rate, fused=True)
        self.silent = torch.zeros(recipe.width, dtype=torch.long, device=device)
        # the least active value in a batch: running, and of the last one
        self.least = torch.zeros(2, dtype=torch.double, device=device)

    @property
    def dead(self) -> Bool[Tensor, " latent"]:
        return self.silent >= self.recipe.dead_after

    @torch.no_grad()
    def step(self, found: Slopes, n_rows: int) -> Step:
        """One step down what `slopes` gave for a batch."""
        n_dead = int(self.dead.sum())
        self._descend(found.by_weight)
        self.silent += n_rows
        self.silent[found.fired] = 0
        if self.recipe.kind in SPARSE:
            self._note(found.smallest)
        if found.hardest is not None:
            moments = {name: self._adam.state[weight] for name, weight in self.weights.items()}
            self.silent[begin_anew(self.weights, moments, self.dead, found.hardest)] = 0
        self.done += 1
        return Step(self.done, found.losses, found.l0, n_dead)

    @torch.no_grad()
    def slopes(
        self, x: Float[Tensor, "row d_in"], y: Float[Tensor, "row d_out"] | None = None
    ) -> Slopes:
        """The gradients on a batch, as they are; `y` is what a transcoder should make of `x`.

        Under torchrun each rank brings the same batch and works on its part of it.
        """
        rows = Rows(x, y)
        found = of_whole_batch(self._slopes(own_part(rows)))
        if self._resamples and bool(self.dead.any()):
            return with_hardest(found, rows, int(self.dead.sum()), self.recipe.seed + self.done)
        return found

    @property
    def _resamples(self) -> bool:
        """In the first half, so that the rate is still high when they learn."""
        each = self.recipe.resample
        return each > 0 and self.done % each == each - 1 and 2 * self.done < self.recipe.steps

    def _slopes(self, rows: Rows) -> Slopes:
        recipe = self.recipe
        if recipe.kind not in SPARSE:
            share = min(1.0, (self.done + 1) / max(1, recipe.warmup))
            return DENSE[recipe.kind](self.weights, rows, share * recipe.penalty)
        return sparse(
            self.weights,
            rows,
            self._choose(),
            edges=recipe.edges,
            revival=Revival(self.dead, recipe.aux) if recipe.aux else None,
            bfloat16=recipe.bfloat16,
        )

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name, in its own memory."""
        found = {f"weights.{name}": weight for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            for key, value in self._adam.state[weight].items():
                found[f"adam.{name}.{key}"] = value
        return found | {"silent": self.silent, "least": self.least}

    def restore(self, state: Mapping[str, Tensor], done: int) -> None:
        """Continue from what `state()` gave. Raises `InputError` where it is of another shape."""
        own = {f"weights.{name}": weight for name, weight in self.weights.items()}
        own |= {"silent": self.silent, "least": self.least}
        wrong = [n for n, w in own.items() if n not in state or state[n].shape != w.shape]
        if wrong:
            raise InputError(
                f"this checkpoint does not fit its recipe: {', '.join(wrong)} are missing or of "
                "another shape; start anew in another folder"
            )
        for name, weight in own.items():
            weight.copy_(state[name])
        groups = self._adam.state_dict()["param_groups"]
        kept = {
            number: {
                key.removeprefix(f"adam.{name}."): value
                for key, value in state.items()
                if key.startswith(f"adam.{name}.")
            }
            for number, name in enumerate(self.weights)
        }
        self._adam.load_state_dict({"state": kept, "param_groups": groups})
        self.done = done

    def _choose(self):
        recipe = self.recipe
        if recipe.kind == "topk":
            return partial(kernels.top_k, k=recipe.k)
        warm = 0.97 * float(self.least[1])
        return partial(batch_top_k, k=recipe.k, warm=warm)

    def _descend(self, slopes: Mapping[str, Tensor]) -> None:
        rows, along = self.weights["W_dec"], slopes["W_dec"]
        if not self.recipe.free:
            along -= (along * rows).sum(1, keepdim=True) * rows
        for name, weight in self.weights.items():
            weight.grad = slopes[name]
        torch.nn.utils.clip_grad_norm_(self.weights.values(), _CLIP)
        self._adam.param_groups[0]["lr"] = self.recipe.scale(self.done) * self.recipe.rate
        self._adam.step()
        if not self.recipe.free:
            rows /= rows.norm(dim=1, keepdim=True)
        if "threshold" in self.weights:
            self.weights["threshold"].clamp_(min=0)

    def _note(self, smallest: Float[Tensor, ""]) -> None:
        if bool(smallest.isfinite()):
            pace = min(1.0, max(_PACE, _PACED / self.recipe.steps))
            running = torch.lerp(self.least[0], smallest.double(), pace) if self.done else smallest
            self.least[0], self.least[1] = running, smallest


def started(
    recipe: Recipe, mean: Float[Tensor, " d_out"], d_in: int | None = None
) -> dict[str, Tensor]:
    """Random decoder rows of length 1, an encoder that is their transpose, the mean as bias.

    The encoder of a transcoder has random rows of its own, its `skip` begins as 0.
    """
    draw = torch.Generator().manual_seed(recipe.seed)
    rows = _directions(recipe.width, len(mean), draw)
    weights = {
        "W_enc": rows.clone() if d_in is None else _directions(recipe.width, d_in, draw),
        "b_enc": torch.zeros(recipe.width),
        "W_dec": rows,
        "b_dec": mean.float().cpu().clone(),
    }
    if d_in is not None and recipe.skip:
        weights["skip"] = torch.zeros(len(mean), d_in)
    if recipe.kind == "gated":
        weights |= {name: torch.zeros(recipe.width) for name in ("b_gate", "r_mag")}
    if recipe.kind == "jumprelu":
        weights["threshold"] = torch.full((recipe.width,), FIRST_THRESHOLD)
    return weights


def _directions(n: int, d: int, draw: torch.Generator) -> Float[Tensor, "n d"]:
    rows = torch.randn(n, d, generator=draw)
    return rows / rows.norm(dim=1, keepdim=True)

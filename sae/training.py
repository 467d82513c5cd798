"""Training itself: weights, their optimiser, and one step after the other."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae import kernels
from sae.dense import DENSE
from sae.recipe import SPARSE, Recipe
from sae.slopes import Slopes
from sae.sparse import Revival, sparse
from workbench.errors import InputError

_CLIP = 1.0
_PACE = 0.01  # of the running threshold that a batch-wise kind is used with


@dataclass(frozen=True, eq=False)
class Step:
    """One step of one dictionary, before it: losses by name, L0, and how many latents are dead."""

    done: int
    losses: Mapping[str, Float[Tensor, ""]]
    l0: Float[Tensor, ""]
    n_dead: int


class Training:
    """A dictionary under way; `rows` are scaled, `mean` is their mean.

    Decoder rows are kept at length 1, and the part of a gradient along them is taken off, since
    it would only change their length (Bricken et al. 2023). One seed, thread count and machine
    give one result, bit for bit, however often it is stopped and restored.
    """

    def __init__(self, recipe: Recipe, mean: Float[Tensor, " d"], device: torch.device) -> None:
        self.recipe, self.done = recipe, 0
        self.weights = {n: w.to(device) for n, w in started(recipe, mean).items()}
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
        self.done += 1
        return Step(self.done, found.losses, found.l0, n_dead)

    @torch.no_grad()
    def slopes(self, rows: Float[Tensor, "row d"]) -> Slopes:
        """The gradients on a batch, as they are."""
        recipe = self.recipe
        if recipe.kind not in SPARSE:
            share = min(1.0, (self.done + 1) / max(1, recipe.warmup))
            return DENSE[recipe.kind](self.weights, rows, rows, share * recipe.penalty)
        return sparse(
            self.weights,
            rows,
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
        return partial(kernels.batch_top_k, k=recipe.k, warm=warm)

    def _descend(self, slopes: Mapping[str, Tensor]) -> None:
        rows = self.weights["W_dec"]
        along = slopes["W_dec"]
        along -= (along * rows).sum(1, keepdim=True) * rows
        for name, weight in self.weights.items():
            weight.grad = slopes[name]
        torch.nn.utils.clip_grad_norm_(self.weights.values(), _CLIP)
        self._adam.param_groups[0]["lr"] = self.recipe.scale(self.done) * self.recipe.rate
        self._adam.step()
        rows /= rows.norm(dim=1, keepdim=True)
        if "threshold" in self.weights:
            self.weights["threshold"].clamp_(min=0)

    def _note(self, smallest: Float[Tensor, ""]) -> None:
        if bool(smallest.isfinite()):
            running = torch.lerp(self.least[0], smallest.double(), _PACE) if self.done else smallest
            self.least[0], self.least[1] = running, smallest


def started(recipe: Recipe, mean: Float[Tensor, " d"]) -> dict[str, Tensor]:
    """Random decoder rows of length 1, an encoder that is their transpose, the mean as bias."""
    draw = torch.Generator().manual_seed(recipe.seed)
    rows = torch.randn(recipe.width, len(mean), generator=draw)
    rows /= rows.norm(dim=1, keepdim=True)
    weights = {
        "W_enc": rows.clone(),
        "b_enc": torch.zeros(recipe.width),
        "W_dec": rows,
        "b_dec": mean.float().cpu().clone(),
    }
    if recipe.kind == "gated":
        weights |= {name: torch.zeros(recipe.width) for name in ("b_gate", "r_mag")}
    if recipe.kind == "jumprelu":
        weights["threshold"] = torch.full((recipe.width,), 0.01)
    return weights

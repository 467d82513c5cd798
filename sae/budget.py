"""What a training costs, told before it starts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sae.recipe import Recipe
from sae.training import Training
from workbench.cache.resources import free_host
from workbench.corpus import Corpus
from workbench.errors import InputError

_COPIES = 6  # of the weights: themselves, a gradient, Adam's two, a sum, a checkpoint's


@dataclass(frozen=True)
class Budget:
    """Bytes of memory and disk, seconds in all and for one step, and times the corpus is read."""

    memory: int
    free: int
    disk: int
    seconds: float
    step: float
    epochs: float

    def check(self) -> None:
        """Raise `InputError` for what memory does not hold."""
        if self.memory > self.free:
            raise InputError(
                f"this training takes about {self.memory / 1e9:.1f} GB of memory, "
                f"{self.free / 1e9:.1f} GB are free; give a smaller width or batch, or train the "
                "dictionaries one by one"
            )


def budget(
    recipes: Sequence[Recipe], d_in: int, d_out: int, corpus: Corpus, forward: float = 0.0
) -> Budget:
    """Measured on one batch of noise for each recipe, on the CPU.

    `forward` is the seconds that the model takes for a token, where activations are not stored.
    """
    first = recipes[0]
    weights = sum(4 * (d_in + d_out) * recipe.width for recipe in recipes)
    largest = max(recipe.width for recipe in recipes)
    free = free_host()
    memory = _COPIES * weights + 4 * 4 * first.batch * largest
    fits = free is None or memory <= free
    step = sum(_step(recipe, d_in, d_out) for recipe in recipes) if fits else float("nan")
    step += forward * first.batch
    return Budget(
        memory=memory,
        free=memory if free is None else free,
        disk=4 * weights,
        seconds=step * first.steps,
        step=step,
        epochs=first.steps * first.batch / corpus.n_tokens,
    )


def _step(recipe: Recipe, d_in: int, d_out: int) -> float:
    """Of a transcoder, which costs what an autoencoder does."""
    x, y = torch.randn(recipe.batch, d_in), torch.randn(recipe.batch, d_out)
    training = Training(recipe, torch.zeros(d_out), torch.device("cpu"), d_in)
    training.step(training.slopes(x, y), len(x))
    since = time.perf_counter()
    training.step(training.slopes(x, y), len(x))
    return time.perf_counter() - since

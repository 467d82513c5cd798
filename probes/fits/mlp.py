"""A two-layer probe, the non-linear control: what it reads and a linear one does not is not linear.

As Li et al. (2023, arXiv:2210.13382): one hidden layer that all tasks share.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from probes.fits.probe import MLPProbe
from probes.fits.samples import Samples

HIDDEN = 128
_EPOCHS, _PATIENCE, _BATCH, _RATE, _DECAY = 30, 2, 512, 2e-3, 1e-2


class _Networks(torch.nn.Module):
    """One network for each set of labels, side by side, on standardised activations."""

    def __init__(self, n_sets: int, d: int, out: int, generator: torch.Generator) -> None:
        super().__init__()

        def drawn(*shape: int, fan: int) -> torch.nn.Parameter:
            values = torch.rand(shape, generator=generator) * 2 - 1
            return torch.nn.Parameter(values / fan**0.5)

        self.inner = drawn(n_sets, d, HIDDEN, fan=d)
        self.inner_bias = drawn(n_sets, 1, HIDDEN, fan=d)
        self.weight = drawn(n_sets, HIDDEN, out, fan=HIDDEN)
        self.bias = drawn(n_sets, 1, out, fan=HIDDEN)

    def forward(self, x: Float[Tensor, "row d"]) -> Float[Tensor, "set row out"]:
        hidden = torch.baddbmm(self.inner_bias, x.expand(len(self.inner), -1, -1), self.inner)
        return torch.baddbmm(self.bias, hidden.relu(), self.weight)


def mlp_probes(samples: Samples, *, strength: float | None, seed: int) -> list[MLPProbe]:
    """Trained by AdamW; the epoch with the least loss on the samples to choose on is kept."""
    mean, spread = samples.x.mean(0), samples.x.std(0, correction=0)
    spread = spread.clamp_min(1e-6 * float(spread.max()) or 1.0)  # of any scale, but never 0
    n_sets, _, n_tasks = samples.labels.shape
    n_classes = len(samples.classes)
    generator = torch.Generator().manual_seed(seed)
    networks = _Networks(n_sets, samples.x.shape[1], n_tasks * n_classes, generator)
    networks.to(samples.x.device)
    kept = _trained(networks, samples, mean, spread, generator)
    inner = kept["inner"] / spread[:, None]
    shift = kept["inner_bias"][:, 0] - mean @ inner
    return [
        MLPProbe(
            site=samples.site,
            kind="mlp",
            tasks=samples.tasks,
            classes=samples.classes,
            model=samples.model,
            inner=inner[one],
            inner_bias=shift[one],
            weight=kept["weight"][one].unflatten(1, (n_tasks, n_classes)),
            bias=kept["bias"][one, 0].unflatten(0, (n_tasks, n_classes)),
        )
        for one in range(n_sets)
    ]


def _trained(
    networks: _Networks, samples: Samples, mean: Tensor, spread: Tensor, drawn: torch.Generator
) -> dict[str, Tensor]:
    """Each set's weights at its best epoch; ends when no set got better for some epochs."""
    optimiser = torch.optim.AdamW(networks.parameters(), lr=_RATE, weight_decay=_DECAY)
    held = (samples.choose_x - mean) / spread
    kept = {name: value.detach().clone() for name, value in networks.named_parameters()}
    best = samples.x.new_full((len(samples.labels),), torch.inf)
    stale = 0
    for _ in range(_EPOCHS):
        order = torch.randperm(len(samples.x), generator=drawn).to(samples.x.device)
        for rows in order.split(_BATCH):
            with torch.enable_grad():
                x = (samples.x[rows] - mean) / spread
                _loss(networks(x), samples.labels[:, rows]).sum().backward()
            optimiser.step()
            optimiser.zero_grad()
        with torch.no_grad():
            loss = _loss(networks(held), samples.choose_labels)
            better = loss < best
            best = torch.where(better, loss, best)
            for name, value in networks.named_parameters():
                kept[name][better] = value[better]
        stale = 0 if bool(better.any()) else stale + 1
        if stale == _PATIENCE:
            break
    return kept


def _loss(logits: Float[Tensor, "set row out"], labels: Tensor) -> Float[Tensor, " set"]:
    """Mean surprise in nats, summed over tasks: each task's share of the steps is the same."""
    each = logits.unflatten(2, (labels.shape[2], -1)).movedim(-1, 1)
    return torch.nn.functional.cross_entropy(each, labels, reduction="none").mean(1).sum(1)

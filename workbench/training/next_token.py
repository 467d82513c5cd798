"""Next-token training of a small model: its recipe, its network, its optimisers."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from workbench.errors import InputError
from workbench.models.loading import resolve_device
from workbench.models.native import Shape, network, save_native, sdpa
from workbench.models.tokens import HubVocabulary, Labels
from workbench.training.recipe import SCHEDULE, Ranges, power_of_two, refuse
from workbench.training.steps import Step

Sequences = Callable[[int, int, int], Int[Tensor, "batch pos"]]
"""(seed, step, batch) -> token ids, one longer than the context: always the same for the same."""
Logits = Callable[[Int[Tensor, "batch pos"]], Float[Tensor, "batch pos vocab"]]
Evaluate = Callable[[Logits], Mapping[str, float]]
_RANGES: Ranges = {
    "steps": (1, 10_000_000),
    "batch": (1, 65_536),
    "matrix_rate": (1e-6, 1),
    "rate": (1e-6, 1),
    "warmup": (0, 10_000_000),
    "decay": (0, 1),
    "seed": (0, 2**31),
    "every": (0, 10_000_000),
}


@dataclass(frozen=True)
class NextToken:
    """Next-token training of a small model on sequences drawn afresh at each step.

    Muon (Jordan et al. 2024) trains the blocks' matrices at `matrix_rate`, AdamW the rest at
    `rate`; both rise over `warmup` steps and fall to 0 over the last `decay` of all. The ladder
    has a rung at each power of two and at each multiple of `every` (0: at none). Raises
    `InputError` that lists every number that cannot be.
    """

    name: str
    about: str
    shape: Shape
    vocabulary: Labels | HubVocabulary
    sequences: Sequences
    evaluate: Evaluate
    steps: int
    batch: int
    matrix_rate: float = 0.02
    rate: float = 3e-3
    warmup: int = 50
    decay: float = 0.5
    seed: int = 0
    every: int = 0

    def __post_init__(self) -> None:
        refuse(self, _RANGES)

    def numbers(self) -> dict[str, object]:
        """What decides the weights, for a card and to tell whether a checkpoint continues it."""
        fields = ("name", *SCHEDULE, "batch", "matrix_rate", "rate", "seed")
        return {**{name: getattr(self, name) for name in fields}, "shape": asdict(self.shape)}

    def scale(self, step: int) -> float:
        """The share of the learning rates at a step, counted from 0."""
        rising = (step + 1) / self.warmup if self.warmup else 1.0
        falling = (self.steps - step) / max(1.0, self.decay * self.steps)
        return min(1.0, rising, falling)

    def rung(self, done: int) -> bool:
        return power_of_two(done) or bool(self.every and done % self.every == 0)

    def examples(self, done: int) -> int:
        """Tokens."""
        return done * self.batch * self.shape.n_ctx

    def begin(self, device: str = "auto", compiled: bool = False) -> "NextTokenTraining":
        return NextTokenTraining(self, device, compiled)


class NextTokenTraining:
    """A recipe under way: the network, its optimisers, and how many steps are done.

    Nothing has weight decay. In float32 with bfloat16 autocast where the processor has it; on CUDA
    compiled, with fused attention; `compiled` compiles on the CPU too (needs a C++ compiler). One
    seed, thread count, machine and way of running give one result, bit for bit, however often it
    is stopped and restored.
    """

    def __init__(self, recipe: NextToken, device: str = "auto", compiled: bool = False) -> None:
        self.recipe = recipe
        self.device = resolve_device(device)
        self.done = 0
        self.network = network(recipe.shape, recipe.seed).to(self.device)
        self.bfloat16 = has_bfloat16(self.device)
        named = dict(self._named())
        matrices = {n: p for n, p in named.items() if p.ndim == 2 and n.startswith("layers.")}
        rest = {n: p for n, p in named.items() if n not in matrices}
        self.optimisers: dict[str, tuple[list[str], torch.optim.Optimizer]] = {}
        if matrices:
            muon = torch.optim.Muon(matrices.values(), lr=recipe.matrix_rate, weight_decay=0.0)
            self.optimisers["muon"] = list(matrices), muon
        adam = torch.optim.AdamW(rest.values(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.0)
        self.optimisers["adam"] = list(rest), adam
        cuda = self.device.type == "cuda"
        self.compiled = compiled or cuda
        trained = sdpa(self.network) if cuda else self.network
        self._forward: Any = torch.compile(trained) if self.compiled else trained

    def steps(self) -> Iterator[Step]:
        """The steps that are left; whoever reads may stop at any of them."""
        while self.done < self.recipe.steps:
            loss = self._step()
            self.done += 1
            yield Step(self.done, self.recipe.steps, loss)

    def logits(self, ids: Tensor) -> Tensor:
        """The network's answer now, in float32, without gradients."""
        with torch.no_grad(), self._autocast():
            return self.network(ids.to(self.device)).float()

    def metrics(self) -> Mapping[str, float]:
        return self.recipe.evaluate(self.logits)

    @property
    def precision(self) -> str:
        held = "bfloat16 autocast" if self.bfloat16 else "float32"
        return f"{held}, compiled" if self.compiled else held

    def save(self, folder: Path, card: Mapping[str, Any]) -> None:
        """A folder that `workbench.models.load` takes."""
        recipe = self.recipe
        weights = dict(self.network.named_parameters())
        save_native(folder, recipe.shape, recipe.vocabulary, weights, card)

    def state(self) -> dict[str, Tensor]:
        """Weights and optimisers, by name, in their own memory: copy or write them at once."""
        found = {f"weights.{name}": value.data for name, value in self._named()}
        for label, (names, optimiser) in self.optimisers.items():
            for name, parameter in zip(names, optimiser.param_groups[0]["params"], strict=True):
                for key, value in optimiser.state[parameter].items():
                    found[f"{label}.{name}.{key}"] = value
        return found

    def restore(self, state: dict[str, Tensor], done: int) -> None:
        """Continue from what `state()` gave after `done` steps.

        Raises `InputError` for tensors that are not those of this recipe.
        """
        weights = {n: state.pop(f"weights.{n}", None) for n, _ in self._named()}
        wrong = [
            name
            for name, value in self._named()
            if (given := weights[name]) is None or given.shape != value.shape
        ]
        if wrong:
            raise InputError(
                f"this checkpoint does not fit recipe {self.recipe.name}: "
                f"{', '.join(wrong[:3])}{' ...' if len(wrong) > 3 else ''} are missing or of "
                "another shape; give the recipe that made it, or start anew"
            )
        with torch.no_grad():
            for name, value in self._named():
                given = weights[name]
                assert given is not None
                value.copy_(given)
        for label, (names, optimiser) in self.optimisers.items():
            group = optimiser.state_dict()["param_groups"]
            kept = {
                number: {
                    key.removeprefix(f"{label}.{name}."): state[key]
                    for key in state
                    if key.startswith(f"{label}.{name}.")
                }
                for number, name in enumerate(names)
            }
            optimiser.load_state_dict({"state": kept, "param_groups": group})
        self.done = done

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:  # biases that the shape leaves out are zeros
                yield name, parameter

    def _step(self) -> Float[Tensor, ""]:
        recipe = self.recipe
        scale = recipe.scale(self.done)
        rows = recipe.sequences(recipe.seed, self.done, recipe.batch).to(self.device)
        with self._autocast():
            logits = self._forward(rows[:, :-1])
        pad = recipe.vocabulary.pad_id
        loss = nn.functional.cross_entropy(
            logits.float().flatten(0, 1),
            rows[:, 1:].flatten(),
            ignore_index=-100 if pad is None else pad,
        )
        loss.backward()
        for (_, optimiser), rate in zip(self.optimisers.values(), self._rates(), strict=True):
            optimiser.param_groups[0]["lr"] = scale * rate
            optimiser.step()
            optimiser.zero_grad()
        return loss.detach()

    def _rates(self) -> list[float]:
        rates = {"muon": self.recipe.matrix_rate, "adam": self.recipe.rate}
        return [rates[label] for label in self.optimisers]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 itself; emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cpu = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else ""
    return cpu.startswith("AVX512") and torch.cpu._is_avx512_bf16_supported()

"""A recipe: everything that decides what a dictionary's training makes, as one frozen value."""

from dataclasses import asdict, dataclass

from workbench.errors import InputError

SPARSE = ("topk", "batchtopk", "matryoshka")
KINDS = (*SPARSE, "standard", "jumprelu", "gated")
PREFIXES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of a Matryoshka dictionary, of its width


@dataclass(frozen=True)
class Recipe:
    """How one dictionary is trained, on activations scaled to a mean square of 1 a dimension.

    `k` latents a row are active (topk), or on average (batchtopk, matryoshka); the other kinds are
    kept sparse by `penalty` times the L1 norm (standard, gated) or the L0 (jumprelu). Latents that
    were silent for `dead_after` rows learn what the others leave, at `aux` times that loss (topk
    and its kin), and are begun anew each `resample` steps, from rows that are made badly; 0 never
    does. With `bfloat16` latents are chosen in bfloat16, their values are float32. With `free`
    decoder rows may have any length (standard, jumprelu, gated). A transcoder has a linear `skip`
    from what it reads to what it writes.

    Raises `InputError` that lists every number that cannot be.
    """

    kind: str = "topk"
    width: int = 4608
    k: int = 32
    penalty: float = 1.0
    steps: int = 3000
    batch: int = 2048
    rate: float = 2e-3
    warmup: int = 100
    decay: float = 0.3
    aux: float = 1 / 32
    dead_after: int = 500_000
    resample: int = 0
    bfloat16: bool = False
    free: bool = False
    skip: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = [
            f"{name} {value}"
            for name in ("width", "k", "steps", "batch", "rate", "dead_after")
            if not (value := getattr(self, name)) > 0
        ]
        wrong += [
            f"{name} {value}"
            for name in ("penalty", "warmup", "aux", "resample", "seed")
            if not (value := getattr(self, name)) >= 0
        ]
        if not 0 <= self.decay <= 1:
            wrong.append(f"decay {self.decay}")
        if self.kind not in KINDS:
            wrong.append(f"kind {self.kind!r}")
        if self.kind in SPARSE and self.free:
            wrong.append(f"free decoder rows of kind {self.kind}")
        if self.kind in SPARSE and self.k > self.width:
            wrong.append(f"k {self.k} of {self.width} latents")
        if wrong:
            raise InputError(
                f"a dictionary cannot be trained with {', '.join(wrong)}; kinds are "
                f"{', '.join(KINDS)}, widths, steps and rates are above 0, k is no more than the "
                "width, decay a share from 0 to 1, decoder rows free in standard, jumprelu, gated"
            )

    @property
    def edges(self) -> tuple[int, ...]:
        """Where each nested dictionary ends, in latents; one for all kinds but matryoshka."""
        shares = PREFIXES if self.kind == "matryoshka" else PREFIXES[-1:]
        return tuple(dict.fromkeys(max(1, round(share * self.width)) for share in shares))

    def numbers(self) -> dict[str, object]:
        """For a card, and to tell whether a checkpoint continues it."""
        return asdict(self)

    def scale(self, step: int) -> float:
        """The share of the learning rate at a step, counted from 0."""
        rising = (step + 1) / self.warmup if self.warmup else 1.0
        falling = (self.steps - step) / max(1.0, self.decay * self.steps)
        return min(1.0, rising, falling)

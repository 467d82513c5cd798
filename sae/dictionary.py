"""A sparse dictionary as a frozen value, in the model's own units."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sae import kernels
from sae.kernels import Codes
from workbench.directions import Direction, check_made_for, from_tensor
from workbench.errors import InputError
from workbench.models import Model
from workbench.sites import Site


@dataclass(frozen=True, eq=False)
class SAE:
    """Latents that are read at `site` and write there again; decoder rows are unit vectors.

    A transcoder writes at another place, `out`, to which a linear `skip` may lead as well. A
    crosscoder has `others`: the sites whose activations follow in the one vector that it reads and
    writes; its decoder rows are unit vectors before each site's scale is folded in. With `k`, the
    k largest of a row are active, where above 0; with `threshold`, each that is above its own.
    `kind` says how it was trained, `card` all else; `model` is the name and identity of the model
    that it was trained on, None where nobody knows.
    """

    site: Site
    kind: str
    W_enc: Float[Tensor, "latent d_in"]
    b_enc: Float[Tensor, " latent"]
    W_dec: Float[Tensor, "latent d"]
    b_dec: Float[Tensor, " d"]
    b_in: Float[Tensor, " d_in"]
    k: int | None
    threshold: Float[Tensor, " latent"] | None
    model: Mapping[str, str] | None = field(default=None, repr=False)
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)
    others: tuple[Site, ...] = ()
    out: Site | None = None
    skip: Float[Tensor, "d d_in"] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.k is None) == (self.threshold is None):
            raise InputError("a dictionary has either k or a threshold for each latent; give one")
        if self.k is not None and (type(self.k) is not int or not 0 < self.k <= self.n_latents):
            raise InputError(
                f"k is {self.k!r} of {self.n_latents} latents; it is a whole number from 1 to that"
            )
        for name in ("W_enc", "b_enc", "W_dec", "b_dec", "b_in"):
            if not bool(getattr(self, name).isfinite().all()):
                raise InputError(f"{name} of a dictionary holds what is no finite number")

    @property
    def n_latents(self) -> int:
        return len(self.W_enc)

    @property
    def reads(self) -> tuple[Site, ...]:
        return (self.site, *self.others)

    @property
    def writes(self) -> tuple[Site, ...]:
        return self.reads if self.out is None else (self.out,)

    @property
    def name(self) -> str:
        """What it is, in a sentence."""
        if self.out is not None:
            return f"the transcoder from {self.site} to {self.out}"
        sites = ", ".join(map(str, self.reads))
        return f"the {'crosscoder' if self.others else 'SAE'} of {sites}"

    def codes(self, x: Float[Tensor, "row d_in"]) -> Codes:
        """The active latents of each row."""
        pre = torch.addmm(self.b_enc, x.float() - self.b_in, self.W_enc.T)
        if self.k is not None:
            found = kernels.top_k(pre, self.k)
            return found.where(found.values > 0)
        assert self.threshold is not None
        return kernels.above(pre, self.threshold)

    def encode(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch latent"]:
        """What every latent says, mostly 0."""
        return self.codes(x.flatten(0, -2)).dense().unflatten(0, x.shape[:-1])

    def decode(self, acts: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch d"]:
        """The activations that `acts` stand for."""
        return acts @ self.W_dec + self.b_dec

    def decoded(self, codes: Codes) -> Float[Tensor, "row d"]:
        """As `decode`, from the active latents only."""
        return kernels.decode(codes, self.W_dec) + self.b_dec

    def __call__(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d"]:
        """What is left of `x`, or made of it, in its own dtype."""
        rows = x.flatten(0, -2)
        found = self.decoded(self.codes(rows))
        if self.skip is not None:
            found = found + rows.float() @ self.skip.T
        return found.unflatten(0, x.shape[:-1]).to(x.dtype)

    def direction(self, latent: int, model: Model | None = None) -> Direction:
        """What a latent writes, to steer by or to compare. Raises `InputError` for none such."""
        if not 0 <= latent < self.n_latents:
            raise InputError(
                f"there is no latent {latent}; this dictionary has 0 to {self.n_latents - 1}"
            )
        if self.others:
            raise InputError(
                f"latent {latent} of {self.name} writes at {len(self.writes)} sites; take its part "
                "of W_dec at one"
            )
        made = f"decoder row of latent {latent} of a {self.kind} SAE"
        name = f"latent {latent}"
        return from_tensor(self.W_dec[latent], self.writes[0], name=name, made=made, model=model)


def made_in(model: Model) -> dict[str, str]:
    """Who a dictionary is of: the model's name, its identity, and its weights in 16 bits."""
    return {"name": model.name, **asdict(model.identity), "rounded": model.rounded}


def check_sae(sae: SAE, model: Model) -> None:
    """Raise `InputError` unless the dictionary is of this model and fits its sites.

    The model may be loaded in float32 or bfloat16, whichever it was trained on.
    """
    whose = sae.model
    if whose is not None and whose.get("rounded") == model.rounded:
        here = asdict(model.identity)
        whose = {**whose, **{name: here[name] for name in ("weights", "compute_dtype")}}
    for site in sae.writes:
        check_made_for(model, sae.name, site, len(sae.b_dec) // len(sae.writes), whose)

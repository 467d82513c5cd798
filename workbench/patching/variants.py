"""Which activations can be swept, what they are made of, and how one run's is put into another."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.errors import InputError
from workbench.hooks import sites
from workbench.models import Model
from workbench.patching.rows import Rows
from workbench.sites import Site, expand

SWEPT = {
    "resid_pre": "residual stream into a block",
    "resid_mid": "residual stream between attention and MLP",
    "resid_post": "residual stream out of a block",
    "attn_out": "output of attention",
    "mlp_out": "output of the MLP",
    "z": "output of each head",
    "q": "queries of each head",
    "k": "keys of each head, where heads share them of each group",
    "v": "values of each head, where heads share them of each group",
    "pattern": "attention pattern of each head",
    "mlp_post": "each neuron of a layer",
}
"""What can be swept, by the site's name."""


@dataclass(frozen=True)
class Variant:
    """One sort of site at some layers; `components` are heads or neurons, one unnamed otherwise."""

    name: str
    layers: tuple[int, ...]
    components: tuple[int, ...]
    labels: tuple[str, ...]
    n_layers: int

    def site(self, layer: int) -> Site:
        return Site(self.name, layer)

    def enters(self, layer: int) -> Site:
        """Where the patched value goes in: what leaves a block is what the next one gets."""
        if self.name == "resid_post" and layer + 1 < self.n_layers:
            return Site("resid_pre", layer + 1)
        return self.site(layer)

    def put(
        self,
        tensor: Float[Tensor, "row ..."],
        source: Float[Tensor, "pair ..."],
        rows: Rows,
        begin: int,
    ) -> Float[Tensor, "row ..."]:
        """Write each row's patch into a tensor that begins at position `begin`; returns it."""
        into, taken = self._by_position(tensor), self._by_position(source)
        every = torch.arange(len(rows))
        component = torch.tensor(self.components)[rows.component]
        whole = bool(rows.position[0] < 0)  # a sweep patches all positions in every row, or one
        match whole, self.labels != ("",):
            case True, False:
                into[:] = taken[rows.pair, begin:]
            case True, True:
                into[every, :, component] = taken[rows.pair, :, component][:, begin:]
            case False, False:
                into[every, rows.position - begin] = taken[rows.pair, rows.position]
            case _:
                into[every, rows.position - begin, component] = taken[
                    rows.pair, rows.position, component
                ]
        return tensor

    def _by_position(self, tensor: Tensor) -> Tensor:
        """A view with position, then component, behind the rows."""
        return tensor.transpose(1, 2) if self.name == "pattern" else tensor


def variant_of(
    model: Model, site: str, layers: Sequence[int] | None, components: Sequence[int] | None
) -> Variant:
    """The sites asked for, at all layers and components by default.

    Raises `InputError` for what cannot be swept and for layers, heads and neurons that the model
    lacks.
    """
    if site not in SWEPT:
        raise InputError(f"site {site!r} cannot be swept; give one of {', '.join(SWEPT)}")
    n_layers = model.architecture.n_layers
    chosen = range(n_layers) if layers is None else layers
    if not chosen:
        raise InputError("no layer is named; give at least one, or leave layers out")
    places = [Site(site, layer) for layer in chosen]
    expand(places, sites(model))
    count = _components(model, site)
    if count is None:
        if components is not None:
            raise InputError(f"site {site!r} has neither heads nor neurons; leave components out")
        return Variant(site, tuple(chosen), (0,), ("",), n_layers)
    if site == "mlp_post" and components is None and len(places) > 1:
        raise InputError(
            f"all neurons of {len(places)} layers are {len(places) * count:,}; name the layer, or "
            "the neurons"
        )
    numbers = range(count) if components is None else components
    if outside := [number for number in numbers if not 0 <= number < count]:
        what = "neurons" if site == "mlp_post" else "heads"
        raise InputError(f"{site} has no component {outside[0]}; {what} run from 0 to {count - 1}")
    if not numbers:
        raise InputError("no component is named; give at least one, or leave components out")
    letter = "N" if site == "mlp_post" else "H"
    labels = tuple(f"{letter}{number}" for number in numbers)
    return Variant(site, tuple(chosen), tuple(numbers), labels, n_layers)


def _components(model: Model, site: str) -> int | None:
    """Heads or neurons of a site; grouped keys and values have fewer heads."""
    if site == "mlp_post":
        return model.architecture.d_mlp
    return sites(model)[Site(site, 0)] or None

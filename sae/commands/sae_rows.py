"""The activations that `workbench sae` works on."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from workbench.commands import options
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load for --help
    from sae.samples import Samples
    from workbench.corpus import Corpus
    from workbench.models import Model


def width_of(model: Model, name: str) -> int:
    """The width of the site. Raises `InputError` where it is not one vector for each token."""
    from sae.samples import check_site
    from workbench.hooks import sites
    from workbench.sites import named

    place, *more = named(name, sites(model))
    if more:
        raise InputError(f"--site {name} names {1 + len(more)} places; give one")
    check_site(place)
    sizes = model.architecture
    return {"d_model": sizes.d_model, "d_mlp": sizes.d_mlp}[place.kind.axes.split()[-1]]


def rows_of(arguments: Namespace, model: Model, corpus: Corpus) -> Samples:
    """The activations, harvested where they are not in the store yet."""
    from sae.samples import samples
    from workbench.cache import carried_out, planned, predict
    from workbench.sites import Site

    store = options.open_store(arguments)
    plan = planned(model, corpus, [arguments.site], store)
    with options.bar("harvesting") as progress:
        harvested = carried_out(plan, predict(plan), progress)
    with options.stages() as say:
        say("reading the activations once, for their mean and their sinks")
        return samples(harvested[Site.parse(arguments.site)])

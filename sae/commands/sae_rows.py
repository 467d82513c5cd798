"""The activations that `workbench sae` works on."""

from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.commands import options
from workbench.commands.corpus import open_corpus
from workbench.errors import InputError
from workbench.registry import listed

if TYPE_CHECKING:  # torch must not load for --help
    from sae.samples import Samples
    from workbench.corpus import Corpus
    from workbench.models import Model
    from workbench.sites import Site

HELD_OUT = 0.05  # of the documents that a dictionary trains on
_TOKENS = 1_000_000  # drawn, where --max-tokens does not say


@dataclass(frozen=True)
class Ends:
    """Where a dictionary reads, where a transcoder writes, and how wide both are."""

    reads: tuple[Site, ...]
    out: Site | None
    d_in: int
    d_out: int


def ends_of(arguments: Namespace, model: Model) -> Ends:
    """--site and --to. Raises `InputError` where one is not one vector for each token."""
    from sae.joined import check_site
    from workbench.hooks import sites
    from workbench.sites import named

    asked = [one.strip() for one in arguments.site.split(",")]
    if len(set(asked)) < len(asked):
        raise InputError(f"--site {arguments.site} names a site twice; give each once")
    reads = named(asked, sites(model))
    writes = reads if arguments.to is None else named(arguments.to, sites(model))
    for place in {*reads, *writes}:
        check_site(place)
    if arguments.to is not None and (len(writes) > 1 or len(reads) > 1 or reads == writes):
        raise InputError(
            f"a transcoder reads at one place and writes at another; --site {arguments.site} --to "
            f"{arguments.to} are {len(reads)} and {len(writes)}"
        )
    sizes = vars(model.architecture)
    d_in, d_out = (
        sum(sizes[place.kind.axes.split()[-1]] for place in some) for some in (reads, writes)
    )
    out = None if arguments.to is None else next(iter(writes))
    return Ends(tuple(reads), out, d_in, d_out)


def corpus_of(arguments: Namespace, model: Model) -> Corpus:
    """--corpus: text, or what the labels of that name draw themselves (games, of Othello)."""
    if arguments.corpus not in listed("labels"):
        return open_corpus(arguments, arguments.corpus, model)
    from workbench.labels import label_source

    draw = label_source(arguments.corpus).corpus
    if draw is None:
        raise InputError(f"labels {arguments.corpus} draw no corpus of their own; give another")
    contexts = (arguments.max_tokens or _TOKENS) // model.architecture.n_ctx
    if contexts < 2:
        raise InputError(f"--max-tokens {arguments.max_tokens} is less than two contexts")
    return draw(model.vocabulary, contexts, 0)


def rows_of(
    arguments: Namespace, model: Model, corpus: Corpus, held_out: float = HELD_OUT
) -> Samples:
    """The activations: harvested where they are not in the store yet, or with --stream not kept."""
    from sae.samples import samples
    from workbench.cache import carried_out, live, planned, predict

    ends = ends_of(arguments, model)
    places = [*ends.reads, *([] if ends.out is None else [ends.out])]
    if arguments.stream:
        found = live(model, corpus, places)
    else:
        plan = planned(model, corpus, places, options.open_store(arguments))
        with options.bar("harvesting") as progress:
            found = carried_out(plan, predict(plan), progress).harvests
    with options.stages() as say:
        say("reading activations for their mean and their sinks")
        wanted = None if ends.out is None else found[ends.out]
        return samples([found[site] for site in ends.reads], wanted, held_out=held_out)


def forward_seconds(arguments: Namespace, model: Model, corpus: Corpus) -> float:
    """What --stream takes for a token: measured on a few contexts."""
    from workbench.cache import live

    some = live(model, corpus, ends_of(arguments, model).reads[:1])
    (source,) = some.values()
    n = min(8, len(corpus))
    since = time.perf_counter()
    source.contexts(0, n)
    return (time.perf_counter() - since) / (n * corpus.n_ctx)

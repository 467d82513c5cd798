"""Runs in which a subspace of one activation is taken from the other run of the pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.cache import Store
from workbench.hooks import Edit, Start, run
from workbench.models import Model
from workbench.patching.metric import Metric, Wanted, top_1
from workbench.patching.runs import Direction, Runs, runs_of
from workbench.patching.variants import Variant
from workbench.sites import Site
from workbench.tasks import Pair

Basis = Float[Tensor, "d_site k"]


def interchanged(
    base: Float[Tensor, "row ..."], source: Float[Tensor, "row ..."], basis: Basis | None
) -> Float[Tensor, "row ..."]:
    """`base + (source - base) R R^T` for orthonormal columns R; without a basis, the source.

    The heads of a site are one vector, one behind the other.
    """
    if basis is None:
        return source
    apart = (source.float() - base.float()).flatten(1)
    return (base.float() + (apart @ basis @ basis.T).view(base.shape)).to(base.dtype)


def prefers_answer(logits: Float[Tensor, "row 1 d_vocab"], wanted: Wanted) -> Bool[Tensor, " row"]:
    """Whether the likeliest of a row's answers and wrong tokens is an answer; a tie is not.

    Where no wrong token is named: whether the likeliest of all tokens is one.
    """
    likeliest = top_1(logits, wanted)[:, 0].bool()
    if not wanted.wrongs.shape[1]:
        return likeliest
    answer, wrong = (
        logits[:, 0].gather(-1, ids.clamp_min(0)).masked_fill(ids < 0, -torch.inf).amax(-1)
        for ids in (wanted.answers, wanted.wrongs)
    )
    return torch.where((wanted.wrongs >= 0).any(-1), answer > wrong, likeliest)


@dataclass(frozen=True)
class Cases:
    """Pairs of one length at one site of one layer, with the `position` patched in each.

    In `towards` the answers are the source run's, in either direction.
    """

    both: Runs
    position: Int[Tensor, " pair"]
    towards: Wanted

    def __len__(self) -> int:
        return len(self.position)

    @property
    def source(self) -> Float[Tensor, "pair pos ..."]:
        """What the other run holds at the site."""
        (found,) = self.both.source.values()
        return found

    def logits(
        self, basis: Basis | None, rows: Int[Tensor, " row"], *, grad: bool = False
    ) -> Float[Tensor, "row 1 d_vocab"]:
        """Where the metric is taken, of runs with a subspace (all of it without a basis) patched.

        Only blocks above the site are run, from the first position that matters on.
        """
        both, at = self.both, self.position[rows]
        (layer,) = both.variant.layers
        enters = both.variant.enters(layer)
        assert both.columns is not None and enters.layer is not None
        columns = both.columns[rows]
        begin = 0 if both.past is None else int(torch.minimum(at, columns[:, 0]).min())
        ran = run(
            both.model,
            both.ids[rows, begin:],
            edit=Edit(enters, partial(_put, at - begin, self.source[rows, at], basis)),
            start=Start(enters.layer, both.resid[Site("resid_pre", enters.layer)][rows, begin:]),
            past=both.past.upto(begin).of(rows) if both.past and begin else None,
            logits_at=columns - begin,
            grad=grad,
        )
        assert ran.logits is not None, "a run without reads goes on to the logits"
        return ran.logits


def cases_of(
    model: Model,
    pairs: Sequence[Pair],
    variant: Variant,
    place: str | int,
    metric: Metric,
    *,
    direction: Direction,
    store: Store | None,
) -> Cases:
    """Run both prompts of each pair; all pairs must have as many tokens."""
    both = runs_of(model, pairs, variant, metric, direction=direction, store=store)
    wanted = both.wanted
    if direction == "noising":
        wanted = Wanted(wanted.wrongs, wanted.answers, wanted.clean)
    return Cases(both, torch.tensor([pair.at(place) for pair in pairs]), wanted)


def _put(at: Int[Tensor, " row"], source: Tensor, basis: Basis | None, tensor: Tensor) -> Tensor:
    every = torch.arange(len(at))
    tensor[every, at] = interchanged(tensor[every, at], source, basis)
    return tensor

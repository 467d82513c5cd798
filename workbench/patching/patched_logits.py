"""What the model would say next: in a run, in that run with one patch, in the run patched from."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from workbench.cache import Store, capture
from workbench.errors import InputError
from workbench.hooks import Edit, run
from workbench.models import Model
from workbench.patching.places import positions_of
from workbench.patching.rows import Rows
from workbench.patching.runs import Direction
from workbench.patching.variants import variant_of
from workbench.tasks import Pair, Pairs

Logits = Float[Tensor, " d_vocab"]


@dataclass(frozen=True)
class PatchedLogits:
    """Logits at a pair's end: of the run that is patched, with the patch, of the other run."""

    base: Logits
    patched: Logits
    source: Logits


def patched_logits(
    model: Model,
    pair: Pair,
    site: str,
    layer: int,
    place: str | int,
    *,
    component: int | None = None,
    direction: Direction = "denoising",
    store: Store | None = None,
) -> PatchedLogits:
    """One cell of `sweep` with its logits; `place` "all" is every position.

    Raises `InputError` as `sweep` does, and where a site has heads or neurons and none is named.
    """
    chosen = None if component is None else [component]
    variant = variant_of(model, site, [layer], chosen)
    if len(variant.labels) > 1:
        raise InputError(
            f"site {site!r} has {len(variant.labels)} components; name one to patch, from 0"
        )
    _, positions = positions_of(Pairs("one", (pair,)), "all" if place == "all" else [place])
    first = torch.zeros(1, dtype=torch.long)
    rows = Rows(first, first, first, first, positions[0], first)
    sides = [pair.corrupted, pair.clean]
    base, other = sides if direction == "denoising" else reversed(sides)
    ids, there = (tokens.tensor(model.device) for tokens in (base, other))
    source = capture(model, there, [variant.site(layer)], store)[variant.site(layer)]
    edit = Edit(variant.enters(layer), lambda tensor: variant.put(tensor, source, rows, 0))
    found = [
        run(model, tokens, edit=edits, logits_at=len(pair) - 1).logits
        for tokens, edits in ((ids, ()), (ids, edit), (there, ()))
    ]
    plain, patched, source_logits = (logits[0, 0] for logits in found if logits is not None)
    return PatchedLogits(plain, patched, source_logits)

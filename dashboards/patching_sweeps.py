"""Sweeps and estimates of the Patching page: asked for, priced, computed once, held."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboards.progress import Progress

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.cache import Store
    from workbench.models import Model
    from workbench.patching import Cost, Sweep
    from workbench.tasks import Pairs

STREAM = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
HEADS = ("z", "q", "k", "v")
DIRECTIONS = ("denoising", "noising")
METRICS = (
    "logit difference",
    "probability",
    "probability difference",
    "log-prob",
    "KL",
    "top-1 accuracy",
)
EXACT = "exact"
METHODS = (EXACT, "AtP", "AtP*", "IG")
MOST = 16  # sweeps held for all sessions; one is some kilobytes
LARGE = 20_000  # tokens of patched runs: a minute or more of a processor's


@dataclass(frozen=True)
class Asked:
    """What is patched, where (as `sweep` takes it), and what it is judged by."""

    site: str
    places: str | tuple[str | int, ...]
    direction: str
    metric: str

    @property
    def how(self) -> dict[str, Any]:
        """Arguments that `sweep` and `attribute_patches` have in common."""
        places = self.places if isinstance(self.places, str) else list(self.places)
        return {"metric": self.metric, "direction": self.direction, "places": places}


@dataclass(frozen=True)
class Source:
    """A model and the pairs that are run on it."""

    model: Model
    store: Store
    pairs: Pairs

    @property
    def key(self) -> Hashable:
        """Everything about them that can change a number."""
        rows = (
            (row.clean.ids, row.corrupted.ids, row.answers, row.wrongs, tuple(row.places.items()))
            for row in self.pairs
        )
        return (self.model.identity.fingerprint, *rows)

    def cost(self, asked: Asked) -> Cost:
        """What the exact sweep runs."""
        from workbench.patching import cost

        return cost(self.model, self.pairs, asked.site, places=asked.how["places"])


def place_of(text: str) -> str | int:
    """A place by the name that sweeps give it."""
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def places_of(pairs: Pairs) -> str | tuple[str, ...]:
    """Every position, or the places that prompts of several lengths have in common."""
    return "each" if len(pairs.by_length) == 1 else pairs.places


def is_large(source: Source, asked: Asked) -> bool:
    """Whether the exact sweep takes long and is not held yet."""
    return not is_held(source, asked, EXACT) and source.cost(asked).tokens > LARGE


@st.cache_resource(show_spinner=False)
def _held() -> dict[Hashable, Sweep]:
    """A cached function could show no progress: its elements would be shown again each time."""
    return {}


def is_held(source: Source, asked: Asked, method: str) -> bool:
    """Whether `swept` has it at hand."""
    return (source.key, asked, method) in _held()


def swept(source: Source, asked: Asked, method: str, progress: Callable[[str], Progress]) -> Sweep:
    """The exact sweep, or what a method makes of it; `progress` is told the stage first."""
    held, key = _held(), (source.key, asked, method)
    found = held.get(key)
    if found is None:
        found = held[key] = _computed(source, asked, method, progress)
        while len(held) > MOST:
            held.pop(next(iter(held)), None)
    return found


def _computed(
    source: Source, asked: Asked, method: str, progress: Callable[[str], Progress]
) -> Sweep:
    from workbench import runs
    from workbench.patching import attribute_patches, sweep

    model, pairs = source.model, source.pairs
    if method == EXACT:
        how = {**asked.how, "store": source.store, "progress": progress("patched runs")}
        found = sweep(model, pairs, asked.site, **how)
    else:
        how = {**asked.how, "store": source.store, "progress": progress(f"{method}, layers")}
        found = attribute_patches(model, pairs, asked.site, method=method, **how)
    runs.keep(
        runs.Record(
            kind="patching",
            model={"name": model.name, **asdict(model.identity)},
            tokens=[list(side.ids) for row in pairs for side in (row.clean, row.corrupted)],
            arguments={**asdict(asked), "method": method, "task": pairs.name},
            device=str(model.device),
            seconds=round(found.spent.seconds, 4),
        )
    )
    return found

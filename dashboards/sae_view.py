"""The numbers behind the SAE page: a dictionary and its atlas, latents found, a prompt read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from workbench.errors import InputError
from workbench.home import typed

if TYPE_CHECKING:  # torch must not load before it is needed
    from sae.atlas import Atlas
    from sae.dictionary import SAE
    from workbench.models import Model, Tokens

CAP = 500  # rows of the table
TOP = 12  # latents of a token
DENSITIES = {
    "any": (-1.0, 1.0),
    "alive": (0.0, 1.0),
    "dead": (-1.0, 0.0),
    "up to 0.01 %": (0.0, 1e-4),
    "0.01 to 0.1 %": (1e-4, 1e-3),
    "0.1 to 1 %": (1e-3, 1e-2),
    "1 to 10 %": (1e-2, 0.1),
    "dense, over 10 %": (0.1, 1.0),
}
F1S = {"any": -1.0, "0.2 or more": 0.2, "0.4 or more": 0.4, "0.6 or more": 0.6, "0.8 or more": 0.8}
ORDERS: Mapping[str, Callable[[Atlas], np.ndarray]] = {
    "F1": lambda atlas: -np.nan_to_num(atlas.f1.numpy(), nan=-1.0),
    "latent": lambda atlas: np.arange(atlas.n_latents),
    "density": lambda atlas: -atlas.density.numpy(),
    "rarest": lambda atlas: atlas.density.numpy(),
    "largest activation": lambda atlas: -atlas.largest.numpy(),
}


@dataclass(frozen=True)
class Opened:
    """A dictionary of a model, by its name in the list or its folder; its atlas, if there is one.

    `key` is all that can change what it says.
    """

    name: str
    sae: SAE
    atlas: Atlas | None
    model: Model
    key: tuple[object, ...]

    @property
    def command(self) -> str:
        """What makes the atlas."""
        return f"workbench sae features {self.name} --model {self.model.name}"

    @property
    def about(self) -> str:
        """What dictionary this is, in words."""
        active = f"{self.sae.k} active" if self.sae.k is not None else "active above a threshold"
        text = (self.sae.card.get("corpus") or {}).get("name")
        trained = f", trained on {text}" if text else ""
        return (
            f"{self.name}: {self.sae.name}, {self.sae.kind}, {self.sae.n_latents:,} latents, "
            f"{active}{trained}"
        )

    @property
    def counted(self) -> str:
        """How many latents are dead and dense, and on how many rows."""
        if self.atlas is None:
            return ""
        density = self.atlas.density.numpy()
        f1 = self.atlas.f1.numpy()
        scored = f1[~np.isnan(f1)]
        median = f"; median F1 of the rules {np.median(scored):.2f}" if len(scored) else ""
        return (
            f"{int((density == 0).sum()):,} of {len(density):,} latents dead, "
            f"{int((density > 0.1).sum()):,} dense, on {self.atlas.n_rows:,} rows{median}"
        )

    def unit(self, latent: int) -> float:
        """The latent's largest activation, 1 where nobody knows it."""
        largest = 0.0 if self.atlas is None else float(self.atlas.largest[latent])
        return largest or 1.0

    def rule(self, latent: int, n: int = 6) -> str:
        """When a latent is active, in words."""
        return "" if self.atlas is None else self.atlas.rule(latent, n)


@dataclass(frozen=True)
class Find:
    """Which latents are looked for."""

    words: str
    density: str
    f1: str
    order: str


@dataclass(frozen=True)
class Reading:
    """What the latents say at each token of a prompt, `[pos, latent]`; NaN where none is asked.

    That is at BOS and at attention sinks, on which no dictionary is trained.
    """

    tokens: Tokens
    acts: np.ndarray
    made: float

    @property
    def readable(self) -> np.ndarray:
        """The positions at which latents are asked."""
        return ~np.isnan(self.acts[:, 0])

    def why(self, pos: int) -> str:
        """Why there is nothing to read at a position."""
        if self.readable[pos]:
            return ""
        return "BOS" if pos == 0 and self.tokens.bos else "an attention sink"

    def loudest(self, pos: int | None, n: int = TOP) -> list[int]:
        """The most active latents at a position, or anywhere, the loudest first."""
        said = self.largest if pos is None else np.nan_to_num(self.acts[pos])
        order = np.argsort(-said, kind="stable")[:n]
        return [int(latent) for latent in order if said[latent] > 0]

    @property
    def largest(self) -> np.ndarray:
        """The most that each latent says anywhere."""
        return np.nan_to_num(self.acts).max(0)


def fitting(model: Model) -> dict[str, Path]:
    """The dictionaries in the list that are of this model, or of nobody knows which."""
    from sae.folders import read_json
    from sae.saved import CARD, listed_saes

    def fits(folder: Path) -> bool:
        card = read_json(folder / CARD) if (folder / CARD).is_file() else {}
        whose = card.get("model")
        here = asdict(model.identity)
        same = ("config", "processing")
        return whose is None or all(whose.get(name) == here[name] for name in same)

    return {name: folder for name, folder in listed_saes().items() if fits(folder)}


def opened(name: str, known: Mapping[str, Path], model: Model) -> Opened:
    """A dictionary in the list or in a folder. Raises `InputError` for none, and another model's.

    Nothing is fetched: an address alone must not.
    """
    from sae.atlas import ATLAS, place_of

    folder = known.get(name) or typed(name)
    if not folder.is_dir():
        raise InputError(
            f"there is no SAE {name!r}; give one in the list or a folder that is on this machine"
        )
    own = name if name in known else str(folder)
    files = [*sorted(folder.glob("*.safetensors")), place_of(own) / ATLAS]
    times = tuple((str(file), file.stat().st_mtime_ns) for file in files if file.is_file())
    key = (own, times, model.identity.fingerprint)
    sae, atlas = _opened(key, own, model)
    return Opened(name, sae, atlas, model, key)


@st.cache_resource(max_entries=4, show_spinner="Opening the dictionary …")
def _opened(key: tuple[object, ...], name: str, _model: Model) -> tuple[SAE, Atlas | None]:
    from sae.atlas import atlas_of
    from sae.saved import load_sae

    sae, atlas = load_sae(name, _model), atlas_of(name)
    if atlas is not None and atlas.n_latents != sae.n_latents:
        raise InputError(f"the atlas of {name} has {atlas.n_latents:,} latents; make it again")
    return sae, atlas


def found(atlas: Atlas, find: Find) -> list[int]:
    """The latents that are looked for, in their order."""
    density, f1 = atlas.density.numpy(), np.nan_to_num(atlas.f1.numpy(), nan=-1.0)
    low, high = DENSITIES[find.density]
    kept = (density > low) & (density <= high) & (f1 >= F1S[find.f1])
    if find.words.strip():
        named = np.zeros_like(kept)
        named[atlas.search(find.words)] = True
        kept &= named
    order = np.argsort(ORDERS[find.order](atlas), kind="stable")
    return [int(latent) for latent in order if kept[latent]]


def columns(atlas: Atlas, latents: Sequence[int]) -> dict[str, list[Any]]:
    """The table of some latents."""
    density, largest, f1 = (x.numpy() for x in (atlas.density, atlas.largest, atlas.f1))
    return {
        "latent": list(latents),
        "rule": [atlas.rule(i, 4) for i in latents],
        "F1": [float(f1[i]) for i in latents],
        "density": [100 * float(density[i]) for i in latents],
        "largest": [float(largest[i]) for i in latents],
        "activations": [atlas.histogram[i].tolist() for i in latents],
        "promotes": [promoted(atlas, i) for i in latents],
        "strongest example": [around(atlas.strongest[i]) for i in latents],
    }


def around(text: str, before: int = 30) -> str:
    """An example from shortly before its token on, which a narrow column shows."""
    at = max(0, text.find("»") - before)
    return f"…{text[at:]}" if at else text


def promoted(atlas: Atlas, latent: int, n: int = 3) -> str:
    """The tokens that a latent makes likelier."""
    from workbench.models import visible

    tokens = [int(token) for token in atlas.promoted[latent, :n] if token >= 0]
    return "  ".join(visible(atlas.strings[token]) for token in tokens)


def reading(view: Opened, tokens: Tokens) -> Reading:
    """What the latents say of a prompt, computed or taken from this process' last ones."""
    return _reading(view.key, tokens.ids, tokens.bos, view, tokens)


@st.cache_resource(max_entries=16, show_spinner="Reading the prompt …")
def _reading(
    key: tuple[object, ...], ids: tuple[int, ...], bos: bool, _view: Opened, _tokens: Tokens
) -> Reading:
    import torch

    from sae.editing import readable
    from workbench import runs
    from workbench.hooks import run

    started, sae, model = time.perf_counter(), _view.sae, _view.model
    read = run(model, _tokens.tensor(model.device), read=list(sae.reads)).activations
    rows = torch.cat([read[site] for site in sae.reads], -1)
    here = readable(rows, bos=bos)[0]
    acts = torch.full((len(ids), sae.n_latents), torch.nan)
    if bool(here.any()):
        acts[here.cpu()] = sae.encode(rows[0, here].to(sae.W_enc)).cpu()
    runs.keep(
        runs.Record(
            kind="sae features",
            model={"name": model.name, **asdict(model.identity)},
            tokens=[list(ids)],
            arguments={"sae": _view.name},
            device=str(model.device),
            seconds=round(time.perf_counter() - started, 4),
        )
    )
    return Reading(_tokens, acts.numpy(), time.time())

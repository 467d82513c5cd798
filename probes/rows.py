"""Samples for probes: activations at the labelled positions of a corpus, all sites in one pass."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import xxhash
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.cache import Progress, stream
from workbench.cache.resources import free_device, free_host
from workbench.corpus import check_fits
from workbench.errors import InputError
from workbench.hooks import run, sites
from workbench.labels import Labelled
from workbench.models import Model
from workbench.sites import Request, Site, look_up, named


@dataclass(frozen=True, eq=False)
class Rows:
    """One row per labelled position: activations by site, labels, and where each came from.

    `groups` is the document (a game, a text) of a row; `tokens` its token id, `positions` its
    place in the context.
    """

    activations: Mapping[Site, Float[Tensor, "row d"]]
    labels: Int[Tensor, "row task"]
    groups: Int[Tensor, " row"]
    tokens: Int[Tensor, " row"]
    positions: Int[Tensor, " row"]
    tasks: tuple[str, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, site: Site | str) -> Float[Tensor, "row d"]:
        return look_up(self.activations, site)

    def where(self, kept: Bool[Tensor, " row"]) -> "Rows":
        """Only these rows."""
        return replace(
            self,
            activations={site: x[kept] for site, x in self.activations.items()},
            labels=self.labels[kept],
            groups=self.groups[kept],
            tokens=self.tokens[kept],
            positions=self.positions[kept],
        )


@dataclass(frozen=True)
class Split:
    """Which rows train, choose (a strength, a layer) and test; a group is in one part only."""

    train: Bool[Tensor, " row"]
    choose: Bool[Tensor, " row"]
    test: Bool[Tensor, " row"]


def gather(
    model: Model,
    labelled: Labelled,
    wanted: Request | Iterable[Request],
    *,
    batch: int = 32,
    progress: Progress | None = None,
) -> Rows:
    """The rows of `labelled` at all sites, from one forward per batch of contexts.

    On the model's device, in float32. Raises `InputError` for sites without a vector at each
    token, for activations that are not finite, for more rows than memory holds, and as `stream`.
    """
    check_fits(labelled.corpus, model)
    places = named(wanted, sites(model))
    check_vectors(places)
    _check_memory(model, labelled, places)
    taken: dict[Site, list[Tensor]] = {}
    kept = labelled.labels[..., 0] >= 0
    mask = torch.from_numpy(kept)
    for chunk in stream(model, labelled.corpus, wanted, batch=batch, progress=progress):
        here = mask[chunk.contexts.start : chunk.contexts.stop].to(model.device)
        for site, found in chunk.activations.items():
            rows = found[here].flatten(1).float()
            if not bool(rows.isfinite().all()):
                raise InputError(
                    f"{model.name} has activations at {site} that are not finite (NaN or "
                    "infinite); load it in float32, and see that its weights are whole"
                )
            taken.setdefault(site, []).append(rows)
    return Rows(
        activations={site: torch.cat(parts) for site, parts in taken.items()},
        labels=_picked(labelled.labels, kept, model),
        groups=_picked(labelled.corpus.documents, kept, model),
        tokens=_picked(labelled.corpus.ids, kept, model),
        positions=_picked(np.broadcast_to(np.arange(kept.shape[1]), kept.shape), kept, model),
        tasks=labelled.tasks,
        classes=labelled.classes,
    )


def document_digests(labelled: Labelled) -> dict[int, str]:
    """Number -> XXH3-64 of its token ids (16 hex digits), of each document that has a sample."""
    ids, owners = labelled.corpus.ids.ravel(), labelled.corpus.documents.ravel()
    order = np.argsort(owners, kind="stable")
    known, starts = np.unique(owners[order], return_index=True)
    sampled = set(np.unique(owners[labelled.labels[..., 0].ravel() >= 0]).tolist())
    parts = zip(known.tolist(), np.split(ids[order], starts[1:]), strict=True)
    return {n: xxhash.xxh3_64_hexdigest(some.tobytes()) for n, some in parts if n in sampled}


def without(labelled: Labelled, seen: Collection[str]) -> tuple[Labelled, int, int]:
    """The labels without documents whose digest is in `seen`; how many these are, and of how many.

    Raises `InputError` where none is left.
    """
    found, known = document_digests(labelled), set(seen)
    gone = [n for n, digest in found.items() if digest in known]
    if len(gone) == len(found):
        raise InputError(
            "these are the samples that the probes were fitted on; give others: another --seed, "
            "--corpus or --labels"
        )
    out = np.isin(labelled.corpus.documents, gone)[..., None]
    labels = np.where(out, np.int8(-1), labelled.labels)  # -1: no sample
    return replace(labelled, labels=labels), len(gone), len(found)


def check_vectors(places: Iterable[Site]) -> None:
    """Raise `InputError` for sites without a vector at each token, such as attention patterns."""
    if bad := [str(site) for site in places if not site.kind.axes.startswith("batch pos")]:
        raise InputError(
            f"{', '.join(bad[:3])}{', ...' if len(bad) > 3 else ''} has no vector at each token, "
            "only a value for two of them; give sites such as 3.resid_post or 3.z"
        )


def _check_memory(model: Model, labelled: Labelled, places: Sequence[Site]) -> None:
    """Refuse what cannot be held; for a moment, one site is held three times."""
    ids = torch.from_numpy(labelled.corpus.ids[:1].astype(np.int64)).to(model.device)
    found = run(model, ids, read=places).activations
    widths = [value[0, 0].numel() for value in found.values()]
    n_bytes = 4 * labelled.n_samples * (sum(widths) + 2 * max(widths))
    free = free_host() if model.device.type == "cpu" else free_device(model.device)
    if free is not None and n_bytes > free:
        raise InputError(
            f"{labelled.n_samples:,} samples at {len(places)} sites take "
            f"{n_bytes / 2**30:,.1f} GiB, {free / 2**30:,.1f} are free; give fewer sites, or a "
            "part of the corpus"
        )


def split(
    groups: Int[Tensor, " row"], *, choose: float = 0.1, test: float = 0.2, seed: int = 0
) -> Split:
    """Parts by group, drawn by `seed`; at least one group in each.

    Raises `InputError` for fewer than three groups.
    """
    known, index = groups.unique(return_inverse=True)
    if len(known) < 3:
        raise InputError(
            f"the samples come from {len(known)} documents; give at least 3, since a document is "
            "never both trained and tested on"
        )
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))
    n_test, n_choose = (max(1, round(share * len(known))) for share in (test, choose))
    part = torch.zeros(len(known), dtype=torch.long)
    part[order[:n_test]] = 2
    part[order[n_test : n_test + n_choose]] = 1
    parts = part.to(groups.device)[index]
    return Split(parts == 0, parts == 1, parts == 2)


def _picked(values: np.ndarray, kept: np.ndarray, model: Model) -> Tensor:
    return torch.from_numpy(values[kept].astype(np.int64)).to(model.device)

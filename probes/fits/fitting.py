"""`fit`: probes of one kind at all sites of the samples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from math import isfinite

import torch
from jaxtyping import Int
from torch import Tensor

from probes.fits.linear import mean_difference_probes, ridge_probes
from probes.fits.logistic import logistic_probes
from probes.fits.mlp import mlp_probes
from probes.fits.probe import Probe
from probes.fits.samples import Samples
from probes.rows import Rows, Split
from workbench.cache import Progress
from workbench.errors import InputError
from workbench.models import Model
from workbench.sites import Site

FITS: Mapping[str, Callable[..., Sequence[Probe]]] = {
    "ridge": ridge_probes,
    "logistic": logistic_probes,
    "mean-difference": mean_difference_probes,
    "mlp": mlp_probes,
}
"""Kind -> `fit(samples, strength=, seed=)`, a probe for each set of labels."""
_LARGEST = 1e15  # a sum of squares of ten million such values is still a number
_WITH_STRENGTH = ("ridge", "logistic")


def fit(
    kind: str,
    rows: Rows,
    split: Split,
    *,
    model: Model | None = None,
    strength: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[Site, Probe]:
    """A probe at every site of `rows`, fitted on the training rows.

    `strength` is scikit-learn's alpha (ridge) or C (logistic); without it one is chosen for each
    site on the rows to choose on. With `model`, the probes are that model's and refused by
    others. Raises `InputError` for a kind there is not, a strength of a kind that has none or
    that is not positive, activations that are not finite, one class only, and a class that
    training does not have.
    """
    each = fit_sets(kind, rows, split, rows.labels[None], model=model, strength=strength, seed=seed)
    found: dict[Site, Probe] = {}
    for site, (probe,) in each:
        found[site] = probe
        if progress is not None:
            progress(len(found), len(rows.activations))
    return found


def fit_sets(
    kind: str,
    rows: Rows,
    split: Split,
    sets: Int[Tensor, "set row task"],
    *,
    model: Model | None = None,
    strength: float | None = None,
    seed: int = 0,
) -> Iterator[tuple[Site, Sequence[Probe]]]:
    """As `fit`, site by site, with a probe for each set of labels; the first chooses for all."""
    _check_kind(kind, strength)
    _check_classes(rows, split)
    whose = None if model is None else {"name": model.name, **asdict(model.identity)}
    for site in rows.activations:
        samples = samples_at(site, rows, split, sets, whose)
        yield site, FITS[kind](samples, strength=strength, seed=seed)


def samples_at(
    site: Site,
    rows: Rows,
    split: Split,
    sets: Int[Tensor, "set row task"],
    model: Mapping[str, str] | None = None,
) -> Samples:
    """One site's samples. Raises `InputError` for activations that are not finite, or too large."""
    x = rows[site]
    largest = float(torch.stack(x.aminmax()).abs().max()) if x.numel() else 0.0
    if not isfinite(largest):  # NaN and infinity stay in a least and largest, which make no mask
        raise InputError(
            f"{int((~x.isfinite()).any(1).sum()):,} of {len(x):,} samples at {site} are not "
            "finite (NaN or infinite); gather them again with the model in float32"
        )
    if largest > _LARGEST:
        raise InputError(
            f"the samples at {site} hold values as large as {largest:.1e}, whose squares leave "
            "float32; divide them by a number"
        )
    return Samples(
        site=site,
        tasks=rows.tasks,
        classes=rows.classes,
        model=model,
        x=x[split.train],
        labels=sets[:, split.train],
        choose_x=x[split.choose],
        choose_labels=sets[:, split.choose],
    )


def _check_kind(kind: str, strength: float | None) -> None:
    if kind not in FITS:
        raise InputError(f"there is no probe of kind {kind!r}; give {', '.join(FITS)}")
    if strength is None:
        return
    if kind not in _WITH_STRENGTH:
        raise InputError(
            f"a {kind} probe has no strength; leave it out, or fit {' or '.join(_WITH_STRENGTH)}"
        )
    if not 0 < strength < float("inf"):
        raise InputError(f"a strength of {strength} is none; give a number above 0")


def _check_classes(rows: Rows, split: Split) -> None:
    """Raise `InputError` unless training shows two classes of each task, and all that are met."""
    hot = torch.nn.functional.one_hot(rows.labels, len(rows.classes))
    trained = hot[split.train].sum(0) > 0
    for task, seen in zip(rows.tasks, trained, strict=True):
        if int(seen.sum()) < 2:
            only = [name for name, there in zip(rows.classes, seen, strict=True) if there]
            raise InputError(
                f"task {task!r} has one class only in training ({', '.join(only)}); a probe tells "
                "two or more apart: give more documents, or other labels"
            )
    missing = ~trained & ((hot.sum(0) > 0) | ~trained.any(0))
    if bool(missing.any()):
        told = [f"{rows.classes[c]} of {rows.tasks[t]}" for t, c in missing.nonzero().tolist()[:3]]
        raise InputError(
            f"training has no sample of {', '.join(told)}; give more documents, or leave the "
            "class out of the labels"
        )

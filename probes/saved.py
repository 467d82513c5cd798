"""Sweeps on disk: the probes' tensors in one safetensors file, all else in its card."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from probes.controls import Report
from probes.evaluation import Calibration, Evaluation
from probes.fits import LinearProbe, MLPProbe, Probe, check_probe
from probes.sweep import Sweep
from workbench.carded import damaged, expect_fields, read_carded, write_carded
from workbench.errors import misfit
from workbench.models import Model
from workbench.sites import Site

FORMAT = 2
_WHAT = "sweep of probes"
_TENSORS = {
    LinearProbe: ("weight", "bias"),
    MLPProbe: ("inner", "inner_bias", "weight", "bias"),
}
_SHARES = ("accuracy", "low", "high", "balanced_accuracy", "macro_f1", "auroc")
_PLAIN = ("labels", "corpus", "kind", "seed", "model", "random", "n_rows", "fitted")
_CARD: Mapping[str, Any] = {
    "labels": str,
    "corpus": dict,
    "kind": str,
    "seed": int,
    "model": dict,
    "random": str | None,
    "tasks": list,
    "classes": list,
    "n_rows": dict,
    "fitted": list,
    "strengths": dict,
    "reports": dict,
    "among": dict,
    "about": dict,
}


def save_sweep(sweep: Sweep, path: Path, about: Mapping[str, Any] | None = None) -> None:
    """Write probes and reports into one file, whole or not at all.

    `about` is kept in the card beside them, such as the arguments that made them. Raises
    `InputError` where the disk refuses.
    """
    tensors = {
        f"{site}/{name}": getattr(probe, name)
        for site, probe in sweep.probes.items()
        for name in _TENSORS[type(probe)]
    }
    card = {
        "format": FORMAT,
        **{name: getattr(sweep, name) for name in _PLAIN},
        "tasks": list(sweep.tasks),
        "classes": list(sweep.classes),
        "strengths": {str(site): probe.strength for site, probe in sweep.probes.items()},
        "reports": {str(site): _told(one) for site, one in sweep.reports.items()},
        "among": {str(site): _told(one) for site, one in sweep.among.items()},
        "about": dict(about or {}),
    }
    write_carded(path, tensors, card, what=_WHAT)


def load_sweep(path: Path, model: Model | None = None) -> Sweep:
    """The sweep kept in a file; with `model`, refused where it is of another one.

    Raises `InputError` where there is none and for another model (the differing fields are
    named), `DamagedError` for a file that was changed on disk.
    """
    card, tensors = read_carded(path, what=_WHAT, fmt=FORMAT)
    expect_fields(path, _WHAT, card, _CARD)
    probes = {Site.parse(name): _probe(path, card, tensors, name) for name in card["strengths"]}
    if model is not None:
        for probe in probes.values():
            check_probe(probe, model)
    with misfit(lambda fault: damaged(path, _WHAT, "reports", "those of a sweep", fault)):
        return Sweep(
            **{name: card[name] for name in _PLAIN},
            tasks=tuple(card["tasks"]),
            classes=tuple(card["classes"]),
            probes=probes,
            reports={Site.parse(name): _report(one) for name, one in card["reports"].items()},
            among={Site.parse(name): _report(one) for name, one in card["among"].items()},
        )


def about_sweep(path: Path) -> dict[str, Any]:
    """What was kept beside the probes. Raises as `load_sweep`."""
    card, _ = read_carded(path, what=_WHAT, fmt=FORMAT)
    expect_fields(path, _WHAT, card, {"about": dict})
    return dict(card["about"])


def _probe(path: Path, card: Mapping[str, Any], tensors: Mapping[str, Tensor], site: str) -> Probe:
    made = MLPProbe if card["kind"] == "mlp" else LinearProbe
    parts: dict[str, Any] = {}
    for name in _TENSORS[made]:
        if f"{site}/{name}" not in tensors:
            raise damaged(path, _WHAT, f"{site}/{name}", "a tensor", None)
        parts[name] = tensors[f"{site}/{name}"]
    _expect_shapes(path, card, site, parts)
    return made(
        site=Site.parse(site),
        kind=card["kind"],
        tasks=tuple(card["tasks"]),
        classes=tuple(card["classes"]),
        strength=card["strengths"][site],
        model=card["model"],
        **parts,
    )


def _expect_shapes(
    path: Path, card: Mapping[str, Any], site: str, parts: Mapping[str, Tensor]
) -> None:
    """Raise `DamagedError` unless a probe's tensors fit its tasks and classes, and each other."""
    answers = (len(card["tasks"]), len(card["classes"]))
    rows = tuple(parts["weight"].shape[:1])  # of the site, or an MLP's hidden ones
    expected = {"weight": (*rows, *answers), "bias": answers}
    if "inner" in parts:
        expected |= {"inner": (*parts["inner"].shape[:1], *rows), "inner_bias": rows}
    for name, wanted in expected.items():
        if tuple(parts[name].shape) != wanted or not parts[name].is_floating_point():
            raise damaged(path, _WHAT, f"{site}/{name}", wanted, tuple(parts[name].shape))


def _told(report: Report) -> dict[str, Any]:
    """A report as JSON knows it; tensors as lists."""
    return asdict(report, dict_factory=_listed)


def _listed(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: one.tolist() if isinstance(one, Tensor) else one for name, one in items}


def _report(told: Mapping[str, Any]) -> Report:
    parts = {
        name: told[name] and _evaluation(told[name])
        for name in ("evaluation", "random", "embedding")
    }
    numbers = {name: float(told[name]) for name in ("chosen", "majority", "shuffled", "control")}
    return Report(**{**told, **numbers, **parts})


def _evaluation(told: Mapping[str, Any]) -> Evaluation:
    bins = told["calibration"]
    restored = {
        **_restored(told),
        **{name: float(told[name]) for name in _SHARES},
        "classes": tuple(told["classes"]),
        "calibration": None if bins is None else Calibration(**_restored(bins)),
    }
    return Evaluation(**restored)


def _restored(told: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of numbers as the tensors they were."""
    return {
        name: torch.tensor(one) if isinstance(one, list) and name != "classes" else one
        for name, one in told.items()
    }

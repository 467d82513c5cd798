"""What a harvest was said to cost, over what it cost: `python -m benchmarks.budget CASE`.

Each harvest runs in a process of its own. Memory is the growth of resident memory over what the
process held before the budget was made, time is that of the harvest without the budget.
"""

import json
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.child import can_measure_memory, measured, tell
from benchmarks.ratios import Row, once
from workbench import hooks
from workbench.cache import Store, carried_out, planned, predict
from workbench.corpus import from_ids
from workbench.models import load

TARGETS = {"memory": ("MB", 1e6, "within 1.25"), "time": ("s", 1.0, "within 2"),
           "disk": ("MB", 1e6, "within 1.02")}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One harvest of random tokens, so many forwards of `batch` contexts."""

    folder: str
    dtype: str
    sites: str
    batch: int
    n_ctx: int
    forwards: int = 8
    stored: str = "bfloat16"


def grid(real: Path, little: Path) -> list[Case]:
    """From megabytes of working memory to nearly a gigabyte; one site and many, 16 bits and 32.

    The same folder twice leaves the sizes that show only that all runs.
    """
    one, two = str(real), str(little)
    small = [
        *(Case(two, "float32", "*.resid_post", batch, 128, 40) for batch in (4, 32, 128)),
        Case(two, "float32", "*.mlp_post", 64, 256, 20, stored="float16"),
    ]
    if real == little:
        return small[:1]
    return [
        *(Case(one, "bfloat16", "15.resid_post", batch, 128) for batch in (2, 8, 32)),
        *(Case(one, "bfloat16", "15.resid_post", batch, 512) for batch in (2, 8)),
        Case(one, "float32", "15.resid_post", 8, 128),
        Case(one, "float32", "*.resid_post", 8, 128),
        Case(one, "float32", "2.resid_post", 4, 1024),
        Case(one, "float32", "1.mlp_post,1.pattern", 8, 256, stored="float32"),
        Case(one, "bfloat16", "0.resid_post,logits", 8, 128),
        *small,
    ]


def rows(cases: Sequence[Case], names: Mapping[str, str]) -> list[Row]:
    """Predicted over measured: memory, time and disk of each case; `names` are the models'."""
    if not can_measure_memory():
        warnings.warn("no budget rows: they need Linux's /proc", stacklevel=2)
        return []
    found = []
    for case in cases:
        told = f"{names[case.folder]} {case.dtype}, {case.batch}x{case.n_ctx}: {case.sites}"
        said, was = measured("benchmarks.budget", json.dumps(asdict(case)))
        for what, (unit, scale, target) in TARGETS.items():
            over, under = said[what] / scale, was[what] / scale
            found.append(once(told, f"{what}, predicted / was", over, under, unit, target))
    return found


def measure(case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    """Predict one harvest and do it, in this process: what was said, and what was."""
    torch.set_num_threads(1)
    model = load(case.folder, device="cpu", dtype=case.dtype)
    assert model.identity and hooks.sites(model)  # made once per model
    shape = (case.forwards * case.batch, case.n_ctx)
    drawn = np.random.default_rng(0).integers(1, model.architecture.d_vocab, shape)
    with tempfile.TemporaryDirectory() as folder:
        plan = planned(
            model,
            from_ids("random", drawn),
            case.sites.split(","),
            Store(Path(folder)),
            dtype=case.stored,
            batch=case.batch,
        )
        budget = predict(plan)
        harvested = carried_out(plan, budget)
        said, was, held = budget.predicted, harvested.spent, budget.held.host
    return (
        {"memory": said.host - held, "time": said.seconds, "disk": budget.disk},
        {"memory": was.host - held, "time": was.seconds, "disk": harvested.n_bytes},
    )


if __name__ == "__main__":
    tell(measure(Case(**json.loads(sys.argv[1]))))

"""Time contestants in interleaved rounds; a figure is the median of the rounds' ratios.

Beside it stands the ratio of the two fastest times, which other processes disturb least.
"""

import gc
import json
import operator
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

TOLERANCE = 1e-4  # the largest difference at which two contestants computed the same
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
_SIGNS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}

Seconds = Mapping[str, Sequence[float]]
"""name -> one time per round"""


@dataclass(frozen=True)
class Row:
    """One ratio: median and range over the rounds, its target and whether the median meets it."""

    case: str
    what: str
    ratio: float
    low: float
    high: float
    fastest: float
    detail: str = ""
    target: str = ""

    @property
    def met(self) -> bool | None:
        """None where no target is set."""
        if not self.target:
            return None
        sign, bound = self.target.split()
        return bool(_SIGNS[sign](self.ratio, float(bound)))


def race(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    clock: Callable[[], float],
) -> Seconds:
    """Every contestant once per round, in an order drawn anew; a first round warms up.

    The order is drawn because a contestant's time depends on who ran before it; garbage is
    collected between them, so that none pays for another's.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    order, drawn = list(contestants), random.Random(0)
    gc.collect()
    gc.freeze()  # what exists already need not be walked each time
    try:
        for number in range(rounds + 1):
            drawn.shuffle(order)
            for name in order:
                gc.collect()
                started = clock()
                contestants[name]()
                if number:
                    seconds[name].append(clock() - started)
    finally:
        gc.unfreeze()
    return seconds


def ratio(case: str, seconds: Seconds, over: str, under: str, target: str = "") -> Row:
    """`over`'s time as a multiple of `under`'s."""
    ratios = [a / b for a, b in zip(seconds[over], seconds[under], strict=True)]
    times = " / ".join(_time(median(seconds[name])) for name in (over, under))
    return Row(
        case,
        f"{over} / {under}",
        median(ratios),
        min(ratios),
        max(ratios),
        min(seconds[over]) / min(seconds[under]),
        times,
        target,
    )


def check_equal(case: str, tensors: Mapping[str, Sequence[Tensor]], reference: str) -> None:
    """Every contestant's tensors must be the reference's; `AssertionError` if not."""
    for name, given in tensors.items():
        assert len(given) == len(tensors[reference]), (
            f"{case}: {name} returned {len(given)} tensors"
        )
        for number, (one, other) in enumerate(zip(given, tensors[reference], strict=True)):
            assert one.shape == other.shape, f"{case}: {name} differs in shape at {number}"
            apart = float((one - other).abs().max())
            assert apart <= TOLERANCE, f"{case}: {name} differs by {apart} at {number}"


def show(rows: Sequence[Row], about: Mapping[str, Any], console: Console) -> None:
    """The table, with what it was measured on."""
    table = Table(title="lensbench against its peers", title_justify="left")
    for heading in ("case", "ratio of"):
        table.add_column(heading)
    for heading in ("ratio", "range", "fastest", "medians", "target", "met"):
        table.add_column(heading, justify="right", no_wrap=True)
    case = ""
    for row in rows:
        if row.case != case:
            table.add_section()
        first, case = row.case if row.case != case else "", row.case
        met = {None: "", True: "[green]yes[/]", False: "[bold red]NO[/]"}[row.met]
        once = row.low == row.high
        spread = "" if once else f"{_short(row.low)}-{_short(row.high)}"
        fastest = "" if once else _short(row.fastest)
        table.add_row(
            first, row.what, _short(row.ratio), spread, fastest, row.detail, row.target, met
        )
    console.print(table)
    for name, value in about.items():
        console.print(f"{name}: {value}", highlight=False)


def save(path: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """The same as JSON."""
    content = {"about": about, "rows": [asdict(row) | {"met": row.met} for row in rows]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_average() -> str:
    """1-minute load over the number of cores, as text."""
    return f"{os.getloadavg()[0]:.2f} on {os.cpu_count()} cores"


def machine() -> dict[str, Any]:
    """What else the figures depend on."""
    return {
        "threads": torch.get_num_threads(),
        "processor": torch.backends.cpu.get_cpu_capability(),
    }


def _time(seconds: float) -> str:
    factor, unit = next(
        (pair for pair in ((1, "s"), (1e3, "ms")) if seconds * pair[0] >= 1), (1e6, "us")
    )
    return f"{seconds * factor:.3g} {unit}"


def _short(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"

"""Time contestants in interleaved rounds; a figure is the median of the rounds' ratios.

Beside it stands the ratio of the two fastest times, which other processes disturb least.
"""

import gc
import operator
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch
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
        """None where no target is set; `within 2` is a factor of 2 to either side."""
        if not self.target:
            return None
        sign, bound = self.target.split()
        if sign == "within":
            return 1 / float(bound) <= self.ratio <= float(bound)
        return bool(_SIGNS[sign](self.ratio, float(bound)))

    @property
    def less_is_better(self) -> bool:
        """Where it is our time as a multiple of another's."""
        return self.target.startswith("<") if self.target else self.what.startswith("workbench")

    def change(self, before: "Row") -> float:
        """By how much it is better than it was: -.2 is a fall by a fifth."""
        now, then = self.ratio, before.ratio
        return (then / now if self.less_is_better else now / then) - 1


def race(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    clock: Callable[[], float],
    before: Callable[[], object] = lambda: None,
) -> Seconds:
    """Every contestant once per round, in an order drawn anew; a first round warms up.

    The order is drawn because a contestant's time depends on who ran before it; garbage is
    collected between them, so that none pays for another's. `before` each of them, what has to
    be cleared away is, at nobody's cost.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    order, drawn = list(contestants), random.Random(0)
    gc.collect()
    gc.freeze()  # what exists already need not be walked each time
    try:
        for number in range(rounds + 1):
            drawn.shuffle(order)
            for name in order:
                before()
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


def rate(row: Row, seconds: Seconds, amount: float, unit: str) -> Row:
    """The row with the rates at which `amount` was done in place of the times."""
    rates = [amount / median(seconds[name]) for name in row.what.split(" / ")]
    return replace(row, detail=_amounts(rates[0], rates[1], unit))


def once(case: str, what: str, over: float, under: float, unit: str, target: str = "") -> Row:
    """A ratio of two amounts that are not times, measured once."""
    value = over / under
    return Row(case, what, value, value, value, value, _amounts(over, under, unit), target)


def check_equal(
    case: str, tensors: Mapping[str, Sequence[Tensor]], reference: str, relative: float = 0.0
) -> None:
    """Every contestant's tensors must be the reference's; `AssertionError` if not.

    `relative` lets them differ by that part of the reference's norm: in 16 bits, the order in
    which a library multiplies shows.
    """
    for name, given in tensors.items():
        assert len(given) == len(tensors[reference]), (
            f"{case}: {name} returned {len(given)} tensors"
        )
        for number, (one, other) in enumerate(zip(given, tensors[reference], strict=True)):
            assert one.shape == other.shape, f"{case}: {name} differs in shape at {number}"
            unequal = one != other  # two equal infinities have no difference
            apart = (one - other)[unequal].double()
            largest = float(apart.abs().max()) if len(apart) else 0.0
            allowed = relative * float(other.double().norm()) if relative else 0.0
            assert largest <= TOLERANCE or float(apart.norm()) <= allowed, (
                f"{case}: {name} differs by {largest} at {number}"
            )


def load_average() -> str:
    """1-minute load over the number of cores, as text."""
    return f"{os.getloadavg()[0]:.2f} on {os.cpu_count()} cores"


def machine() -> dict[str, Any]:
    """What else the figures depend on, and when they were made."""
    names = Path("/proc/cpuinfo")
    told = names.read_text(encoding="utf-8") if names.exists() else ""
    model = next((line for line in told.splitlines() if line.startswith("model name")), "")
    return {
        "date": date.today().isoformat(),
        "threads": torch.get_num_threads(),
        "processor": f"{model.partition(':')[2].strip()} {torch.backends.cpu.get_cpu_capability()}",
    }


def _time(seconds: float) -> str:
    factor, unit = next(
        (pair for pair in ((1, "s"), (1e3, "ms")) if seconds * pair[0] >= 1), (1e6, "us")
    )
    return f"{seconds * factor:.3g} {unit}"


def _amounts(over: float, under: float, unit: str) -> str:
    told = [f"{n:,.0f}" if n >= 100 else f"{n:.3g}" for n in (over, under)]
    return f"{' / '.join(told)} {unit}"

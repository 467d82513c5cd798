"""How far long work is."""

import time
from collections.abc import Callable

from streamlit.delta_generator import DeltaGenerator

Progress = Callable[[int, int], None]


def progress_bar(bar: DeltaGenerator, stage: str) -> Progress:
    """A bar that tells the stage, how far it is, and for how long."""
    started = time.monotonic()

    def tell(done: int, total: int) -> None:
        seconds = time.monotonic() - started
        bar.progress(done / total, f"{stage}: {done:,} of {total:,}, {seconds:.0f} s")

    bar.progress(0.0, f"{stage} …")
    return tell

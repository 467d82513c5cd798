"""The memory one act needs, in its own process: `python -m benchmarks.memory WHAT FOLDER DTYPE`.

Resident memory, file maps included, at its peak and over what it was before, by Linux's own
high-water mark.
"""

import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

import workbench.hooks  # imported before the baseline is taken
from benchmarks.child import can_measure_memory, measured, tell
from benchmarks.ratios import Row, once
from workbench.cache import Store, capture
from workbench.models import Model, load

BATCH, LENGTH = 8, 128
READ = "*.resid_post"


def rows(name: str, folder: Path) -> list[Row]:
    """Loading in both widths, and every layer's residual."""
    if not can_measure_memory():
        warnings.warn("no memory rows: they need Linux's /proc", stacklevel=2)
        return []
    found = []
    for dtype in ("float32", "bfloat16"):
        what = f"peak over imports / {dtype} weights"
        loaded = measured("benchmarks.memory", "load", folder, dtype)
        case = f"{name}: load, read all weights"
        found.append(_megabytes(case, what, loaded["grown"], loaded["parameters"], "< 2"))
    forward = measured("benchmarks.memory", "forward", folder, "float32")["grown"]
    for task in ("run", "capture"):
        taken = measured("benchmarks.memory", task, folder, "float32")
        case = f"{name}, {BATCH}x{LENGTH}: all resid_post"
        what = f"peak of {task} / (tensors + forward)"
        found.append(_megabytes(case, what, taken["grown"], taken["returned"] + forward, "<= 1"))
    return found


def _megabytes(case: str, what: str, over: int, under: int, target: str) -> Row:
    return once(case, what, over / 1e6, under / 1e6, "MB", target)


def growth(act: Callable[[], object]) -> tuple[int, object]:
    """Bytes by which the peak of `act` lies over the memory before it; and its result."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the mark
    before = _resident("VmRSS")
    result = act()
    return _resident("VmHWM") - before, result


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def load_model(folder: str, dtype: str) -> dict[str, int]:
    """Loading, raw, and reading every weight once, against the bytes of the parameters.

    They are read because a map of a file takes no memory before.
    """

    def read() -> Model:
        model = load(folder, device="cpu", dtype=dtype)
        assert model.identity
        return model

    grown, model = growth(read)
    assert isinstance(model, Model)
    return {"grown": grown, "parameters": sum(p.nbytes for p in model.weights.parameters())}


def act(what: str, folder: str, dtype: str) -> dict[str, int]:
    """A bare forward, or all residuals by `run` or by `capture` with a store."""
    model = load(folder, device="cpu", dtype=dtype)
    tokens = torch.arange(BATCH * LENGTH).reshape(BATCH, LENGTH) % model.architecture.d_vocab
    workbench.hooks.run(model, tokens[:1, :2], read=READ)  # what is made once per model
    with tempfile.TemporaryDirectory() as store, torch.no_grad():
        acts: dict[str, Callable[[], Sequence[Tensor]]] = {
            "forward": lambda: [model.weights(tokens, use_cache=False).logits],
            "run": lambda: [*workbench.hooks.run(model, tokens, read=READ).activations.values()],
            "capture": lambda: [
                *capture(model, tokens, READ, Store(Path(store))).activations.values()
            ],
        }
        grown, tensors = growth(acts[what])
    assert isinstance(tensors, list)
    return {"grown": grown, "returned": sum(tensor.nbytes for tensor in tensors)}


def main(arguments: list[str]) -> None:
    what, folder, dtype = arguments
    torch.set_num_threads(1)
    tell(load_model(folder, dtype) if what == "load" else act(what, folder, dtype))


if __name__ == "__main__":
    main(sys.argv[1:])

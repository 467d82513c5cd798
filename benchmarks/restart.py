"""What need not be computed again: blocks below a start, earlier positions, unread logits."""

import torch

from benchmarks.bench import Bench
from benchmarks.ratios import Row, check_equal, ratio
from workbench.hooks import Start, run

BATCH, LENGTH = 8, 128
FULL = "full forward"


def rows(bench: Bench) -> list[Row]:
    """Runs that end in the same logits at the last position, as multiples of the full forward."""
    model, hub, tokens = bench.trees.ours, bench.trees.hub, bench.tokens(BATCH, LENGTH)
    layer = bench.trees.n_layers // 2
    whole = run(model, tokens, read=f"{layer}.resid_pre", stop="never", keep_past=True)
    resid, kept = whole[f"{layer}.resid_pre"], whole.past
    assert kept is not None
    past, last = kept.upto(LENGTH - 1), tokens[:, -1:]
    start, late = Start(layer, resid), Start(layer, resid[:, -1:].contiguous())
    runs = {
        FULL: lambda: run(model, tokens),
        "logits at one position": lambda: run(model, tokens, logits_at=-1),
        f"from layer {layer}": lambda: run(model, tokens, start=start),
        f"from layer {layer}, logits at one position": lambda: run(
            model, tokens, start=start, logits_at=-1
        ),
        "last position, past given": lambda: run(model, last, past=past),
        f"last position, past given, from layer {layer}": lambda: run(
            model, last, past=past, start=late
        ),
    }
    case = f"{bench.name}, {BATCH}x{LENGTH}: to the logits"
    last_logits = {}
    for name, act in runs.items():
        logits = act().logits
        assert logits is not None
        last_logits[name] = [logits[:, -1]]
    check_equal(case, last_logits, FULL)
    bare = "bare forward"
    with torch.no_grad():
        seconds = bench.race(runs | {bare: lambda: hub(tokens, use_cache=False)})
    return [
        ratio(case, seconds, FULL, bare),
        *(ratio(case, seconds, name, FULL) for name in runs if name != FULL),
    ]

"""Activation patching: our sweep beside loops of one forward for each site.

Random weights and random prompts that part at two thirds of their length, as IOI's do. The metric
is a logit difference at the end, or the same as a function of one's own over all logits.
"""

# The peers are installed by `make bench` only.
# pyright: reportMissingImports=false

import io
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import nnsight
import torch
from torch import Tensor
from transformer_lens import patching

from benchmarks import small
from benchmarks.bench import Bench
from benchmarks.peers import NNSIGHT, OURS, Trees, open_trees
from benchmarks.prompts import ANSWER, N_PAIRS, WRONG, pairs_of, prompts
from benchmarks.ratios import Row, check_equal, ratio
from workbench.patching import Metric, sweep
from workbench.sites import Site
from workbench.tasks import Pairs

LENS = "TransformerLens, one forward per site"
TRACED = f"{NNSIGHT}, one trace per site"
GPT2 = 50257  # tokens of its vocabulary

Judge = Callable[[Tensor], Tensor]


def end(logits: Tensor) -> Tensor:
    """The logit difference where the prompts end, over all pairs."""
    return every(logits[:, -1])


def every(logits: Tensor, wanted: object = None) -> Tensor:
    """The logit difference at each position."""
    return logits[..., ANSWER] - logits[..., WRONG]


@dataclass(frozen=True)
class Swept:
    """One sweep, and the peer's function for it."""

    site: str
    places: Any
    lens: Callable[..., Tensor]


@dataclass(frozen=True)
class Case:
    """One model and length of prompts; `slow` where a peer's round takes a minute."""

    name: str
    length: int
    sizes: dict[str, int] = field(default_factory=dict)
    own: bool = True
    traced: bool = False
    slow: bool = False


CASES = (
    Case("4-layer d256", 15, traced=True),
    Case("4-layer d256", 60, own=False, slow=True),
    Case("GPT-2-small's size", 15, {"d_model": 768, "n_layers": 12, "n_heads": 12}, slow=True),
)
SWEEPS = {
    "residual by layer and position": Swept("resid_pre", "each", patching.get_act_patch_resid_pre),
    "heads, all positions": Swept("z", "all", patching.get_act_patch_attn_head_out_all_pos),
}


def rows(bench: Bench) -> list[Row]:
    """Every sweep in every case; slow ones once."""
    found = []
    for case in CASES[:1] if bench.quick else CASES:
        with tempfile.TemporaryDirectory() as folder:
            trees = open_trees(small.write(Path(folder), d_vocab=GPT2, **case.sizes))
            found += _sweeps(bench, case, trees)
    return found


def _sweeps(bench: Bench, case: Case, trees: Trees) -> list[Row]:
    clean, corrupted = prompts(case.length)
    pairs = pairs_of(trees.ours, case.length)
    with torch.no_grad():
        _, cache = trees.bridge.run_with_cache(clean)
    metrics: dict[str, tuple[str | Metric, Judge, str]] = {
        "logit difference": ("logit difference", end, ">= 10")
    }
    if case.own:
        target = "" if case.sizes else ">= 3"
        metrics["a function of all logits"] = (Metric("own", every, at="all"), every, target)
    found = []
    for what, swept in SWEEPS.items():
        for told, (metric, judge, target) in metrics.items():
            contestants = {
                OURS: partial(_ours, trees, pairs, swept, metric),
                LENS: partial(_lens, swept, trees.bridge, corrupted, cache, judge),
            }
            if case.traced and judge is end:
                contestants[TRACED] = partial(_traced, swept, trees, corrupted, cache, judge)
            name = f"{case.name}, {N_PAIRS}x{case.length}: {what}, {told}"
            check_equal(name, {who: [act()] for who, act in contestants.items()}, LENS)
            seconds = bench.race(contestants, rounds=1 if case.slow else bench.rounds)
            found += [
                ratio(name, seconds, peer, OURS, target if peer == LENS else "")
                for peer in contestants
                if peer != OURS
            ]
    return found


def _ours(trees: Trees, pairs: Pairs, swept: Swept, metric: str | Metric) -> Tensor:
    found = sweep(trees.ours, pairs, swept.site, places=swept.places, metric=metric)
    values = found.values.mean(-1)
    return values[:, 0] if swept.places == "each" else values[..., 0]


def _lens(swept: Swept, model: Any, corrupted: Tensor, cache: Any, judge: Judge) -> Tensor:
    with torch.no_grad(), redirect_stderr(io.StringIO()):  # its own progress bar
        return swept.lens(model, corrupted, cache, lambda logits: judge(logits).mean())


def _traced(swept: Swept, trees: Trees, corrupted: Tensor, cache: Any, judge: Judge) -> Tensor:
    """The same loop of traces, over positions or over heads."""
    sizes = trees.ours.architecture
    each = swept.places == "each"
    number = corrupted.shape[1] if each else sizes.n_heads
    found = torch.empty(sizes.n_layers, number)
    for layer in range(sizes.n_layers):
        source = cache[Site(swept.site, layer).long].flatten(2)
        for i in range(number):
            here = (
                (slice(None), i) if each else (..., slice(i * sizes.d_head, (i + 1) * sizes.d_head))
            )
            found[layer, i] = judge(_one_trace(trees, corrupted, layer, each, here, source)).mean()
    return found


def _one_trace(
    trees: Trees, corrupted: Tensor, layer: int, stream: bool, here: Any, source: Tensor
) -> Tensor:
    model: Any = trees.traced
    block = model.get(f"{trees.trunk}.{layer}")
    with torch.no_grad(), model.trace(corrupted, use_cache=False):
        if stream:
            block.input[here] = source[here]
        else:
            block.attn.c_proj.input[here] = source[here]
        logits = nnsight.save(model.lm_head.output)
    return logits  # noqa: RET504 (nnsight runs the block above by itself)

"""A harvest end to end, model included: beside the bare forward, and SAELens' runner.

The runner gets the bridge, where it stops early; on transformers it would run every layer.
"""

import shutil
import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import peers, saelens
from benchmarks.bench import Bench
from benchmarks.peers import OURS, SAE_BRIDGE
from benchmarks.ratios import Row, check_equal, rate, ratio
from workbench.cache import Store, carried_out, harvest, planned, predict
from workbench.corpus import from_ids

BATCH, N_CTX, N_CONTEXTS, FEW = 8, 128, 128, 16
FLOOR = "bare forward"
TARGET = "<= 1.1"


def rows(bench: Bench) -> list[Row]:
    """One mid-layer site in bfloat16, the forward and the harvest alike."""
    trees = bench.half
    layer, d_model = trees.n_layers // 2, trees.ours.architecture.d_model
    site = f"{layer}.resid_post"
    tokens = bench.tokens(FEW if bench.quick else N_CONTEXTS, N_CTX)
    corpus = from_ids("random tokens", tokens)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, peer = folder / "ours", folder / "peer"
        plan = planned(trees.ours, corpus, site, Store(ours), batch=BATCH)
        budget = predict(plan)
        hook = f"blocks.{layer}.hook_resid_post"
        budgeted = f"{OURS}, with its budget"
        contestants = {
            FLOOR: lambda: _bare(trees, tokens, layer),
            OURS: lambda: carried_out(plan, budget),
            budgeted: lambda: harvest(trees.ours, corpus, site, Store(ours), batch=BATCH),
            SAE_BRIDGE: partial(saelens.cache, peer, trees.bridge, hook, tokens, BATCH, d_model),
        }
        case = f"{bench.name} bfloat16, harvest of {site}, {len(tokens)}x{N_CTX}"
        contestants[SAE_BRIDGE]()
        found = {
            OURS: carried_out(plan, budget)[site].contexts(0, len(corpus)).float(),
            FLOOR: torch.cat(_bare(trees, tokens, layer)).float(),
            SAE_BRIDGE: saelens.rows_of(peer, hook),
        }
        check_equal(case, {name: [one] for name, one in found.items()}, OURS, 2**-8)
        seconds = bench.race(contestants, before=partial(_cleared, ours, peer))
    pairs = (
        (OURS, FLOOR, TARGET),
        (budgeted, FLOOR, ""),
        (SAE_BRIDGE, OURS, ""),
    )
    return [
        rate(ratio(case, seconds, over, under, target), seconds, tokens.numel(), "tokens/s")
        for over, under, target in pairs
    ]


def _bare(trees: peers.Trees, tokens: Tensor, layer: int) -> list[Tensor]:
    """The Hub library's model up to the layer, batch by batch; nothing is kept on disk."""
    return [peers.plain_hooks(trees, batch, [layer])[0] for batch in tokens.split(BATCH)]


def _cleared(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)

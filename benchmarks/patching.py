"""Activation patching: our sweep beside TransformerLens' loop of one forward for each site.

Random weights and random prompts that part at two thirds of their length, as IOI's do; the
metric is a logit difference at the end.
"""

import io
import tempfile
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformer_lens import patching

from benchmarks import small
from benchmarks.bench import Bench
from benchmarks.peers import OURS, Trees, open_trees
from benchmarks.ratios import Row, check_equal, ratio
from workbench.models import from_ids
from workbench.patching import sweep
from workbench.tasks import Pair, Pairs

PEER, TARGET = "TransformerLens, one forward per site", ">= 10"
N_PAIRS, LENGTH, PART = 4, 15, 10
ANSWER, WRONG = 3, 4
GPT2 = 50257  # tokens of its vocabulary
SIZES: dict[str, dict[str, int]] = {
    "4-layer d256": {},
    "GPT-2-small's size": {"d_model": 768, "n_layers": 12, "n_heads": 12},
}
SWEEPS = {
    "residual by layer and position": ("resid_pre", "each", patching.get_act_patch_resid_pre),
    "heads, all positions": ("z", "all", patching.get_act_patch_attn_head_out_all_pos),
}


def rows(bench: Bench) -> list[Row]:
    """Both sweeps at both sizes; the large one once, since a peer's round takes a minute."""
    found = []
    for number, (name, sizes) in enumerate(SIZES.items()):
        if bench.quick and number:
            break
        with tempfile.TemporaryDirectory() as folder:
            trees = open_trees(small.write(Path(folder), d_vocab=GPT2, **sizes))
            found += _sweeps(bench, name, trees, 1 if number else bench.rounds)
    return found


def _sweeps(bench: Bench, name: str, trees: Trees, rounds: int) -> list[Row]:
    clean, corrupted = _prompts()
    pairs = _pairs(trees, clean, corrupted)
    with torch.no_grad():
        _, cache = trees.bridge.run_with_cache(clean)

    def metric(logits: Tensor) -> Tensor:
        return (logits[:, -1, ANSWER] - logits[:, -1, WRONG]).mean()

    found = []
    for what, (site, places, peer) in SWEEPS.items():
        contestants = {
            OURS: lambda site=site, places=places: _ours(trees, pairs, site, places),
            PEER: lambda peer=peer: _theirs(peer, trees.bridge, corrupted, cache, metric),
        }
        case = f"{name}, {N_PAIRS}x{LENGTH}: {what}"
        check_equal(case, {who: [act()] for who, act in contestants.items()}, PEER)
        found.append(ratio(case, bench.race(contestants, rounds=rounds), PEER, OURS, TARGET))
    return found


def _prompts() -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(0)
    clean = torch.randint(5, small.VOCABULARY, (N_PAIRS, LENGTH), generator=drawn)
    corrupted = clean.clone()
    corrupted[:, PART] = clean[:, PART] % (small.VOCABULARY - 1) + 1
    return clean, corrupted


def _pairs(trees: Trees, clean: Tensor, corrupted: Tensor) -> Pairs:
    vocabulary = trees.ours.vocabulary
    rows = zip(clean.tolist(), corrupted.tolist(), strict=True)
    return Pairs(
        "random",
        tuple(
            Pair(
                from_ids(vocabulary, one, bos=False),
                from_ids(vocabulary, other, bos=False),
                (ANSWER,),
                (WRONG,),
            )
            for one, other in rows
        ),
    )


def _ours(trees: Trees, pairs: Pairs, site: str, places: Any) -> Tensor:
    found = sweep(trees.ours, pairs, site, places=places).values.mean(-1)
    return found[:, 0] if places == "each" else found[..., 0]


def _theirs(peer: Any, model: Any, corrupted: Tensor, cache: Any, metric: Any) -> Tensor:
    with torch.no_grad(), redirect_stderr(io.StringIO()):  # its own progress bar
        return peer(model, corrupted, cache, metric)

"""Reading activations: one residual, all residuals, all sites, a prompt captured before."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from benchmarks import peers
from benchmarks.bench import Bench
from benchmarks.peers import FLOOR, LENS, OURS
from benchmarks.ratios import Row, check_equal, ratio
from workbench.cache import Store, capture
from workbench.hooks import run, sites
from workbench.sites import Site

BATCH, LENGTH, PROMPT = 8, 128, 64
FEW = 4  # prompts when all sites are read: TransformerLens keeps 1.8 GB of 8
ONE = "<= 1.05"  # one residual as a multiple of plain hooks


def rows(bench: Bench) -> list[Row]:
    """A model near its start, its middle and its end."""
    n_layers = bench.trees.n_layers
    middle = n_layers // 2
    found = [
        row
        for layer in sorted({2, middle, n_layers - 2})
        for row in one_residual(bench, layer, ONE, lens=">= 1.1" if layer == middle else "")
    ]
    return [
        *found,
        *all_residuals(bench, "<= 1.1"),
        *all_sites(bench),
        *second_capture(bench, middle, "< 0.1", "< 0.333"),
    ]


def small(bench: Bench) -> list[Row]:
    """A small model, where what a library does per call shows."""
    return [
        *one_residual(bench, 2, lens=">= 1.4"),
        *one_residual(bench, 2, batch=1, length=PROMPT),
    ]


def one_residual(
    bench: Bench,
    layer: int,
    floor: str = "",
    *,
    batch: int = BATCH,
    length: int = LENGTH,
    lens: str = "",
) -> list[Row]:
    """One layer's residual, with an early stop; `floor` and `lens` are targets."""
    case = f"{bench.name}, {batch}x{length}: {layer}.resid_post"
    contestants = peers.one_residual(bench.trees, bench.tokens(batch, length), layer)
    check_equal(case, {name: fetch() for name, fetch in contestants.items()}, OURS)
    seconds = bench.race(contestants)
    others = [name for name in contestants if name not in (OURS, FLOOR)]
    return (
        [ratio(case, seconds, OURS, FLOOR, floor)]
        + [ratio(case, seconds, other, OURS, lens if other == LENS else "") for other in others]
        + [ratio(case, seconds, LENS, FLOOR)]
    )  # what the best could reach


def all_residuals(bench: Bench, bare: str = "") -> list[Row]:
    """Every layer's residual in one pass."""
    trees, tokens = bench.trees, bench.tokens(BATCH, LENGTH)
    layers = range(trees.n_layers)
    case = f"{bench.name}, {BATCH}x{LENGTH}: all {len(layers)} resid_post"
    contestants = peers.residuals(trees, tokens, layers)
    check_equal(case, {name: fetch() for name, fetch in contestants.items()}, OURS)
    places = [Site("resid_post", layer) for layer in layers]
    to_logits, forward = f"{OURS}, to the logits", "bare forward"
    with torch.no_grad():
        seconds = bench.race(
            contestants
            | {
                to_logits: lambda: run(trees.ours, tokens, read=places, stop="never"),
                forward: lambda: trees.hub(tokens, use_cache=False),
            }
        )
    others = [name for name in contestants if name not in (OURS, FLOOR)]
    return [
        ratio(case, seconds, OURS, forward, bare),
        ratio(case, seconds, to_logits, forward, bare),
        ratio(case, seconds, OURS, FLOOR),
        *(ratio(case, seconds, other, OURS) for other in others),
    ]


def all_sites(bench: Bench) -> list[Row]:
    """Every site the model has; first those that whole modules of the Hub library's tree hold.

    Without `result`, which TransformerLens does not keep: we compute it from `z`.
    """
    trees, tokens = bench.trees, bench.tokens(FEW, LENGTH)
    every = [site for site in sites(trees.ours) if site.name != "result"]
    road = trees.ours.plain_road
    of_modules = [site for site in every if road is not None and site in road.points]
    told, forward = f"{LENS}, all it has", "bare forward"
    found = []
    for case, places in (
        (f"all {len(of_modules)} sites of whole modules", of_modules),
        (f"all {len(every)} sites", every),
    ):
        case = f"{bench.name}, {FEW}x{LENGTH}: {case}"
        contestants = peers.all_sites(trees, tokens, places)
        check_equal(case, {name: fetch() for name, fetch in contestants.items()}, OURS)
        more: dict[str, Callable[[], object]] = {
            told: lambda: peers.everything(trees, tokens),
            forward: lambda: trees.hub(tokens, use_cache=False),
        }
        with torch.no_grad():
            seconds = bench.race(contestants | more)
        if FLOOR in contestants:
            found.append(ratio(case, seconds, OURS, FLOOR))
        found += [
            ratio(case, seconds, OURS, forward),
            ratio(case, seconds, LENS, OURS),
            ratio(case, seconds, told, OURS),
        ]
    return found


def second_capture(bench: Bench, layer: int, memory: str = "", disk: str = "") -> list[Row]:
    """A prompt captured before, from either tier, without a single call of a module."""
    model, tokens = bench.trees.ours, bench.tokens(1, PROMPT)
    case = f"{bench.name}, 1x{PROMPT}: {layer}.resid_post again"
    site = Site("resid_post", layer)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        first = capture(model, tokens, site, store)
        contestants = {
            "forward": lambda: [run(model, tokens, read=site)[site]],
            "memory tier": lambda: [capture(model, tokens, site, store)[site]],
            "disk tier": lambda: [capture(model, tokens, site, Store(Path(folder)))[site]],
        }
        check_equal(
            case, {name: f() for name, f in contestants.items()} | {OURS: [first[site]]}, OURS
        )
        tiers = [name for name in contestants if name != "forward"]
        for tier in tiers:
            calls = _module_calls(contestants[tier])
            assert calls == 0, f"{case}: the {tier} called {calls} modules"
        seconds = bench.race(contestants, rounds=5 * bench.rounds)
    targets = dict(zip(tiers, (memory, disk), strict=True))
    return [ratio(case, seconds, tier, "forward", targets[tier]) for tier in tiers]


def _module_calls(act: Callable[[], object]) -> int:
    """How many modules of any model `act` runs."""
    called: list[str] = []

    def note(module: torch.nn.Module, args: object) -> None:
        called.append(type(module).__name__)

    handle = register_module_forward_pre_hook(note)
    try:
        act()
    finally:
        handle.remove()
    return len(called)

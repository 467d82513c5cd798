"""Published numbers on dictionaries beside ours, from the shipped ones.

Bricken et al. 2023 ("Towards Monosemanticity") and Karvonen et al. 2024 (arXiv:2408.00113). What
is reported of smollm2-135m has thresholds of our own, on a part of the text that
`workbench sae evaluate smollm2-135m-12-topk` reads whole.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Int

from sae.claims import identity, planted
from sae.concepts import concepts
from sae.judging import Judgement, judge
from sae.samples import parts, samples
from sae.saved import load_sae
from sae.splicing import spliced
from workbench.cache import Store, harvest
from workbench.corpus import from_ids, open_corpus
from workbench.labels import label_source
from workbench.models import Model, installed, load
from workbench.registry import Outcome
from workbench.sites import Site

_BRICKEN = "Bricken et al. 2023"
_SMOLLM2, _OTHELLO = "smollm2-135m-12-topk", "othello-6x6-3-topk"
_COMMAND = f"workbench sae evaluate {_SMOLLM2}"
_JUDGED, _BESIDE = 16, 96  # contexts of held-out text, and of other text for PCA
_GAMES, _SEED = 2_000, 7  # not the games that trained


def planted_features() -> Outcome:
    """More features than dimensions, few of them at a time: each is found."""
    told = planted()
    found = told.found
    share = told.l0 / told.true_l0
    return Outcome(
        f"{_BRICKEN}, toy data",
        "64 features in 32 dimensions, p = .03: MMCS > .9, L0 within 30 % of the truth, variance "
        "explained > .9",
        f"MMCS {found.mean:.3f} (random directions {found.chance:.3f}), L0 {told.l0:.2f} of "
        f"{told.true_l0:.2f}, variance explained {told.explained:.3f}",
        found.mean > 0.9 and 0.7 < share < 1.3 and told.explained > 0.9,
    )


def identity_and_zero() -> Outcome:
    """In a model's place, what keeps everything recovers the loss, and what keeps nothing none."""
    model = load("othello-6x6")
    source, site = label_source("othello-mine"), Site.parse("3.resid_post")
    assert source.corpus is not None, "boards draw their own games"
    games = source.corpus(model.vocabulary, 100, _SEED)
    whole = identity(site, model.architecture.d_model)
    nothing = replace(whole, threshold=torch.full((whole.n_latents,), torch.inf))
    stand_ins = {"identity": whole, "no latent": nothing, "zero": torch.zeros_like}
    told = spliced(model, games, site, stand_ins, games.documents >= 0, batch=50)
    kept, none = (float(told.recovered(name, "zero").mean) for name in ("identity", "no latent"))
    return Outcome(
        "by construction, in runs of othello-6x6",
        "CE recovered 1 and 0",
        f"{kept:.4f} and {none:.4f} (CE {told.mean('clean'):.3f} clean, {told.mean('zero'):.3f} "
        "ablated)",
        abs(kept - 1) < 1e-3 and abs(none) < 1e-3,
    )


def shipped_on_text() -> Outcome:
    """The shipped dictionary of smollm2-135m on held-out text, beside what it has to beat."""
    source = f"{_BRICKEN}'s measures, thresholds ours"
    expected = (
        "TopK 32 of 4,608: FVU <= .20, CE recovered >= 93 % (mean ablation 0), 20 points over PCA "
        "of 32, 8 over PCA's largest 32"
    )
    if not installed("smollm2-135m"):
        told = (
            f"not run: smollm2-135m is not there; `workbench models pull smollm2-135m`, {_COMMAND}"
        )
        return Outcome(source, expected, told, False)
    model = load("smollm2-135m", dtype="bfloat16")
    found = _judged(model)
    part = {name: float(found.spliced.recovered(name, "mean").mean) for name in found.fits}
    (first, largest), random = [n for n in part if n.startswith("PCA")], "random dictionary"
    ours, fvu = part["SAE"], found.fits["SAE"].fvu
    beside = ", ".join(
        f"{name} {found.fits[name].fvu:.2f} and {part[name]:.1%}"
        for name in (first, largest, random)
    )
    interval = found.spliced.recovered("SAE", "mean")
    return Outcome(
        source,
        expected,
        f"FVU {fvu:.3f}, CE recovered {ours:.1%} ({float(interval.low):.1%} to "
        f"{float(interval.high):.1%}), KL {found.spliced.mean_kl('SAE'):.2f}, L0 "
        f"{found.use.l0:.1f}; {beside}; {found.use.dead:.1%} never active in {found.use.n:,} rows, "
        f"{found.use.dense:.1%} dense ({int(found.spliced.n_tokens.sum()):,} tokens; all of "
        f"it: {_COMMAND})",
        fvu <= 0.2 and ours >= 0.93 and ours - part[first] >= 0.2 and ours - part[largest] >= 0.08,
    )


def othello_board() -> Outcome:
    """Single latents that say where a disc of mine or theirs lies, and the board read by them."""
    model, source = load("othello-6x6"), label_source("othello-mine")
    assert source.corpus is not None, "boards draw their own games"
    sae = load_sae(_OTHELLO, model)
    labelled = source.label(source.corpus(model.vocabulary, _GAMES, _SEED), model.vocabulary)
    with TemporaryDirectory() as folder:
        kept = harvest(model, labelled.corpus, sae.site, Store(Path(folder)))
        rows = samples(kept[sae.site], held_out=0.3)
        found = concepts(sae, rows, labelled, among=("mine", "theirs"), probes=False)
    ours, random = (found.coverages[name] for name in ("SAE", "untrained SAE"))
    shuffled = found.coverages["SAE, shuffled labels"]
    return Outcome(
        "Karvonen et al. 2024, 8x8",
        "board reconstruction .95 by the best SAEs of Othello-GPT",
        f"reconstruction {ours.reconstruction:.2f}, coverage {ours.mean:.2f}; random dictionary "
        f"{random.reconstruction:.2f} and {random.mean:.2f}, shuffled labels "
        f"{shuffled.reconstruction:.2f} and {shuffled.mean:.2f}, always yes {found.always:.2f} "
        f"coverage ({len(found.properties)} properties, {found.n_tested:,} boards)",
        ours.reconstruction > 2 * random.reconstruction and ours.mean > found.always + 0.1,
    )


def _judged(model: Model) -> Judgement:
    """On some contexts with held-out text; PCA is of others, none of which is held out."""
    sae = load_sae(_SMOLLM2, model)
    corpus = open_corpus("smol-sample", model)
    _, aside = parts(corpus)  # as where it was trained
    here, elsewhere = np.flatnonzero(aside[:, 1:].any(1)), np.flatnonzero(~aside.any(1))
    chosen = np.concatenate([_spread(here, _JUDGED), _spread(elsewhere, _BESIDE)])
    part = from_ids(
        corpus.name, corpus.ids[chosen], documents=corpus.documents[chosen], bos_id=corpus.bos_id
    )
    with TemporaryDirectory() as folder:
        rows = samples(harvest(model, part, sae.site, Store(Path(folder)))[sae.site])
        every, aside = rows.train | rows.held_out, aside[chosen]
        return judge(sae, replace(rows, train=every & ~aside, held_out=every & aside), model)


def _spread(among: Int[np.ndarray, " context"], n: int) -> Int[np.ndarray, " chosen"]:
    return among[np.linspace(0, len(among) - 1, n).round().astype(int)]

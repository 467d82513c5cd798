"""What `workbench sae` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands import output

if TYPE_CHECKING:  # torch must not load for --help
    from sae.budget import Budget
    from sae.checkpoint import Row
    from sae.judging import Judgement
    from sae.recipe import Recipe
    from sae.samples import Samples
    from sae.splicing import Spliced
    from workbench.sites import Site

_ABLATIONS = ("mean", "zero")
_HEAD = ("stands in", "FVU", "cosine", "scale", "CE", "CE recovered % (mean ablated: 0)", "KL")


def show_budget(recipes: Mapping[str, Recipe], costs: Budget) -> None:
    """What a training will take, before it starts."""
    first = next(iter(recipes.values()))
    output.table(
        f"budget: {len(recipes)} of {first.kind}, {first.steps:,} steps of {first.batch:,} rows",
        ["what", "predicted", "there is"],
        [
            ["memory", f"{costs.memory / 1e9:.2f} GB", f"{costs.free / 1e9:.2f} GB free"],
            ["disk", f"{costs.disk / 1e9:.2f} GB", ""],
            ["rows", f"{first.steps * first.batch:,}", f"{costs.epochs:.1f} times the corpus"],
            ["time", f"{costs.seconds / 60:.1f} min", f"{costs.step * 1e3:.0f} ms a step"],
        ],
    )


def show_trained(log: Sequence[Row], width: int, samples: Samples) -> None:
    """The last line of each dictionary's log."""
    rows = [
        [row.name, f"{row.losses['reconstruction'] / width:.4f}", f"{row.l0:.1f}", f"{row.n_dead}"]
        for row in log
    ]
    title = f"on {samples.train.sum():,} rows, {samples.n_sinks:,} sinks left out"
    output.table(title, ["dictionary", "FVU (training)", "L0", "dead"], rows)


def show(found: Judgement, corpus: str) -> None:
    """The table of a dictionary and its rivals."""
    output.table(on_what(found, corpus), *stand_ins(found))
    output.say(told(found))


def on_what(found: Judgement, corpus: str) -> str:
    """What was judged on."""
    rows, tokens = next(iter(found.fits.values())).n, int(found.spliced.n_tokens.sum())
    return f"held-out documents of {corpus}: {rows:,} rows, losses on {tokens:,} tokens"


def stand_ins(found: Judgement) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the dictionary, its rivals, the clean run and the ablations."""
    spliced, rows = found.spliced, []
    for name, fit in found.fits.items():
        rows.append(
            [
                name,
                f"{fit.fvu:.3f}",
                f"{fit.cosine:.3f}",
                f"{fit.shrinkage:.3f}",
                f"{spliced.mean(name):.3f}",
                _recovered(spliced, name),
                f"{spliced.mean_kl(name):.3f}",
            ]
        )
    for name in ("clean", *_ABLATIONS):
        kl = f"{spliced.mean_kl(name):.3f}" if name in spliced.kl else ""
        label = name if name == "clean" else f"{name} ablation"
        rows.append([label, "", "", "", f"{spliced.mean(name):.3f}", "", kl])
    return list(_HEAD), rows


def _recovered(spliced: Spliced, name: str) -> str:
    """In percent, with an interval where there is more than one context."""
    if spliced.mean("mean") <= spliced.mean("clean"):
        return "ablation does no harm"
    part = spliced.recovered(name, "mean")
    share = f"{100 * float(part.mean):.1f}"
    if len(spliced.n_tokens) < 2:
        return share
    return f"{share} ({100 * float(part.low):.1f} to {100 * float(part.high):.1f})"


def told(found: Judgement) -> str:
    """How much the latents are used."""
    use = found.use
    return (
        f"L0 {use.l0:.1f}; of {len(use.counts):,} latents {100 * use.dead:.2f} % dead and "
        f"{100 * use.dense:.2f} % dense (active in over a tenth) on {use.n:,} rows"
    )


def write(path: Path, found: Mapping[Site, Judgement], title: str, corpus: str) -> None:
    """The density histogram, and a table for each site written, as a page of its own."""
    from sae import figures  # Plotly loads here, not for --help
    from workbench.figures import page, token_table

    first = next(iter(found.values()))
    plots = [figures.density_histogram(first.use.density.numpy(), title="Density")]
    for site, one in found.items():
        head, rows = stand_ins(one)
        columns = {name: [row[at] for row in rows] for at, name in enumerate(head)}
        plots.append(token_table(columns, title=f"What stands in for the activations at {site}"))
    note = f"{on_what(first, corpus)}; {told(first)}"
    output.write_html(path, page(plots, title=title, note=note))


def plain(found: Judgement) -> dict[str, Any]:
    """The same as JSON."""
    told = found.spliced
    recovered = {
        name: {
            against: {k: float(v) for k, v in vars(told.recovered(name, against)).items()}
            for against in _ABLATIONS
        }
        for name in found.fits
    }
    return {
        "fits": {name: asdict(fit) for name, fit in found.fits.items()},
        "losses": {name: told.mean(name) for name in told.losses},
        "kl": {name: told.mean_kl(name) for name in told.kl},
        "recovered": recovered,
        "tokens": int(told.n_tokens.sum()),
        "l0": found.use.l0,
        "dead": found.use.dead,
        "dense": found.use.dense,
        "rows": found.use.n,
        "counts": found.use.counts.tolist(),
    }

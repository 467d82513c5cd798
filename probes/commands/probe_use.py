"""`workbench probe intervene`: whether the model uses what its probes read."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from probes.commands import probe_asked as put
from probes.commands.probe_report import bounded
from workbench.commands import options, output
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load for --help
    from probes.erasing import ErasureTest
    from probes.evaluation import Evaluation
    from probes.othello.interventions import CausalTest
    from probes.sweep import Sweep
    from workbench.labels import Labelled
    from workbench.models import Model


def causal(arguments: Namespace, model: Model, made: Sweep) -> dict[str, Any]:
    """Squares changed along the probes: does the model play by the changed board?"""
    from probes.othello.interventions import causal_test

    probes = [one for site, one in made.probes.items() if site.name == "resid_post"]
    if not probes:
        raise InputError(f"{arguments.file} has no probe of resid_post; sweep *.resid_post")
    with options.bar("settings") as progress:
        found = causal_test(
            model,
            probes,
            arguments.change,
            method=arguments.method,
            n=arguments.cases,
            seed=arguments.seed,
            progress=progress,
        )
    if not arguments.json:
        _show_causal(model, found)
    return _plain_causal(model, found)


def erasure(arguments: Namespace, model: Model, made: Sweep) -> dict[str, Any]:
    """What the probe reads taken out: what is left of it, and what it costs."""
    from probes.erasing import erasure_test

    if arguments.seed != made.seed:
        raise InputError(
            f"--seed {arguments.seed} would draw other test documents; the probes were fitted "
            f"with seed {made.seed}, which draws the random directions too: leave --seed out"
        )
    labelled = put.open_labels(arguments, model)
    check_labels(made, labelled)
    same = labelled.corpus.digest == made.corpus["digest"]
    if not same or labelled.n_samples != sum(made.n_rows.values()):
        raise InputError(
            f"{labelled.name} holds other samples than the probes were fitted on, so that no split "
            "keeps their test documents apart; give the same labels, or fit probes on these"
        )
    probe = made[arguments.site] if arguments.site else made[made.best]
    with options.bar("contexts") as progress:
        found = erasure_test(
            model,
            labelled,
            probe,
            seed=made.seed,
            batch=arguments.batch,
            progress=progress,
        )
    if not arguments.json:
        _show_erasure(model, labelled, found)
    return _plain_erasure(model, labelled, found)


def check_labels(made: Sweep, labelled: Labelled) -> None:
    """Raise `InputError` unless the labels ask what the probes were fitted to answer."""
    if (made.tasks, made.classes) != (labelled.tasks, labelled.classes):
        raise InputError(
            f"the probes read {', '.join(made.classes)} ({len(made.tasks)} tasks), labels "
            f"{labelled.name} say {', '.join(labelled.classes)} ({len(labelled.tasks)}); give "
            "labels of the same sort"
        )


def _show_causal(model: Model, found: CausalTest) -> None:
    """Errors of the model, before and after, beside the random direction and the floor."""
    setting, means = found.setting, found.mean_errors
    output.say(
        f"{model.name}: {found.change} a disc by {found.method}, {found.n:,} boards; at "
        f"{setting.sites[0]} to {setting.sites[-1]}, alpha {setting.alpha:g}, chosen among "
        f"{len(found.tried)} settings on {found.n_choose} other boards"
    )
    names = {
        "null": "as it is, against the changed board",
        "intervened": "changed along the probes",
        "random": "in a random direction, as far",
        "floor": "floor: as it is, against its own board",
    }
    shares = {which: _share(found, which) for which in ("intervened", "random")}
    rows = [[name, f"{means[which]:.3f}", shares.get(which, "")] for which, name in names.items()]
    output.table("", ["the model", "mean errors", "share of the gap (95 %)"], rows)
    mass = [
        [name, *(f"{getattr(one, when):.4f}" for when in ("before", "after", "random"))]
        for name, one in (("newly legal", found.newly), ("no longer legal", found.no_longer))
    ]
    output.table("", ["probability on squares", "as it is", "changed", "random"], mass)


def _share(found: CausalTest, which: str) -> str:
    closed = found.closed(which)
    return bounded(float(closed.mean), float(closed.low), float(closed.high))


def _plain_causal(model: Model, found: CausalTest) -> dict[str, Any]:
    """The same for JSON."""

    def share(which: str) -> dict[str, float]:
        return {name: float(value) for name, value in vars(found.closed(which)).items()}

    return {
        "model": model.name,
        "fingerprint": model.identity.fingerprint,
        "change": found.change,
        "method": found.method,
        "cases": found.n,
        "sites": [str(site) for site in found.setting.sites],
        "alpha": found.setting.alpha,
        "mean_errors": found.mean_errors,
        "share_of_the_gap": {which: share(which) for which in ("intervened", "random")},
        "newly_legal": asdict(found.newly),
        "no_longer_legal": asdict(found.no_longer),
    }


def _show_erasure(model: Model, labelled: Labelled, found: ErasureTest) -> None:
    """What is left to read and what the output lost, beside random directions."""
    before = found.before
    output.say(
        f"{labelled.name} erased at {found.site} of {model.name}: {found.rank} directions, fitted "
        f"on training documents; {before.n_rows:,} test samples in {found.n_contexts} contexts, "
        f"the commonest class {found.majority:.3f}"
    )
    rows = [["nothing", _of(before), "", "0", "0"]]
    for name, one in (("LEACE", found.leace), ("random directions", found.random)):
        cost = bounded(one.cost.kl, one.cost.low, one.cost.high, digits=4)
        rows.append([name, _of(one.kept), _of(one.refitted), f"{one.removed:.4f}", cost])
    columns = ["taken out", "the probe (95 %)", "a probe fitted anew", "share of variance"]
    output.table("", [*columns, "KL of the output, nats"], rows)
    output.say("KL: before against after, the mean over test tokens but BOS")


def _of(found: Evaluation) -> str:
    return bounded(found.accuracy, found.low, found.high)


def _plain_erasure(model: Model, labelled: Labelled, found: ErasureTest) -> dict[str, Any]:
    """The same for JSON."""
    from probes.summary import measures

    return {
        "model": model.name,
        "fingerprint": model.identity.fingerprint,
        "labels": labelled.name,
        "site": str(found.site),
        "rank": found.rank,
        "contexts": found.n_contexts,
        "commonest class": found.majority,
        "before": measures(found.before),
        **{
            name: {
                "probe": measures(one.kept),
                "fitted anew": measures(one.refitted),
                "variance removed": one.removed,
                "kl": asdict(one.cost),
            }
            for name, one in (("leace", found.leace), ("random", found.random))
        },
    }

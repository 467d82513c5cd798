"""`workbench harvest`: activations of a corpus kept in the store, with the cost told before."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands import options, output
from workbench.commands.corpus import add_bos, add_corpus, open_corpus
from workbench.errors import InputError
from workbench.registry import Command

if TYPE_CHECKING:  # torch must not load for --help
    from workbench.cache import Budget, Harvested, Plan


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("corpus", help="built-in name, file, folder or Hub data set")
    parser.add_argument(
        "--sites",
        required=True,
        help="sites, with commas between: names, globs, ranges, such as 12.resid_post,*.z",
    )
    parser.add_argument(
        "--dtype-stored",
        metavar="DTYPE",
        help="float32, bfloat16 or float16 (default: the model's); 16 bits take half the disk",
    )
    parser.add_argument("--batch", type=int, default=8, help="contexts in one forward (8)")
    parser.add_argument("--dry-run", action="store_true", help="tell what it would cost, and stop")
    add_corpus(parser)
    add_bos(parser)
    options.add_model(parser)
    options.add_store(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(arguments: Namespace) -> int:
    if arguments.batch < 1:
        raise InputError("--batch takes a whole number from 1")
    # torch loads here, not for --help
    from workbench.cache import carried_out, planned, predict

    model, store = options.open_model(arguments), options.open_store(arguments)
    corpus = open_corpus(arguments, arguments.corpus, model)
    with options.stages() as say:
        say("measuring what one batch takes")
        plan = planned(
            model,
            corpus,
            [name.strip() for name in arguments.sites.split(",")],
            store,
            dtype=arguments.dtype_stored,
            batch=arguments.batch,
        )
        budget = predict(plan)
    if not arguments.json:
        _show_budget(plan, budget)
    if arguments.dry_run:
        if arguments.json:
            output.dump({**_about(plan), "budget": budget.to_json()})
        budget.check()
        return 0
    with options.bar("harvesting") as progress:
        harvested = carried_out(plan, budget, progress)
    if arguments.json:
        output.dump(
            {
                **_about(plan),
                "budget": budget.to_json(),
                "outcome": {**vars(harvested.spent), "disk": harvested.n_bytes},
                "sites": [_site(harvest) for harvest in harvested.harvests.values()],
            }
        )
    else:
        _show_outcome(harvested)
    arguments.corpus_digest = corpus.digest
    folders = [harvest.folder for harvest in harvested.harvests.values()]
    output.record("harvest", model, [], arguments, harvested.spent.seconds, folders)
    return 0


def _about(plan: Plan) -> dict[str, Any]:
    corpus = plan.corpus
    return {
        "model": plan.model.name,
        "fingerprint": plan.model.identity.fingerprint,
        "corpus": {"name": corpus.name, "digest": corpus.digest, "contexts": len(corpus)},
        "tokens": corpus.n_tokens,
        "batch": plan.batch,
        "store": str(plan.store.folder),
    }


def _site(harvest) -> dict[str, Any]:
    return {
        "site": str(harvest.site),
        "shape": list(harvest.shape),
        "dtype": harvest.manifest.key.dtype,
        "bytes": harvest.manifest.n_bytes,
        "relative error": harvest.rounding.relative,
        "largest error": harvest.rounding.largest,
        "folder": str(harvest.folder),
    }


def _show_budget(plan: Plan, budget: Budget) -> None:
    corpus = plan.corpus
    if not budget.shapes:
        output.say(f"all of {corpus.name} is in {plan.store.folder} already, at these sites")
        return
    output.say(
        f"to harvest: {', '.join(map(str, budget.shapes))} of {corpus.name}, "
        f"{len(corpus):,} contexts of {corpus.n_ctx} tokens"
    )
    grown = budget.predicted.host - budget.held.host
    evicted = f", {_size(budget.evicted)} of older entries go" if budget.evicted else ""
    rows = [
        ["disk", _size(budget.disk), f"{_size(budget.free_disk)} free, the store may hold "
         f"{_size(budget.store_limit)}{evicted}"],
        ["memory, at its peak", _size(budget.predicted.host), f"{_size(grown)} more than now; "
         f"{'?' if budget.free_host is None else _size(budget.free_host)} free"],
    ]  # fmt: skip
    if budget.free_device is not None:
        rows.append(
            ["device, at its peak", _size(budget.predicted.device), _size(budget.free_device)]
        )
    rows.append(["time", _time(budget.predicted.seconds), f"{budget.forwards:,} forwards"])
    output.table(f"budget: {plan.model.name}", ["what", "predicted", "there is"], rows)


def _show_outcome(harvested: Harvested) -> None:
    budget, spent = harvested.budget, harvested.spent
    if budget.shapes:
        rows = [
            ["disk", _size(budget.disk), _size(harvested.n_bytes)],
            ["memory, at its peak", _size(budget.predicted.host), _size(spent.host)],
            ["device, at its peak", _size(budget.predicted.device), _size(spent.device)],
            ["time", _time(budget.predicted.seconds), _time(spent.seconds)],
        ]
        shown = [row for row in rows if spent.device or not row[0].startswith("device")]
        output.table("outcome", ["what", "predicted", "was"], shown)
    sites: list[Mapping[str, Any]] = [_site(harvest) for harvest in harvested.harvests.values()]
    cells = [
        [
            row["site"],
            "x".join(map(str, row["shape"])),
            row["dtype"],
            *(f"{row[name]:.2g}" for name in ("relative error", "largest error")),
            Path(row["folder"]).name[:8],
        ]
        for row in sites
    ]
    columns = ["site", "shape", "dtype", "relative error", "largest error", "folder"]
    output.table("in the store", columns, cells)


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:,.2f} MB"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


COMMAND = Command("store the activations of a corpus, with the cost told before", configure, run)

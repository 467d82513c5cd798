"""`workbench probe`: what is there to read at a place in a model, and whether the model uses it."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.commands import probe_asked as put
from probes.commands import probe_report as tell
from probes.commands import probe_use as use
from workbench import ranks
from workbench.commands import config, options, output
from workbench.errors import InputError
from workbench.registry import Command

if TYPE_CHECKING:  # torch must not load for --help
    from probes.mdl import OnlineCode
    from probes.sweep import Sweep
    from workbench.labels import Labelled
    from workbench.models import Model


def run(arguments: Namespace) -> int:
    typed, _ = config.typed(arguments)
    arguments = put.asked(arguments)
    if arguments.action == "intervene":
        return _intervene(arguments, typed)
    put.check_used(typed, arguments.action)
    return (_evaluate if arguments.action == "evaluate" else _sweep)(arguments)


def _sweep(arguments: Namespace) -> int:
    # torch loads here, not for --help
    from probes.saved import save_sweep
    from probes.sweep import sweep
    from workbench.hooks import sites
    from workbench.sites import named

    model = options.open_model(arguments)
    places = put.places(arguments)
    if arguments.action == "train" and len(found := named(places, sites(model))) > 1:
        raise InputError(
            f"--site {arguments.site} names {len(found)} places; train takes one, sweep several"
        )
    labelled = put.open_labels(arguments, model)
    random = None if arguments.no_random else _random(model)
    started = time.perf_counter()
    with options.bar("contexts and fits") as progress:
        made = sweep(
            model,
            labelled,
            places,
            arguments.kind,
            random=random,
            among=put.classes(arguments),
            strength=arguments.strength,
            seed=arguments.seed,
            batch=arguments.batch,
            progress=progress,
        )
    if ranks.rank():
        return 0  # the first keeps and tells
    codes = _codes(arguments, model, random, labelled, places) if arguments.mdl else {}
    seconds = time.perf_counter() - started

    again = put.reproducing(arguments)
    path = put.place_to_keep(arguments, made, again)
    told = tell.plain_codes(codes)
    save_sweep(made, path, {"arguments": again, "codes": told})
    if arguments.json:
        output.dump({**tell.plain(made), "codes": told, "arguments": again, "file": str(path)})
    else:
        tell.show(made, codes)
        output.say(f"kept in {path}; {seconds:.1f} s")
    if arguments.html:
        tell.write(arguments.html, made)
    files = [path, *([arguments.html] if arguments.html else [])]
    output.record("probe", model, [], arguments, seconds, files)
    return 0


def _random(model: Model) -> Model:
    from workbench.models import untrained

    try:
        return untrained(model)
    except InputError as error:
        raise InputError(f"{error}; --no-random leaves this control out") from error


def _codes(
    arguments: Namespace,
    model: Model,
    random: Model | None,
    labelled: Labelled,
    places: list[str],
) -> dict[str, dict[Any, OnlineCode]]:
    """The online codes of the model and of the one with random weights, by site."""
    from probes.mdl import online_code
    from probes.rows import gather

    found = {}
    for name, one in (("model", model), ("random weights", random)):
        if one is not None:
            rows = gather(one, labelled, places, batch=arguments.batch)
            with options.bar(f"online code, {name}") as progress:
                found[name] = online_code(
                    rows, kind=arguments.kind, seed=arguments.seed, progress=progress
                )
    return found


def _evaluate(arguments: Namespace) -> int:
    from probes.controls import majority
    from probes.evaluation import accuracy, evaluate
    from probes.rows import Split, gather, without
    from workbench.hooks import sites
    from workbench.sites import named

    model, made = _opened(arguments)
    labelled = put.open_labels(arguments, model)
    use.check_labels(made, labelled)
    labelled, n_seen, n_known = without(labelled, made.fitted)
    wanted = named(put.places(arguments), sites(model)) if arguments.sites else list(made.probes)
    if missing := [str(site) for site in wanted if site not in made.probes]:
        raise InputError(f"{arguments.file} has no probe at {', '.join(missing)}")
    started = time.perf_counter()
    with options.bar("contexts") as progress:
        rows = gather(model, labelled, wanted, batch=arguments.batch, progress=progress)
    among, every = put.classes(arguments), rows.labels[:, 0] >= 0
    found = {
        site: evaluate(
            made[site].scores(rows[site]),
            rows.labels,
            rows.groups,
            classes=rows.classes,
            scale=made[site].scale,
            among=among,
            seed=arguments.seed,
        )
        for site in wanted
    }
    constant = majority(rows.labels, Split(every, ~every, every), len(rows.classes))
    chance = accuracy(constant, rows.labels, classes=rows.classes, among=among)
    seconds = time.perf_counter() - started
    if arguments.json:
        told = tell.plain_evaluations(made, labelled, found, chance)
        output.dump({**told, "documents left out": n_seen})
    else:
        if n_seen:
            output.say(
                f"{n_seen:,} of {n_known:,} documents were among those fitted on and are left out"
            )
        tell.show_evaluations(made, labelled, found, chance)
        output.say(f"{seconds:.1f} s")
    output.record("probe evaluate", model, [], arguments, seconds, [arguments.file])
    return 0


def _intervene(arguments: Namespace, typed: Mapping[str, Any]) -> int:
    from probes.fits import direction
    from probes.othello.labels import COLOUR, MINE
    from workbench.directions import save_direction

    model, made = _opened(arguments)
    started = time.perf_counter()
    of_board = made.classes in (MINE, COLOUR)
    way = put.DIRECTION if arguments.save_direction else put.BOARD if of_board else put.ERASURE
    put.check_used(typed, way)
    if arguments.save_direction is not None:
        site = arguments.site or str(made.best)
        if arguments.class_ is None:
            raise InputError(f"--save-direction needs --class: {', '.join(made.classes)}")
        task = arguments.task or made.tasks[0]
        found = direction(made[site], task, arguments.class_, arguments.against)
        save_direction(found, arguments.save_direction)
        output.say(
            f"{found.name} at {found.site}, norm {found.norm:.3g}: {arguments.save_direction}"
        )
        return 0
    told = (use.causal if of_board else use.erasure)(arguments, model, made)
    if not arguments.json:
        output.say(f"{time.perf_counter() - started:.1f} s")
    else:
        output.dump(told)
    seconds = time.perf_counter() - started
    output.record("probe intervene", model, [], arguments, seconds, [arguments.file])
    return 0


def _opened(arguments: Namespace) -> tuple[Model, Sweep]:
    """The model, and the probes in the file, which must be its own."""
    from probes.saved import load_sweep

    path: Path = arguments.file
    model = options.open_model(arguments)
    return model, load_sweep(path, model)


COMMAND = Command("what is there to read in a model, with controls", put.configure, run)

"""`workbench patch`: which activations carry an answer, by exact patching over pairs of prompts."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands import options, output
from workbench.errors import InputError
from workbench.registry import Command
from workbench.sites import KINDS, Site

if TYPE_CHECKING:  # torch must not load for --help
    from collections.abc import Sequence

    from torch import Tensor

    from workbench.cache.resources import Spent
    from workbench.figures import Figure
    from workbench.models import Model
    from workbench.patching import Interval, Metric, Sweep
    from workbench.tasks import Pairs

FILES = (".csv", ".jsonl", ".ndjson")
MOST_HEATMAPS = 16


def configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "task",
        nargs="?",
        metavar="TASK_OR_FILE",
        help="a task (see --list), or a .csv or .jsonl file of pairs; or give --clean",
    )
    parser.add_argument("--list", action="store_true", help="list tasks, sites and metrics")
    pairs = parser.add_argument_group("pairs")
    pairs.add_argument("--n", type=int, help="pairs (32 of a task, all of a file)")
    pairs.add_argument("--seed", type=int, help="which pairs of a task are drawn (0)")
    pairs.add_argument("--corruption", metavar="NAME", help="how a task's prompts are corrupted")
    pairs.add_argument("--clean", metavar="TEXT", help="instead of a task: one pair's prompt")
    pairs.add_argument("--corrupted", metavar="TEXT", help="with --clean: as many tokens")
    pairs.add_argument(
        "--answer", metavar="TEXT", help='with --clean: the token after it, such as " Paris"'
    )
    pairs.add_argument("--wrong", metavar="TEXT", help="with --clean: the token it is held against")
    pairs.add_argument(
        "--first-token",
        action="store_true",
        help="the first token of a longer answer stands for it, in a file or with --clean",
    )
    pairs.add_argument(
        "--bos",
        choices=("auto", "on", "off"),
        default="auto",
        help="a BOS token in front, in a file or with --clean (auto: where the vocabulary has one)",
    )
    swept = parser.add_argument_group("what is patched")
    swept.add_argument("--site", default="resid_pre", help="what to patch (default: %(default)s)")
    swept.add_argument(
        "--places",
        metavar="P,P",
        help="each position, all together, or names and numbers: IO,S2,end (default: each; all "
        "for heads and neurons; what pairs of several lengths share)",
    )
    swept.add_argument("--layers", metavar="N,N-N", help="only these, such as 0-5,7 (all)")
    swept.add_argument("--components", metavar="N,N-N", help="only these heads or neurons (all)")
    swept.add_argument(
        "--direction",
        choices=("denoising", "noising"),
        default="denoising",
        help="clean into corrupted, or corrupted into clean (default: %(default)s)",
    )
    swept.add_argument("--metric", default="logit difference", help="default: %(default)s")
    swept.add_argument(
        "--at", default="end", metavar="PLACE", help="where it is taken, or all (default: end)"
    )
    parser.add_argument("--top", type=int, default=12, help="effects listed (12)")
    options.add_model(parser)
    options.add_store(parser)
    options.add_output(parser)


def run(arguments: Namespace) -> int:
    if arguments.list:
        return _list(arguments)
    _check(arguments)
    layers, components = (_numbers(arguments, name) for name in ("layers", "components"))
    # torch loads here, not for --help
    from workbench.patching import sweep

    metric = _metric(arguments)
    model, store = options.open_model(arguments), options.open_store(arguments)
    pairs = _pairs(arguments, model)
    places, why = _places(arguments, pairs)
    with options.bar("layers") as progress:
        found = sweep(
            model,
            pairs,
            arguments.site,
            metric=metric,
            direction=arguments.direction,
            places=places,
            layers=layers,
            components=components,
            store=store,
            progress=progress,
        )
    effects = found.effects()
    shown = labels(pairs, found.places)

    if arguments.json:
        output.dump(_plain(model, pairs, found, effects, shown))
    else:
        _tell(model, pairs, found, effects, shown, arguments.top, why)
    if arguments.html:
        _write(arguments.html, model, pairs, found, effects, shown)
    files = [arguments.html] if arguments.html else []
    ids = [tokens.ids for row in pairs for tokens in (row.clean, row.corrupted)]
    output.record("patch", model, ids, arguments, found.spent.seconds, files)
    return 0


def labels(pairs: Pairs, places: Sequence[str]) -> list[str]:
    """What stands at each place of a sweep: tokens where all prompts have one, else its name."""
    rows = list(pairs)
    named = {at: name for name, at in rows[0].places.items()}
    shown = []
    for place in places:
        if not re.fullmatch(r"-?\d+", place):
            shown.append(place)
            continue
        at = int(place)
        tokens = {side.labels[at] for row in rows for side in (row.clean, row.corrupted)}
        name = named.get(rows[0].at(at), "")
        if len(rows) == 1:  # both, where they differ
            both = (rows[0].clean.labels[at], rows[0].corrupted.labels[at])
            word = "/".join(dict.fromkeys(both))
        elif len(tokens) == 1:
            (word,) = tokens
        elif name and all(row.places.get(name) == row.at(at) for row in rows):
            word = name
        else:
            word = f"{rows[0].clean.labels[at]}…"
        shown.append(f"{place} {word}")
    return shown


# What is asked


def _check(arguments: Namespace) -> None:
    task = arguments.task
    one = [arguments.clean, arguments.corrupted, arguments.answer]
    from_file = task is not None and Path(task).suffix.lower() in FILES
    from_task = task is not None and not from_file
    rules = [
        (
            task is not None or None not in one,
            "give a task, a file of pairs, or --clean, --corrupted and --answer; --list shows the "
            "tasks",
        ),
        (
            task is None or [*one, arguments.wrong] == [None] * 4,
            "--clean, --corrupted, --answer and --wrong make a pair; leave the task out",
        ),
        (
            from_task or (arguments.corruption, arguments.seed) == (None, None),
            "--corruption and --seed are for tasks; leave them out",
        ),
        (
            not from_task or (not arguments.first_token and arguments.bos == "auto"),
            "--first-token and --bos are for files and --clean; a task has its own answers",
        ),
        (task is not None or arguments.n is None, "--n is for tasks and files; leave it out"),
        (arguments.n is None or arguments.n > 0, "--n takes a whole number from 1"),
        (arguments.top > 0, "--top takes a whole number from 1"),
    ]
    if faults := [told for kept, told in rules if not kept]:
        raise InputError("; ".join(faults))


def _numbers(arguments: Namespace, name: str) -> list[int] | None:
    """The numbers of `--NAME 0-5,7`, each once; None where it is not given."""
    text = getattr(arguments, name)
    if text is None:
        return None
    found: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        last = int(match[2] or match[1]) if match else -1
        if match is None or last < int(match[1]):
            raise InputError(f"--{name} {text!r} should be numbers and ranges, such as 0-5,7")
        if last >= 2**20:
            raise InputError(f"--{name} {text!r}: there is no number {last:,}")
        found.update(dict.fromkeys(range(int(match[1]), last + 1)))
    return list(found)


def _metric(arguments: Namespace) -> Metric:
    """The metric by its name in any spelling: `logit-difference`, `kl`."""
    from workbench.patching import MEASURES, Metric

    spelt = {re.sub(r"[\s_-]", "", name).lower(): name for name in MEASURES}
    asked = re.sub(r"[\s_-]", "", arguments.metric).lower()
    return Metric.named(spelt.get(asked) or str(arguments.metric), _place(arguments.at))


def _place(text: str) -> str | int:
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def _pairs(arguments: Namespace, model: Model) -> Pairs:
    from workbench.tasks import TASKS, Pairs, pair, read_pairs

    how = {"bos": options.bos(arguments), "first_token": arguments.first_token}
    if arguments.task is None:
        wrong = () if arguments.wrong is None else arguments.wrong
        texts = (arguments.clean, arguments.corrupted, arguments.answer)
        return Pairs("one pair", (pair(model, *texts, wrong, **how),))
    if Path(arguments.task).suffix.lower() in FILES:
        found = read_pairs(model, arguments.task, **how)
        if arguments.n is not None and arguments.n > len(found):
            raise InputError(f"{arguments.task} holds {len(found)} pairs; ask for no more")
        return Pairs(found.name, found.rows[: arguments.n])
    if arguments.task not in TASKS:
        raise InputError(
            f"{arguments.task!r} is neither a task ({', '.join(TASKS)}) nor a file that ends in "
            f"{', '.join(FILES)}"
        )
    n = 32 if arguments.n is None else arguments.n
    task = TASKS[arguments.task]
    return task.pairs(model, n, arguments.seed or 0, corruption=arguments.corruption)


def _places(arguments: Namespace, pairs: Pairs) -> tuple[Any, str]:
    """Where to patch, and a word about it where nobody asked for that."""
    if arguments.places in ("each", "all"):
        return arguments.places, ""
    if arguments.places is not None:
        return [_place(text.strip()) for text in arguments.places.split(",")], ""
    kind = KINDS.get(arguments.site)
    if kind is not None and (kind.head_axis is not None or kind.name == "mlp_post"):
        return "all", "all positions patched together; --places each takes them apart"
    if len(pairs.by_length) == 1:
        return "each", ""
    lengths = ", ".join(map(str, pairs.by_length))
    return pairs.places, (
        f"prompts of {lengths} tokens have no positions in common: patched at the places that all "
        "of them name; --places chooses"
    )


def _list(arguments: Namespace) -> int:
    from workbench.patching import MEASURES, SWEPT
    from workbench.tasks import TASKS

    measures = {name: (one.__doc__ or "").splitlines()[0] for name, one in MEASURES.items()}
    if arguments.json:
        tasks = {
            name: {"about": task.about, "source": task.source, "corruptions": task.corruptions}
            for name, task in TASKS.items()
        }
        output.dump({"tasks": tasks, "sites": SWEPT, "metrics": measures})
        return 0
    output.table(
        "tasks",
        ["task", "what is asked", "corruptions", "source"],
        [
            [name, task.about, ", ".join(task.corruptions) or "one", task.source]
            for name, task in TASKS.items()
        ],
    )
    output.table("sites", ["site", "what it is"], list(SWEPT.items()))
    output.table("metrics", ["metric", "what it is"], list(measures.items()))
    return 0


# What is shown


def _nothing(found: Sweep) -> float:
    """The effect of a patch that changes nothing."""
    return 0.0 if found.direction == "denoising" else 1.0


def _name(found: Sweep, layer: int, component: int, *, long: bool = False) -> str:
    part = found.components[component]
    site = Site(found.site, found.layers[layer])
    if long:
        return f"{site.long} {part}".rstrip()
    if part.startswith("H"):
        return str(Site(site.name, site.layer, int(part[1:])))
    return f"{site} {part}".rstrip()


def _tell(
    model: Model,
    pairs: Pairs,
    found: Sweep,
    effects: Interval,
    shown: list[str],
    top: int,
    why: str,
) -> None:
    output.say(_note(model, pairs, found))
    if why:
        output.say(why)
    change = (effects.mean - _nothing(found)).flatten().abs().nan_to_num(-1.0)
    rows = []
    for flat in change.argsort(descending=True, stable=True)[:top].tolist():
        rest, place = divmod(flat, len(shown))
        layer, component = divmod(rest, len(found.components))
        mean, low, high = (
            float(bound.flatten()[flat]) for bound in (effects.mean, effects.low, effects.high)
        )
        interval = f"{low:+.3f} to {high:+.3f}" if len(pairs) > 1 else "one pair"
        rows.append([_name(found, layer, component), shown[place], f"{mean:+.3f}", interval])
    output.table(
        f"strongest effects of {change.numel():,}: 0 is corrupted, 1 is clean",
        ["site", "place", "effect", "95 % interval"],
        rows,
    )
    output.say(
        f"{found.forwards:,} forwards, {found.tokens:,} tokens; memory "
        f"{_real(model, found.spent) / 1e9:.2f} GB, {found.predicted / 1e9:.2f} GB predicted; "
        f"{found.spent.seconds:.1f} s"
    )


def _note(model: Model, pairs: Pairs, found: Sweep) -> str:
    """What was done, and both anchors."""
    clean, corrupted = float(found.clean.mean()), float(found.corrupted.mean())
    what = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs of {pairs.name}"
    at = "on average" if found.at == "all" else f"at {found.at}"
    return (
        f"{found.direction} {found.site} over {what}: {found.metric} {at} {clean:.4f} clean, "
        f"{corrupted:.4f} corrupted (means); {model.name}, {model.processing}"
    )


def _real(model: Model, spent: Spent) -> int:
    return spent.device if model.device.type == "cuda" else spent.host


def _plain(
    model: Model, pairs: Pairs, found: Sweep, effects: Interval, shown: list[str]
) -> dict[str, Any]:
    first = pairs.rows[0]
    bounded = len(pairs) > 1  # the bootstrap of one pair is the pair: no interval
    return {
        "model": model.name,
        "fingerprint": model.identity.fingerprint,
        "task": pairs.name,
        "pairs": len(pairs),
        "site": found.site,
        "metric": found.metric,
        "at": found.at,
        "direction": found.direction,
        "layers": list(found.layers),
        "components": list(found.components),
        "places": list(found.places),
        "labels": shown,
        "effects": {
            "axes": ["layer", "component", "place"],
            "mean": _finite(effects.mean),
            "low": _finite(effects.low) if bounded else None,
            "high": _finite(effects.high) if bounded else None,
            "confidence": 0.95,
        },
        "clean": found.clean.tolist(),
        "corrupted": found.corrupted.tolist(),
        "first_pair": {
            "clean": list(first.clean.strings),
            "corrupted": list(first.corrupted.strings),
            "answers": [model.vocabulary.string(token) for token in first.answers],
            "wrongs": [model.vocabulary.string(token) for token in first.wrongs],
            "places": dict(first.places),
        },
        "forwards": found.forwards,
        "tokens": found.tokens,
        "memory": {"predicted": found.predicted, "real": _real(model, found.spent)},
        "seconds": found.spent.seconds,
    }


def _finite(values: Tensor) -> list:
    """As lists; a bound at infinity, where drawn pairs have equal anchors, is null."""
    return values.masked_fill(~values.isfinite(), float("nan")).tolist()


def _write(
    path: Path, model: Model, pairs: Pairs, found: Sweep, effects: Interval, shown: list[str]
) -> None:
    from workbench import figures

    plots, left = _heatmaps(pairs, found, effects, shown)
    one = pairs.rows[0]
    note = (
        f"{_note(model, pairs, found)}. 0 is corrupted, 1 is clean; 95 % bootstrap intervals over "
        f"pairs. First pair: {one.clean.text!r}, {one.corrupted.text!r}."
    )
    if left:
        note += f" {left} places with weaker effects, or none, are left out."
    output.write_html(path, figures.page(plots, title="Activation patching", note=note))


def _heatmaps(
    pairs: Pairs, found: Sweep, effects: Interval, shown: list[str]
) -> tuple[list[Figure], int]:
    """Layer by place, or layer by head at each place; and how many places are left out."""
    from workbench import figures

    mean, low, high = (x.numpy() for x in (effects.mean, effects.low, effects.high))
    change = abs(mean - _nothing(found))
    layers = [f"L{layer}" for layer in found.layers]

    def drawn(part: tuple, columns: Sequence[str], axis: str, title: str, names) -> Figure:
        bounds = (low[part], high[part]) if len(pairs) > 1 else (None, None)
        return figures.effects(
            mean[part],
            *bounds,
            layers,
            columns,
            axes=("layer", axis),
            title=title,
            names=names,
            nothing=_nothing(found),
            limit=float(change[abs(change) < float("inf")].max(initial=0.0)),
        )

    def named(layer: int, component: int, place: int) -> str:
        return f"{_name(found, layer, component, long=True)} at {shown[place]}"

    every, parts = range(len(layers)), range(len(found.components))
    what = f"{found.site}, {found.direction}, {found.metric}"
    if found.components == ("",):
        names = [[named(layer, 0, place) for place in range(len(shown))] for layer in every]
        return [drawn((slice(None), 0), shown, "place", what, names)], 0
    best = change.max(axis=(0, 1))
    order = [place for place in (-best).argsort(kind="stable").tolist() if best[place] > 0]
    chosen = sorted(order[:MOST_HEATMAPS]) or [0]
    plots = []
    for place in chosen:
        names = [[named(layer, part, place) for part in parts] for layer in every]
        title = f"{what}: patched at {shown[place]}"
        axis = "neuron" if found.site == "mlp_post" else "head"
        at = (slice(None), slice(None), place)
        plots.append(drawn(at, list(found.components), axis, title, names))
    return plots, len(shown) - len(chosen)


COMMAND = Command("which activations carry an answer: exact patching over pairs", configure, run)

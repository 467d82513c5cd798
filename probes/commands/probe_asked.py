"""What `workbench probe` is asked: its arguments, a config file beneath them, labels and files."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands import config, options
from workbench.commands.corpus import add_bos, add_corpus, open_corpus
from workbench.errors import InputError
from workbench.registry import listed

if TYPE_CHECKING:  # torch must not load for --help
    from probes.sweep import Sweep
    from workbench.labels import Labelled
    from workbench.models import Model

ACTIONS = ("train", "sweep", "evaluate", "intervene")
KINDS = ("logistic", "ridge", "mean-difference", "mlp")
CONTEXTS = 1000
FILES = (".csv", ".jsonl", ".ndjson", ".txt", ".tagged")
_NOT_KEPT = ("action", "file", "config", "json", "html", "out", "save_direction")
_OF_THE_PROBES = ("device", "threads", "sites", "site", "kind", "strength", "among", "mdl")
BOARD = "intervene with probes of a board"
ERASURE = "intervene with probes of other labels"
DIRECTION = "intervene --save-direction"
_SAMPLES = ("labels", "at", "corpus", "contexts", "n_ctx", "max_tokens", "text", "split", "subset")
_SAMPLES = (*_SAMPLES, "bos", "batch")
_FITTING = ("kind", "strength", "no_random", "mdl", "html", "out")
_CHANGING = ("change", "method", "cases")
_SAVING = ("save_direction", "class_", "against", "task")
_UNUSED = {
    "train": ("sites", *_CHANGING, *_SAVING),
    "sweep": (*_CHANGING, *_SAVING),
    "evaluate": ("site", *_FITTING, *_CHANGING, *_SAVING),
    BOARD: ("site", "sites", "among", *_SAMPLES, *_FITTING, *_SAVING),
    ERASURE: ("sites", "among", *_FITTING, *_CHANGING, *_SAVING),
    DIRECTION: ("sites", "among", "seed", "json", *_SAMPLES, *_FITTING, *_CHANGING),
}


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("file", nargs="?", type=Path, help="evaluate, intervene: saved probes")
    parser.add_argument("--config", type=Path, help="a JSON object of these arguments")
    _add_labels(parser)
    probe = parser.add_argument_group("probes")
    probe.add_argument("--site", help="train, intervene: one place, such as 4.resid_post")
    probe.add_argument("--sites", help="sweep: places (0.resid_pre and *.resid_post)")
    strength = "alpha of ridge, C of logistic (default: the best on held-out documents)"
    probe.add_argument("--kind", choices=KINDS, default="logistic", help="(default: %(default)s)")
    probe.add_argument("--strength", type=float, help=strength)
    probe.add_argument("--among", metavar="C,C", help="a report over these classes besides")
    probe.add_argument("--no-random", action="store_true", help="no model with random weights")
    probe.add_argument("--mdl", action="store_true", help="the online code of the labels besides")
    probe.add_argument("--batch", type=int, default=32, help="contexts in a forward (32)")
    probe.add_argument("--out", type=Path, help="keep the probes in this file (the home's probes)")
    causal = parser.add_argument_group("intervene")
    causal.add_argument(
        "--change",
        choices=("flip", "erase"),
        default="flip",
        help="turn a disc of the board over, or take it off (default: %(default)s)",
    )
    causal.add_argument(
        "--method",
        choices=("addition", "difference", "gradient"),
        default="addition",
        help="along a column, a difference of two, down the loss (default: %(default)s)",
    )
    causal.add_argument("--cases", type=int, default=400, help="boards that are changed (400)")
    causal.add_argument(
        "--save-direction", type=Path, metavar="FILE", help="instead: a class' direction, to steer"
    )
    causal.add_argument("--class", dest="class_", help="with --save-direction: of this class")
    causal.add_argument("--against", help="less the direction of that one")
    causal.add_argument("--task", help="of this task (the first)")
    options.add_model(parser)
    options.add_output(parser)
    config.put_beneath(parser, "sweep")


def _add_labels(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("labels")
    group.add_argument("--labels", help="a name, or a .csv, .jsonl or tagged .txt file")
    group.add_argument("--at", choices=("last", "first"), default="last", help="token of a word")
    group.add_argument("--corpus", help="named labels: of this corpus (what they draw themselves)")
    group.add_argument("--contexts", type=int, help=f"so many of it ({CONTEXTS:,})")
    group.add_argument("--seed", type=int, default=0, help="of samples, split and controls (0)")
    add_corpus(parser)
    add_bos(parser)


def asked(arguments: Namespace) -> Namespace:
    """What was typed, then the config file, then what saved probes were made with, then defaults.

    Raises `InputError` for a config that is none, and where a file of probes lacks or is too much.
    """
    given, beneath = config.typed(arguments)
    needs = arguments.action in ("evaluate", "intervene")
    found = config.read(configure, arguments.action, given.get("config"))
    file = given.get("file", found.get("file"))
    if needs != (file is not None):
        told = (
            "needs a file of probes; give FILE" if needs else "takes no file of probes; see --out"
        )
        raise InputError(f"`workbench probe {arguments.action}` {told}")
    card: dict[str, Any] = {}
    if file is not None:
        from probes.saved import about_sweep  # torch loads here, not for --help

        kept = about_sweep(file).get("arguments", {})
        kept = {k: v for k, v in kept.items() if k not in _OF_THE_PROBES}
        card = config.parsed(configure, arguments.action, kept, f"{file}: arguments")
    return _checked(Namespace(**{**beneath, **card, **found, **given}))


def check_used(typed: Mapping[str, Any], way: str) -> None:
    """Raise `InputError` for arguments that were typed and that this way of acting does not use."""
    if unused := [f"--{n.strip('_').replace('_', '-')}" for n in _UNUSED[way] if n in typed]:
        raise InputError(f"workbench probe {way} takes no {', '.join(unused)}")


def _checked(arguments: Namespace) -> Namespace:
    faults = [
        f"--{name} {getattr(arguments, name)} should be {least} or more"
        for name, least in (("contexts", 1), ("batch", 1), ("cases", 1), ("seed", 0))
        if getattr(arguments, name) is not None and getattr(arguments, name) < least
    ]
    if arguments.action == "train" and not arguments.site:
        faults.append("train needs --site, such as 4.resid_post; sweep takes several")
    if arguments.action == "sweep" and arguments.site:
        faults.append("sweep takes --sites; train takes one --site")
    if arguments.mdl and arguments.kind not in ("logistic", "mlp"):
        faults.append(
            f"--mdl needs probabilities, which {arguments.kind} does not give: logistic, mlp"
        )
    for out in (arguments.out, arguments.save_direction):
        if out is not None and (out.is_dir() or not out.resolve().parent.is_dir()):
            faults.append(f"cannot write {out}: give a file in a folder that exists")
    if faults:
        raise InputError("; ".join(faults))
    return arguments


def reproducing(arguments: Namespace) -> dict[str, Any]:
    """The object that `--config` takes to do the same again."""
    plain = {
        name: value
        for name, value in vars(arguments).items()
        if name not in (*_NOT_KEPT, "run", "command", "verbose")
        and value is not None
        and value is not False  # 0 is a seed
    }
    if Path(plain["labels"]).suffix.lower() in FILES:
        plain["labels"] = str(Path(plain["labels"]).expanduser().resolve())
    if Path(plain["model"]).is_dir():
        plain["model"] = str(Path(plain["model"]).resolve())
    return plain


def places(arguments: Namespace) -> list[str]:
    """The sites to probe, as they were asked for."""
    if arguments.action == "train":
        return [arguments.site]
    if arguments.sites is None:
        return ["0.resid_pre", "*.resid_post"]
    return [one.strip() for one in arguments.sites.split(",")]


def classes(arguments: Namespace) -> tuple[str, ...]:
    """The classes of --among."""
    text = arguments.among or ""
    return tuple(one.strip() for one in text.split(",") if one.strip())


def open_labels(arguments: Namespace, model: Model) -> Labelled:
    """The labels that the arguments name. Raises `InputError` where there are none."""
    from probes.text import SHIPPED
    from workbench.labels import label_source, read_labels

    name = arguments.labels
    known = [*listed("labels"), *SHIPPED]
    if name is None:
        raise InputError(f"give --labels: {', '.join(known)}, or a file of your own")
    path = SHIPPED.get(name, Path(name))
    if path.suffix.lower() in FILES:
        if arguments.corpus or arguments.contexts:
            raise InputError(f"{name} has its own texts; leave --corpus and --contexts out")
        return read_labels(path, model, bos=options.bos(arguments), at=arguments.at)
    if name not in known:
        raise InputError(
            f"there are no labels {name!r}; {config.near(name, known)}known: "
            f"{', '.join(known)}, or a file ({', '.join(FILES)})"
        )
    source, n = label_source(name), arguments.contexts or CONTEXTS
    if arguments.corpus:
        whole = open_corpus(arguments, arguments.corpus, model)
        return source.label(whole.part(0, min(n, len(whole))), model.vocabulary)
    if source.corpus is None:
        raise InputError(f"labels {name} are of a corpus; give --corpus NAME")
    return source.label(source.corpus(model.vocabulary, n, arguments.seed), model.vocabulary)


def place_to_keep(arguments: Namespace, sweep: Sweep, again: Mapping[str, Any]) -> Path:
    """--out, or a file under the home, named after what was asked.

    A file there that other arguments than `again` made stays: the name gets a number.
    """
    from workbench.home import home

    if arguments.out is not None:
        return arguments.out
    folder = home() / "probes"
    folder.mkdir(parents=True, exist_ok=True)
    short = sweep.model["name"].rstrip("/").split("/")[-1]
    what = [short, sweep.labels, sweep.kind, *([arguments.site] if arguments.site else [])]
    stem = re.sub(r"[^\w.-]+", "-", " ".join(what))
    names = (f"{stem}{'' if n == 1 else f'-{n}'}.safetensors" for n in count(1))
    return next(folder / name for name in names if _free(folder / name, again))


def _free(path: Path, again: Mapping[str, Any]) -> bool:
    """Whether there is no file, or one of the very same arguments."""
    from probes.saved import about_sweep

    try:
        return not path.exists() or about_sweep(path).get("arguments") == again
    except InputError:
        return False  # of an older format, or damaged: not ours to overwrite

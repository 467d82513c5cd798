"""What `workbench sae` is asked: its arguments, a config file beneath them, recipes."""

from __future__ import annotations

import itertools
import re
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands import config, options
from workbench.commands.corpus import add_bos, add_corpus
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load for --help
    from sae.recipe import Recipe
    from workbench.corpus import Corpus
    from workbench.models import Model

ACTIONS = ("train", "sweep", "evaluate", "features", "export")
FORMS = ("float32", "float16", "bfloat16", "sparsify", "dictionary_learning")
OF_AN_SAE = ("evaluate", "features", "export")
_NUMBERS = {
    "kind": str,
    "width": int,
    "k": int,
    "penalty": float,
    "steps": int,
    "batch": int,
    "rate": float,
    "dead_after": int,
    "resample": int,
    "seed": int,
}
_SWEPT = ("kind", "width", "k", "penalty", "rate", "seed")
_OF_ONE_RUN = ("action", "config", "json", "html", "out", "resume", "dry_run", "run", "command")
_OF_THE_MACHINE = ("device", "threads", "store_limit", "verbose")
_TRAINING = (*_NUMBERS, "to", "free", "no_skip", "bfloat16", "resume", "dry_run")
_ONLY = {  # what takes an argument that not all of them take
    **dict.fromkeys(_TRAINING, ("train", "sweep")),
    **dict.fromkeys(("contexts", "no_rivals", "labels", "among", "against"), ("evaluate",)),
    **dict.fromkeys(("random", "again"), ("features",)),
    **dict.fromkeys(("first", "neuronpedia", "form"), ("export",)),
    "latent": ("features", "export"),
    "out": ("train", "sweep", "export"),
    "html": ("evaluate", "export"),
    "insist": OF_AN_SAE,
}
_EXPANSION = 8  # latents a dimension, where no width is given


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("file", nargs="?", type=Path, metavar="SAE", help="evaluate, features, "
                        "export: its folder or name")  # fmt: skip
    parser.add_argument("--config", type=Path, help="a JSON object of these arguments")
    parser.add_argument("--insist", action="store_true", help="take an SAE of another model where "
                        "it fits; every output says so")  # fmt: skip
    data = parser.add_argument_group("activations")
    data.add_argument("--corpus", default="smol-sample", help="text to read, or labels that "
                      "draw their own, such as othello-mine (%(default)s)")  # fmt: skip
    data.add_argument("--site", help="a place with one vector for each token, such as "
                      "12.resid_post; several with commas between: a crosscoder")  # fmt: skip
    data.add_argument("--to", metavar="SITE", help="a transcoder: from --site (12.mlp_in) to this "
                      "(12.mlp_out)")  # fmt: skip
    data.add_argument("--stream", action="store_true", help="activations are made when they are "
                      "needed, none are kept")  # fmt: skip
    add_corpus(parser)
    add_bos(parser)
    how = parser.add_argument_group("training (sweep: several of a kind, with commas between)")
    how.add_argument("--kind", default="topk", help="topk, batchtopk, matryoshka, standard, "
                     "jumprelu, gated (%(default)s)")  # fmt: skip
    how.add_argument("--width", help=f"latents ({_EXPANSION} a dimension)")
    how.add_argument("--k", default="32", help="active latents of a row (%(default)s)")
    how.add_argument("--penalty", default="1", help="of standard, jumprelu, gated (%(default)s)")
    how.add_argument("--steps", default="3000", help="batches (%(default)s)")
    how.add_argument("--batch", default="2048", help="rows in a batch (%(default)s)")
    how.add_argument("--rate", default="2e-3", help="learning rate (%(default)s)")
    how.add_argument("--dead-after", default="500000", metavar="ROWS", help="silent for so many "
                     "rows, a latent counts as dead (%(default)s)")  # fmt: skip
    how.add_argument("--seed", default="0", help="of the first weights (%(default)s)")
    how.add_argument("--resample", default="0", metavar="STEPS", help="begin dead latents anew "
                     "each so many steps (never)")  # fmt: skip
    how.add_argument("--free", action="store_true", help="decoder rows of any length (standard, "
                     "jumprelu, gated)")  # fmt: skip
    how.add_argument("--no-skip", action="store_true", help="a transcoder without a linear skip")
    how.add_argument("--bfloat16", action="store_true", help="choose latents in bfloat16: faster")
    how.add_argument("--out", type=Path, metavar="FOLDER", help="where it lies (the home's saes)")
    how.add_argument("--resume", action="store_true", help="go on where it was stopped")
    how.add_argument("--dry-run", action="store_true", help="tell what it would cost, and stop")
    judged = parser.add_argument_group("evaluate")
    judged.add_argument("--contexts", type=int, default=200, help="held-out contexts that losses "
                        "are told on (%(default)s)")  # fmt: skip
    judged.add_argument("--no-rivals", action="store_true", help="without PCA and random ones")
    judged.add_argument("--labels", metavar="NAME|FILE", help="instead: what latents say of these "
                        "labels (othello-mine, or a .csv, .jsonl or tagged .txt file)")  # fmt: skip
    judged.add_argument("--among", metavar="C,C", help="of these classes only")
    judged.add_argument("--against", type=Path, nargs="+", metavar="SAE", help="instead: whether "
                        "these have the same latents")  # fmt: skip
    shown = parser.add_argument_group("features")
    shown.add_argument("--latent", metavar="N,N", help="show these")
    shown.add_argument("--random", type=int, default=15, help="without --latent: so many, drawn "
                       "by chance (%(default)s)")  # fmt: skip
    shown.add_argument("--again", action="store_true", help="read the corpus again")
    written = parser.add_argument_group("export (pages with --html; --latent chooses)")
    written.add_argument("--first", type=int, default=100, help="without --latent: pages of so "
                         "many (%(default)s)")  # fmt: skip
    written.add_argument("--neuronpedia", type=Path, metavar="FOLDER", help="upload JSON")
    written.add_argument("--as", dest="form", choices=FORMS, default=FORMS[0], help="a copy in "
                         "--out: SAELens' with weights so stored, or another library's "
                         "(%(default)s)")  # fmt: skip
    options.add_model(parser)
    options.add_store(parser)
    options.add_output(parser)
    config.put_beneath(parser, "train")


def asked(arguments: Namespace) -> Namespace:
    """What was typed, then the config file, then what an SAE was made with, then defaults.

    Raises `InputError` for a config that is none, where an SAE's folder lacks or is too much, and
    for what was typed and is not used.
    """
    given, beneath = config.typed(arguments)
    unused = [name for name in given if arguments.action not in _ONLY.get(name, ACTIONS)]
    if unused:
        told = ", ".join("--as" if n == "form" else f"--{n.replace('_', '-')}" for n in unused)
        raise InputError(f"`workbench sae {arguments.action}` takes no {told}")
    found = config.read(configure, arguments.action, given.get("config"))
    file = given.get("file", found.get("file"))
    if (arguments.action in OF_AN_SAE) != (file is not None):
        told = "takes no SAE; see --out" if file is not None else "needs an SAE; give its folder"
        raise InputError(f"`workbench sae {arguments.action}` {told}")
    card: dict[str, Any] = {}
    if file is not None:
        from sae.saved import about_sae  # torch loads here, not for --help

        about = about_sae(file)
        own = {"site": ",".join([about["site"], *about.get("others", [])]), "to": about.get("out")}
        kept = own | about.get("arguments", {})
        card = config.parsed(configure, arguments.action, kept, f"{file}: arguments")
    whole = Namespace(**{**beneath, **card, **found, **given})
    if whole.site is None and arguments.action != "export":
        raise InputError(
            "give --site: a place with one vector for each token, such as 12.resid_post"
        )
    return whole


def recipes(arguments: Namespace, width: int) -> list[Recipe]:
    """One recipe, or for `sweep` one of each combination; `width` is of the site.

    Raises `InputError` for what is no number, and several of what is not swept.
    """
    from sae.recipe import Recipe

    given = {**vars(arguments), "width": arguments.width or str(_EXPANSION * width)}
    values = {name: _values(arguments.action, name, str(given[name])) for name in _NUMBERS}
    return [
        Recipe(
            **dict(zip(values, one, strict=True)),
            bfloat16=arguments.bfloat16,
            free=arguments.free,
            skip=arguments.to is not None and not arguments.no_skip,
        )
        for one in itertools.product(*values.values())
    ]


def _values(action: str, name: str, text: str) -> list[Any]:
    kind = _NUMBERS[name]
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 1 and (action != "sweep" or name not in _SWEPT):
        told = "sweep takes several" if name in _SWEPT else f"sweep takes several of {_SWEPT}"
        raise InputError(f"--{name.replace('_', '-')} {text} is more than one; {told}")
    try:
        return [kind(float(part)) if kind is int and "e" in part else kind(part) for part in parts]
    except ValueError as error:
        what = {int: "a whole number", float: "a number"}[kind]
        raise InputError(f"--{name.replace('_', '-')} takes {what}, not {text!r}") from error


def latents(arguments: Namespace) -> list[int]:
    """Those of --latent. Raises `InputError` for what is no number."""
    try:
        return [int(part) for part in (arguments.latent or "").split(",") if part.strip()]
    except ValueError as error:
        raise InputError(
            f"--latent takes numbers with commas between, not {arguments.latent!r}"
        ) from error


def reproducing(arguments: Namespace) -> dict[str, Any]:
    """The object that `--config` takes to do the same again."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(arguments).items()
        if name not in (*_OF_ONE_RUN, *_OF_THE_MACHINE)
        and "train" in _ONLY.get(name, ACTIONS)
        and value is not None
        and value is not False
    }


def folder(arguments: Namespace, model: Model, corpus: Corpus) -> Path:
    """--out, or a folder under the home, named after what was asked."""
    from workbench.home import home

    if arguments.out is not None:
        return arguments.out
    short = model.name.rstrip("/").split("/")[-1]
    ends = [arguments.site, arguments.to or ""]
    what = [short, *ends, arguments.kind, arguments.width or "", Path(corpus.name).stem]
    return home() / "saes" / re.sub(r"[^\w.-]+", "-", " ".join(filter(None, what)))

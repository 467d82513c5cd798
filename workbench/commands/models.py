"""`workbench models`: what can be loaded, what a model is, fetching and removing."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

from workbench.commands import options, output
from workbench.errors import InputError
from workbench.registry import Command


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "info", "pull", "remove", "convert"))
    parser.add_argument("name", nargs="?", help="built-in name, folder, Hub name; or a file")
    options.add_model(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    other = parser.add_argument_group("convert", "a safetensors state dict of other code")
    other.add_argument("--to", type=Path, help="the new model's folder")
    other.add_argument("--layout", default="TransformerLens", help="minGPT, minGPT-2020, ...")
    other.add_argument("--heads", type=int, help="needed where the weights do not tell")
    other.add_argument("--act", default="gelu", help="gelu, gelu_new, relu, silu, solu_ln (gelu)")
    other.add_argument("--normalization", default="LN", help="LN, LNPre (folded in) or none (LN)")
    other.add_argument("--labels", type=Path, help="a text file, a token's label in each line")


def run(arguments: Namespace) -> int:
    if arguments.action == "list":
        return _list(arguments)
    if not arguments.name:
        raise InputError(f"`workbench models {arguments.action}` needs a name; see `models list`")
    return {"info": _info, "pull": _pull, "remove": _remove, "convert": _convert}[arguments.action](
        arguments
    )


def _list(arguments: Namespace) -> int:
    from workbench.models import built_ins, installed  # transformers load here, not for --help

    rows = [
        {
            "name": name,
            "ready": installed(name),
            "what": model.about,
            "licence": model.licence,
        }
        for name, model in built_ins().items()
    ]
    if arguments.json:
        output.dump(rows)
        return 0
    output.table("built-in models", list(rows[0]), [list(row.values()) for row in rows])
    output.say("Also: a folder in the Hub's format, or a Hub name (gpt2, EleutherAI/pythia-70m).")
    return 0


def _info(arguments: Namespace) -> int:
    from workbench import hooks

    arguments.model = arguments.name
    model = options.open_model(arguments)
    started = time.perf_counter()
    identity = model.identity
    seconds = time.perf_counter() - started
    n_bytes = sum(weight.nbytes for weight in model.weights.parameters())
    bos = model.vocabulary.bos_id
    about = {
        "name": model.name,
        **asdict(model.architecture),
        **asdict(identity),
        "fingerprint": identity.fingerprint,
        "fingerprint GB/s": round(n_bytes / 1e9 / seconds, 2),
        "device": str(model.device),
        "BOS": None if bos is None else model.vocabulary.string(bos),
    }
    sites = {
        site.name: {"long": site.long, "axes": site.kind.axes, "about": site.kind.about}
        for site in hooks.sites(model)
        if site.layer in (None, 0)
    }
    if arguments.json:
        output.dump({**about, "sites": sites})
        return 0
    output.table(model.name, ["what", "value"], list(about.items()))
    output.table(
        "sites (layer 0 shown)",
        ["short", "long", "axes", "what"],
        [[name, *site.values()] for name, site in sites.items()],
    )
    return 0


def _pull(arguments: Namespace) -> int:
    from workbench.models import built_ins, folder_of

    built_in = built_ins().get(arguments.name)
    if built_in is not None and built_in.install is None:
        where = "made in code, nothing to fetch"
    else:
        with options.stages() as say:
            where = str(folder_of(arguments.name, say=say))
    if arguments.json:
        output.dump({"name": arguments.name, "where": where})
    else:
        output.say(f"{arguments.name}: {where}")
    return 0


def _remove(arguments: Namespace) -> int:
    from workbench.models import remove

    folder = remove(arguments.name)
    if arguments.json:
        output.dump({"removed": str(folder)})
    else:
        output.say(f"removed {folder}")
    return 0


def _convert(arguments: Namespace) -> int:
    from workbench.models.foreign import convert

    if arguments.to is None:
        raise InputError("`workbench models convert FILE` needs --to, the new model's folder")
    shape = convert(
        Path(arguments.name),
        arguments.to,
        arguments.layout,
        None if arguments.labels is None else _lines(arguments.labels),
        n_heads=arguments.heads,
        act_fn=arguments.act,
        normalization=arguments.normalization,
    )
    if arguments.json:
        output.dump({"folder": str(arguments.to), **asdict(shape)})
    else:
        output.table(str(arguments.to), ["what", "value"], list(asdict(shape).items()))
        output.say(f"load it by its folder: --model {arguments.to}")
    return 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from error


COMMAND = Command("list, describe, fetch, remove or convert models", configure, run)

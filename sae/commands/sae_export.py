"""`workbench sae export`: feature pages, Neuronpedia's upload, a copy in another form."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from sae.commands.sae_asked import latents
from sae.commands.sae_features import atlas_for
from sae.commands.sae_opened import mark, marked, opened_apart
from workbench.commands import options, output
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load for --help
    from sae.atlas import Atlas
    from sae.dictionary import SAE


def export(arguments: Namespace) -> int:
    # torch loads here, not for --help
    from sae.saved import load_sae

    if arguments.out is None and arguments.html is None and arguments.neuronpedia is None:
        raise InputError(
            "nothing to export: give --html FILE, --neuronpedia FOLDER, or --out FOLDER with --as"
        )
    if arguments.first < 1:
        raise InputError("--first takes a whole number from 1")
    sae = load_sae(arguments.file)
    made: list[Path] = []
    if arguments.out is not None:
        _copy(sae, arguments)
        made.append(arguments.out)
    if arguments.html is not None or arguments.neuronpedia is not None:
        sae, atlas = _atlas(arguments, sae)
        made += [_html(atlas, sae, arguments)] if arguments.html is not None else []
        made += [_neuronpedia(atlas, sae, arguments)] if arguments.neuronpedia is not None else []
    if arguments.json:
        output.dump({"files": [str(path) for path in made], **marked(sae)})
    else:
        output.say(f"written: {', '.join(map(str, made))}{mark(sae)}")
    return 0


def _copy(sae: SAE, arguments: Namespace) -> None:
    import torch

    from sae.foreign import save_foreign
    from sae.saved import save_sae

    if arguments.form in ("sparsify", "dictionary_learning"):
        arguments.out = save_foreign(sae, arguments.out, arguments.form)
    else:
        save_sae(sae, arguments.out, getattr(torch, arguments.form))


def _atlas(arguments: Namespace, sae: SAE) -> tuple[SAE, Atlas]:
    """What is at hand; where nothing is, the model and the corpus are read."""
    from sae.atlas import atlas_of

    kept = None if arguments.again or arguments.insist else atlas_of(arguments.file)
    if kept is not None:
        return sae, kept
    model = options.open_model(arguments)
    sae = opened_apart(arguments, model)
    return sae, atlas_for(arguments, sae, model)


def _html(atlas: Atlas, sae: SAE, arguments: Namespace) -> Path:
    from sae.feature_pages import feature_page

    asked = latents(arguments) or list(range(min(arguments.first, atlas.n_latents)))
    whose = (sae.model or {}).get("name", "a model that is not named")
    text = feature_page(
        atlas,
        asked,
        title=f"Features of {Path(arguments.file).name}",
        about=f"{sae.name}, {sae.kind}, {sae.n_latents:,} latents, of {whose}{mark(sae)}.",
    )
    output.write_html(arguments.html, text)
    return arguments.html


def _neuronpedia(atlas: Atlas, sae: SAE, arguments: Namespace) -> Path:
    from sae.neuronpedia import Source, write_neuronpedia

    layer = sae.writes[-1].layer
    if layer is None:
        raise InputError(f"{sae.name} is of no layer; Neuronpedia asks for one")
    named = (sae.model or {}).get("name") or arguments.model
    if named is None:
        raise InputError("nobody knows whose dictionary this is; give --model")
    source = Source(Path(named).name, layer, Path(arguments.file).name)
    write_neuronpedia(atlas, arguments.neuronpedia, source, latents(arguments) or None)
    return arguments.neuronpedia

"""The SAE that a command works on: of the model at hand, or insisted on and marked so."""

from __future__ import annotations

import re
from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load for --help
    from sae.dictionary import SAE
    from workbench.corpus import Corpus
    from workbench.models import Model


def opened(arguments: Namespace, model: Model) -> SAE:
    """Raises `InputError` for an SAE of another model, but with --insist where it fits at all."""
    from sae.saved import load_sae

    return load_sae(arguments.file, model, insist=arguments.insist)


def opened_apart(arguments: Namespace, model: Model) -> SAE:
    """The same; one that was insisted on is copied, and --file is the copy from now on.

    What is found in this model is kept beside the copy: beside the SAE lies what is of its own.
    """
    import torch

    from sae.saved import load_sae, save_sae
    from workbench.home import home

    sae = opened(arguments, model)
    if not marked(sae):
        return sae
    name = re.sub(r"[^\w.-]+", "-", f"{arguments.file} on {model.name}").strip("-")
    folder = home() / "saes" / name
    if not folder.exists():
        save_sae(sae, folder)
    elif not torch.equal(load_sae(folder).W_dec, sae.W_dec):
        raise InputError(f"{folder} is of another SAE by that name; delete it")
    arguments.file = folder
    return sae


def check_held_out(sae: SAE, corpus: Corpus, insist: bool) -> SAE:
    """Raise `InputError` where what is held out may be what the SAE was trained on.

    Which documents are held out depends on the whole corpus: another cut of it has others. With
    `insist` the SAE is marked.
    """
    whose = sae.card.get("corpus") or {}
    if whose.get("name") != corpus.name or whose.get("digest") in (None, corpus.digest):
        return sae
    told = (
        f"the SAE was trained on another cut of {corpus.name}, so that documents held out here may "
        "have trained it"
    )
    if not insist:
        raise InputError(
            f"{told}; give the same --n-ctx and --max-tokens, another text, or --insist"
        )
    return replace(sae, card={**sae.card, "insisted": told})


def marked(sae: SAE) -> dict[str, str]:
    """What every output of an SAE that was insisted on says, and nothing for others."""
    told = sae.card.get("insisted")
    return {} if told is None else {"insisted": f"used in spite of this: {told}"}


def mark(sae: SAE) -> str:
    """The same, to put behind a name in a title."""
    return "".join(f" ({told})" for told in marked(sae).values())

"""Dictionaries on disk: SAELens' folder (cfg.json, sae_weights.safetensors), and a card beside.

So `SAE.load_from_disk` of sae-lens reads what is written here, and what it wrote is read here.
Transcoders and crosscoders lie in the same files, under names that SAELens refuses. What other
trainers wrote is read by `foreign`, what was released on the Hub comes through `releases`.
"""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae.dictionary import SAE, check_sae
from sae.folders import WHAT, read_json, read_tensors, weights_of, write_new
from sae.foreign import read_foreign
from sae.releases import fetch, kept, upgraded
from workbench.carded import checksum, damaged
from workbench.errors import InputError, misfit
from workbench.home import home, typed
from workbench.models import Model
from workbench.sites import Site

CONFIG, WEIGHTS, CARD = "cfg.json", "sae_weights.safetensors", "card.json"
OLDEST_PEER = "6.50.0"  # of SAELens, as pyproject.toml asks for
FORMAT = 1
SHIPPED = {folder.name: folder for folder in sorted((Path(__file__).parent / "shipped").glob("*/"))}
_KNOWN = ("topk", "jumprelu", "standard")
_OURS = ("lensbench_transcoder", "lensbench_crosscoder")
_FIELDS = ("format", "site", "kind", "model", "out", "others", "config")  # not in an SAE's card


def save_sae(sae: SAE, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a new folder, whole or not at all, weights stored as `dtype`.

    Raises `InputError` where one is there already, and where the disk refuses.
    """
    plain = sae.out is None and not sae.others
    tied = plain and bool((sae.b_in == sae.b_dec).all())
    if plain and not tied and bool(sae.b_in.any()):
        raise InputError("this format has no bias of its own in front of the encoder")
    tensors = {
        "W_enc": sae.W_enc.T,
        "b_enc": sae.b_enc,
        "W_dec": sae.W_dec,
        "b_dec": sae.b_dec,
        "threshold": sae.threshold,
        "b_in": None if plain else sae.b_in,
        "W_skip": sae.skip,
    }
    stored = {
        name: value.detach().to("cpu", dtype, copy=True).contiguous()  # one memory for each
        for name, value in tensors.items()
        if value is not None
    }
    card = {
        **sae.card,
        "format": FORMAT,
        "site": str(sae.site),
        "kind": sae.kind,
        "model": None if sae.model is None else dict(sae.model),
        **({} if sae.out is None else {"out": str(sae.out)}),
        **({"others": [str(one) for one in sae.others]} if sae.others else {}),
    }
    config = _config(sae, tied)
    card |= {"config": config}
    card["checksum"] = checksum(card, stored)
    write_new(folder, WEIGHTS, stored, cfg=config, card=card)


def _config(sae: SAE, tied: bool) -> dict[str, Any]:
    architecture = "topk" if sae.threshold is None else "jumprelu"
    if sae.out is not None or sae.others:
        architecture = _OURS[bool(sae.others)]
    return {
        "architecture": architecture,
        "d_in": sae.W_enc.shape[1],
        "d_out": len(sae.b_dec),
        "d_sae": sae.n_latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": tied,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "model_name": (sae.model or {}).get("name"),
            "hook_name": sae.site.long,
            "sae_lens_version": _peer(),  # else it is read as an old one's
        },
        **({} if sae.k is None else {"k": sae.k, "rescale_acts_by_decoder_norm": False}),
    }


def _peer() -> str:
    """The version of SAELens whose format this is; the oldest one without it."""
    try:
        return version("sae-lens")
    except PackageNotFoundError:
        return OLDEST_PEER


def load_sae(name: Path | str, model: Model | None = None, *, insist: bool = False) -> SAE:
    """The dictionary in a folder (ours, SAELens', sparsify's, dictionary_learning's), by name.

    A name is that of a shipped one, of one under the home, or RELEASE/ID on the Hub. With `model`,
    it is refused where it is of another; with `insist`, only where it does not fit, and its card
    says so under "insisted".

    Raises `InputError` where there is none and for a kind that is not known, `DamagedError` for a
    file that was changed on disk.
    """
    made = _read(folder_of(name))
    return made if model is None else _fitting(made, model, insist)


def _fitting(made: SAE, model: Model, insist: bool) -> SAE:
    try:
        check_sae(made, model)
        if (wanted := made.card.get("processing", model.processing)) != model.processing:
            raise InputError(
                f"{made.name} is of a model whose weights are {wanted}, this one's are "
                f"{model.processing}; load it with --processing {wanted}"
            )
    except InputError as error:
        if not insist:
            raise
        check_sae(replace(made, model=None), model)  # its width and its site, all the same
        return replace(made, card={**made.card, "insisted": str(error)})
    return made


def about_sae(name: Path | str) -> dict[str, Any]:
    """The card in a folder; of what somebody else made, only its site. Raises as `load_sae`."""
    folder = folder_of(name)
    made = _read(folder)
    if (folder / CARD).exists():
        return read_json(folder / CARD)
    return {"site": str(made.site), "arguments": {"site": str(made.site)}}


def folder_of(name: Path | str) -> Path:
    """A folder as it is, that of a shipped dictionary, one under the home, or a release's.

    A release is fetched from the Hub where it is not here yet. Raises `InputError` for a name that
    nothing has.
    """
    folder = typed(name)
    if str(name) in SHIPPED:
        return SHIPPED[str(name)]
    if folder.exists() or folder.is_absolute() or str(name).startswith("."):
        return folder
    here = kept(str(name))
    return here if here.is_dir() else fetch(str(name))


def listed_saes() -> dict[str, Path]:
    """The shipped dictionaries, then those under the home, by name; of a sweep, `FOLDER/NAME`."""
    saes = home() / "saes"
    found = sorted({*saes.glob(f"*/{CONFIG}"), *saes.glob(f"*/*/{CONFIG}")})
    return {**SHIPPED, **{path.parent.relative_to(saes).as_posix(): path.parent for path in found}}


def _read(folder: Path) -> SAE:
    with misfit(lambda fault: damaged(folder, WHAT, "files", "those of a dictionary", repr(fault))):
        return _from_files(folder)


def _from_files(folder: Path) -> SAE:
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        foreign = read_foreign(folder)
        if foreign is None:
            raise InputError(
                f"there is no SAE in {folder}; give a folder with {CONFIG} and {WEIGHTS}, such as "
                f"`workbench sae train` writes, or a shipped one: {', '.join(SHIPPED)}"
            )
        return foreign
    config, tensors = read_json(folder / CONFIG), read_tensors(folder / WEIGHTS)
    card = read_json(folder / CARD) if (folder / CARD).exists() else None
    if card is not None:
        _check(folder, card, config, tensors)
    elif "metadata" not in config:  # of SAELens before version 6
        expected = {"W_enc": (config.get("d_in"), config.get("d_sae"))}
        weights_of(folder / WEIGHTS, tensors, expected)  # else it makes whatever the config says
        config, tensors = upgraded(folder)
    return _made(folder, config, tensors, card or {})


def _check(
    folder: Path, card: dict[str, Any], config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    expected = card.pop("checksum", None)
    if card.get("format") != FORMAT:
        raise damaged(folder / CARD, WHAT, "format", FORMAT, card.get("format"))
    if (found := checksum(card, tensors)) != expected:
        raise damaged(folder / WEIGHTS, WHAT, "checksum", expected, found)
    for name, value in card.get("config", {}).items():
        if config.get(name) != value:
            raise damaged(folder / CONFIG, WHAT, name, value, config.get(name))


def _made(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], card: dict[str, Any]
) -> SAE:
    _check_known(folder, config)
    architecture, ours = config["architecture"], config["architecture"] in _OURS
    topk = architecture == "topk" or (ours and "k" in config)
    d_in, d_sae = config.get("d_in"), config.get("d_sae")
    d = config.get("d_out", d_in) if ours else d_in
    shapes = {"W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d), "b_dec": (d,)}
    if architecture == "jumprelu" or (ours and not topk):
        shapes["threshold"] = (d_sae,)
    if ours:
        shapes |= {"b_in": (d_in,)} | ({"W_skip": (d, d_in)} if "W_skip" in tensors else {})
    weights = weights_of(folder / WEIGHTS, tensors, shapes)
    if architecture == "topk" and config.get("rescale_acts_by_decoder_norm"):
        norms = weights["W_dec"].norm(dim=1)
        weights["W_enc"], weights["b_enc"] = weights["W_enc"] * norms, weights["b_enc"] * norms
        weights["W_dec"] = weights["W_dec"] / norms[:, None]
    b_dec, threshold = weights["b_dec"], None
    if not topk:  # SAELens takes a ReLU besides
        threshold = weights.get("threshold", torch.zeros_like(weights["b_enc"])).clamp_min(0)
    centred = b_dec if config.get("apply_b_dec_to_input", True) else torch.zeros_like(b_dec)
    return SAE(
        site=Site.parse(card.get("site") or (config.get("metadata") or {}).get("hook_name") or ""),
        kind=card.get("kind", architecture),
        W_enc=weights["W_enc"].T.contiguous(),
        b_enc=weights["b_enc"],
        W_dec=weights["W_dec"],
        b_dec=b_dec,
        b_in=weights.get("b_in", centred),
        k=config.get("k") if topk else None,
        threshold=threshold,
        model=None if card.get("model") is None else dict(card["model"]),
        card=_told(config, card),
        others=tuple(Site.parse(one) for one in card.get("others", ())),
        out=Site.parse(card["out"]) if "out" in card else None,
        skip=weights.get("W_skip"),
    )


def _told(config: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    """The card's own, and how SAELens says that the model's weights were processed."""
    how = (config.get("metadata") or {}).get("model_from_pretrained_kwargs") or {}
    told = {name: value for name, value in card.items() if name not in _FIELDS}
    return {"processing": "folded", **told} if how.get("center_writing_weights") else told


def _check_known(folder: Path, config: Mapping[str, Any]) -> None:
    architecture = config.get("architecture")
    if architecture not in (*_KNOWN, *_OURS):
        raise InputError(
            f"{folder} holds a dictionary of architecture {architecture!r}; known are topk, "
            "jumprelu and standard"
        )
    if (normalised := config.get("normalize_activations", "none")) != "none":
        raise InputError(
            f"{folder} normalises activations ({normalised}); fold that into its weights with "
            "SAELens first"
        )
    if (shaped := config.get("reshape_activations", "none")) != "none":
        raise InputError(f"{folder} takes all heads in one row ({shaped}); that is not read here")

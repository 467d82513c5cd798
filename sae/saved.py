"""Dictionaries on disk: SAELens' folder (cfg.json, sae_weights.safetensors), and a card beside.

So `SAE.load_from_disk` of sae-lens reads what is written here, and what it wrote is read here.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sae.dictionary import SAE, check_sae
from workbench.carded import checksum, damaged
from workbench.errors import InputError
from workbench.fetching import appearing
from workbench.models import Model
from workbench.sites import Site

CONFIG, WEIGHTS, CARD = "cfg.json", "sae_weights.safetensors", "card.json"
FORMAT = 1
_WHAT = "SAE"
SHIPPED = {folder.name: folder for folder in sorted((Path(__file__).parent / "shipped").glob("*/"))}


def save_sae(sae: SAE, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a new folder, whole or not at all, weights stored as `dtype`.

    Raises `InputError` where one is there already.
    """
    if folder.exists():
        raise InputError(f"{folder} is there already; give another folder")
    tied = bool((sae.b_in == sae.b_dec).all())
    if not tied and bool(sae.b_in.any()):
        raise InputError("this format has no bias of its own in front of the encoder")
    tensors = {
        "W_enc": sae.W_enc.T,
        "b_enc": sae.b_enc,
        "W_dec": sae.W_dec,
        "b_dec": sae.b_dec,
        **({} if sae.threshold is None else {"threshold": sae.threshold}),
    }
    plain = {name: value.detach().to("cpu", dtype).contiguous() for name, value in tensors.items()}
    whose = None if sae.model is None else dict(sae.model)
    config = {
        "architecture": "topk" if sae.threshold is None else "jumprelu",
        "d_in": len(sae.b_dec),
        "d_sae": sae.n_latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": tied,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "model_name": (whose or {}).get("name"),
            "hook_name": sae.site.long,
            "sae_lens_version": version("sae-lens"),  # else it is read as an old one's
        },
        **({} if sae.k is None else {"k": sae.k, "rescale_acts_by_decoder_norm": False}),
    }
    card = {**sae.card, "format": FORMAT, "site": str(sae.site), "kind": sae.kind, "model": whose}
    card["checksum"] = checksum(card, plain)
    try:
        with appearing(folder) as beside:
            beside.mkdir()
            (beside / WEIGHTS).write_bytes(save(plain))
            for name, content in ((CONFIG, config), (CARD, card)):
                text = json.dumps(content, indent=1, ensure_ascii=False)
                (beside / name).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"the SAE cannot be written to {folder} ({error.strerror or error}); give a folder on "
            "a disk that has room"
        ) from error


def load_sae(name: Path | str, model: Model | None = None) -> SAE:
    """The dictionary in a folder, ours or SAELens', or one of `SHIPPED` by its name.

    With `model`, it is refused where it is of another.

    Raises `InputError` where there is none and for a kind that is not known, `DamagedError` for a
    file that was changed on disk.
    """
    folder = folder_of(name)
    config, tensors = _read(folder)
    card = _json(folder / CARD) if (folder / CARD).exists() else None
    if card is not None:
        _check(folder, card, tensors)
    made = _made(folder, config, tensors, card)
    if model is not None:
        check_sae(made, model)
    return made


def about_sae(name: Path | str) -> dict[str, Any]:
    """The card in a folder, empty where somebody else made it. Raises as `load_sae`."""
    folder = folder_of(name)
    _read(folder)
    return _json(folder / CARD) if (folder / CARD).exists() else {}


def folder_of(name: Path | str) -> Path:
    """A folder as it is, or that of a shipped dictionary."""
    return SHIPPED.get(str(name), Path(name))


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise InputError(
            f"there is no SAE in {folder}; give a folder with {CONFIG} and {WEIGHTS}, such as "
            f"`workbench sae train` writes, or a shipped one: {', '.join(SHIPPED)}"
        )
    config = _json(folder / CONFIG)
    try:
        return config, load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise damaged(folder / WEIGHTS, _WHAT, "file", "safetensors", error) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(path, _WHAT, "file", "JSON", error) from error
    if not isinstance(found, dict):
        raise damaged(path, _WHAT, "file", "a JSON object", type(found).__name__)
    return found


def _check(folder: Path, card: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    expected = card.pop("checksum", None)
    if card.get("format") != FORMAT:
        raise damaged(folder / CARD, _WHAT, "format", FORMAT, card.get("format"))
    if (found := checksum(card, tensors)) != expected:
        raise damaged(folder / WEIGHTS, _WHAT, "checksum", expected, found)


def _made(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    card: dict[str, Any] | None,
) -> SAE:
    architecture = config.get("architecture")
    if architecture not in ("topk", "jumprelu", "standard"):
        raise InputError(
            f"{folder} holds a dictionary of architecture {architecture!r}; known are topk, "
            "jumprelu and standard"
        )
    if config.get("normalize_activations", "none") != "none":
        raise InputError(
            f"{folder} normalises activations ({config['normalize_activations']}); fold that into "
            "its weights with SAELens first"
        )
    d_in, d_sae = config.get("d_in"), config.get("d_sae")
    shapes = {"W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    if architecture == "jumprelu":
        shapes["threshold"] = (d_sae,)
    for name, shape in shapes.items():
        found = tuple(tensors[name].shape) if name in tensors else None
        if found != shape:
            raise damaged(folder / WEIGHTS, _WHAT, name, shape, found)
    weights = {name: tensors[name].float() for name in shapes}
    norms = weights["W_dec"].norm(dim=1)
    if architecture == "topk" and config.get("rescale_acts_by_decoder_norm"):
        weights["W_enc"], weights["b_enc"] = weights["W_enc"] * norms, weights["b_enc"] * norms
        weights["W_dec"] = weights["W_dec"] / norms[:, None]
    b_dec = weights["b_dec"]
    threshold = None
    if architecture != "topk":  # SAELens takes a ReLU besides
        threshold = weights.get("threshold", torch.zeros_like(weights["b_enc"])).clamp_min(0)
    card = card or {}
    return SAE(
        site=Site.parse(card.get("site") or (config.get("metadata") or {}).get("hook_name") or ""),
        kind=card.get("kind", architecture),
        W_enc=weights["W_enc"].T.contiguous(),
        b_enc=weights["b_enc"],
        W_dec=weights["W_dec"],
        b_dec=b_dec,
        b_in=b_dec if config.get("apply_b_dec_to_input", True) else torch.zeros_like(b_dec),
        k=config["k"] if architecture == "topk" else None,
        threshold=threshold,
        model=card.get("model"),
        card={k: v for k, v in card.items() if k not in ("format", "site", "kind", "model")},
    )

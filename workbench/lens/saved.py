"""Trained lenses on disk: safetensors and a JSON card, each of one model and no other.

A lens lies in `home()/lenses/NAME`. The card names the tensors' file and is renamed into place
after it: until then the lens is the one before, or none.
"""

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
import xxhash
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from workbench.cache import DamagedError
from workbench.cache.files import write_whole
from workbench.corpus import Corpus
from workbench.errors import MISFITS, InputError
from workbench.home import home
from workbench.lens.comparison import Comparison, standard_error
from workbench.lens.training import Recipe, in_bfloat16
from workbench.lens.tuned import TunedLens
from workbench.models import Model

FORMAT = 1
CARD = "card.json"


def lens_folder(name: str) -> Path:
    """Where the lens of that name lies. Raises `InputError` for what is no file name."""
    if not re.fullmatch(r"\w[\w.-]{0,99}", name, re.ASCII):
        raise InputError(
            f"{name!r} cannot name a lens; give up to 100 letters, digits, dots, _ and -, the "
            "first a letter or a digit"
        )
    return home() / "lenses" / name


def default_name(model: Model) -> str:
    """The name of a model's own lens: the model's, its processing and its dtype."""
    plain = re.sub(r"[^\w.-]+", "-", model.name, flags=re.ASCII).strip("-.")[-70:].lstrip("-.")
    identity = model.identity
    return f"{plain or 'model'}-{identity.processing}-{identity.compute_dtype}"


def save_lens(
    model: Model,
    lens: TunedLens,
    *,
    corpus: Corpus,
    recipe: Recipe,
    held_out: Comparison,
    seconds: float,
    steps: int | None = None,
    name: str | None = None,
) -> TunedLens:
    """Keep a lens of `model` in `lens_folder(name)`; returns it with its card.

    `steps` is for a training that was stopped: how many of the recipe's were done. A lens of
    the same name is replaced. Raises `InputError` where it cannot be written.
    """
    folder = lens_folder(default_name(model) if name is None else name)
    tensors = {"matrix": lens.matrix.cpu(), "bias": lens.bias.cpu()}
    content = safetensors.torch.save(tensors)
    checksum = xxhash.xxh3_128_hexdigest(content)
    file = folder / f"{checksum}.safetensors"
    card = {
        "format": FORMAT,
        "file": file.name,
        "checksum": checksum,
        "model": {
            "name": model.name,
            "fingerprint": model.identity.fingerprint,
            **asdict(model.identity),
        },
        "corpus": {
            "name": corpus.name,
            "digest": corpus.digest,
            "n_ctx": corpus.n_ctx,
            "contexts": len(corpus),
        },
        "recipe": asdict(recipe),
        "steps": recipe.steps if steps is None else steps,
        "unembedding": "bfloat16" if in_bfloat16(model) else model.identity.compute_dtype,
        "held_out": _table(held_out),
        "identities": lens.identities,
        "seconds": round(seconds, 1),
        "device": str(model.device),
        "machine": platform.machine(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        **{package: version(package) for package in ("lensbench", "torch", "transformer-lens")},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, content)
        write_whole(folder / CARD, json.dumps(card, indent=1).encode())
    except OSError as error:
        raise InputError(
            f"the lens cannot be kept in {folder} ({error.strerror or error}); free some space, "
            "see that it may be written to, or give another home with $WORKBENCH_HOME"
        ) from error
    for other in folder.glob("*.safetensors"):
        if other != file:
            other.unlink(missing_ok=True)
    return replace(lens, about=card)


def _table(comparison: Comparison) -> dict[str, Any]:
    """A comparison as plain numbers: KL in nats by row, with the standard error over contexts."""

    def columns(values: Float[Tensor, "layer context"]) -> dict[str, list[float]]:
        return {"kl": values.mean(1).tolist(), "error": standard_error(values).tolist()}

    return {
        "contexts": comparison.logit.shape[1],
        "positions": comparison.positions,
        "rows": comparison.layers,
        "logit": columns(comparison.logit),
        "tuned": columns(comparison.tuned),
        "gap": columns(comparison.gap),
    }


def load_lens(model: Model, name: str | None = None) -> TunedLens:
    """The lens of `model` that was kept under `name` (default: the model's own).

    Its card is in `about`. Raises `InputError` where there is none and for a lens of another
    model (naming the field that differs), `DamagedError` for one that was changed on disk.
    """
    folder = lens_folder(default_name(model) if name is None else name)
    card = _card(folder, tune_command(model, name))
    _check_model(folder.name, card["model"], model, tune_command(model))
    path = folder / card["file"]
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        raise _damaged(path, "file", "the tensors", getattr(error, "strerror", error)) from error
    checksum = xxhash.xxh3_128_hexdigest(content)
    if checksum != card["checksum"]:
        raise _damaged(path, "checksum", card["checksum"], checksum)
    try:
        tensors = safetensors.torch.load(content)
    except (SafetensorError, *MISFITS) as error:
        raise _damaged(path, "file", "safetensors", error) from error
    sizes = model.architecture
    for field, shape in (("matrix", (sizes.d_model,) * 2), ("bias", (sizes.d_model,))):
        found = tuple(tensors[field].shape) if field in tensors else None
        if found != (sizes.n_layers, *shape):
            raise _damaged(path, field, (sizes.n_layers, *shape), found)
    matrix, bias = (tensors[field].to(model.device) for field in ("matrix", "bias"))
    return TunedLens(matrix, bias, model.unembed, card)


def tune_command(model: Model, name: str | None = None) -> str:
    """What trains a lens for this model."""
    words = ["workbench tune", f"--model {model.name}"]
    if model.processing != "raw":
        words.append(f"--processing {model.processing}")
    if model.identity.compute_dtype != "float32":
        words.append(f"--dtype {model.identity.compute_dtype}")
    if name is not None:
        words.append(f"--name {name}")
    return " ".join(words)


def _card(folder: Path, command: str) -> dict[str, Any]:
    path = folder / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        found = card["format"]
        if Path(card["file"]).name != card["file"] or not isinstance(card["checksum"], str):
            raise ValueError(f"file {card['file']!r}, checksum {card['checksum']!r}")
        dict(card["model"])
    except FileNotFoundError as error:
        raise InputError(f"there is no tuned lens {folder.name}; train it: `{command}`") from error
    except MISFITS as error:
        raise _damaged(path, "file", "a lens' card", error) from error
    if found != FORMAT:
        raise _damaged(path, "format", FORMAT, found)
    return card


def _check_model(name: str, found: Mapping[str, str], model: Model, command: str) -> None:
    """Raise `InputError` naming the fields in which the lens' model is not this one."""
    told = "; ".join(
        f"field {field}: this one has {here}, the lens {found.get(field)}"
        for field, here in asdict(model.identity).items()
        if found.get(field) != here
    )
    if told:
        raise InputError(
            f"lens {name} is of another model ({found.get('name')}): {told}; load that model, or "
            f"train a lens for this one: `{command}`"
        )


def _damaged(path: Path, field: str, expected: object, found: object) -> DamagedError:
    return DamagedError(
        f"{path}: field {field}: expected {expected}, found {found}; delete the folder "
        f"{path.parent} and train the lens again"
    )

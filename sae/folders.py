"""Folders of a JSON object and of tensors: read with every doubt an error, written whole."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from workbench.cache.files import check_refusal
from workbench.carded import damaged
from workbench.errors import InputError
from workbench.fetching import appearing

WHAT = "SAE"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises `DamagedError` for anything else, `OSError` where the machine does not let it be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        check_refusal(path, error)
        raise damaged(path, WHAT, "file", "JSON", error) from error
    if not isinstance(found, dict):
        raise damaged(path, WHAT, "file", "a JSON object", type(found).__name__)
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises `DamagedError` for another file, `OSError` where the machine does not let it be read.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError, RuntimeError) as error:  # torch maps the file: RuntimeError
        check_refusal(path, error)
        raise damaged(path, WHAT, "file", "safetensors", error) from error


def weights_of(
    path: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[Any, ...]]
) -> dict[str, Tensor]:
    """Those of `shapes`, in float32. Raises `DamagedError` for one missing or of another shape."""
    for name, shape in shapes.items():
        found = tuple(tensors[name].shape) if name in tensors else None
        if found != shape:
            raise damaged(path, WHAT, name, shape, found)
    return {name: tensors[name].float() for name in shapes}


def write_new(folder: Path, weights: str, tensors: Mapping[str, Tensor], **told: object) -> None:
    """Write a new folder, whole or not at all: `tensors` in `weights`, each of `told` as JSON.

    Raises `InputError` where one is there already, and where the disk refuses.
    """
    if folder.exists():
        raise InputError(f"{folder} is there already; give another folder")
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    try:
        with appearing(folder) as beside:
            beside.mkdir()
            (beside / weights).write_bytes(save(plain))
            for name, content in told.items():
                text = json.dumps(content, indent=1, ensure_ascii=False)
                (beside / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"the SAE cannot be written to {folder} ({error.strerror or error}); give a folder on "
            "a disk that has room"
        ) from error

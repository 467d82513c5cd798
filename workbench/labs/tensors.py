"""Somebody's tensors, before a lab looks for its own among them."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from workbench.errors import MISFITS, InputError, misfit


def read_tensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file by name, in float32.

    Raises `InputError` for a file that is none, integers or complex numbers, NaN and infinity.
    """
    if not file.is_file():
        raise InputError(f"there is no checkpoint at {file}; give a safetensors file or its folder")
    try:
        found = load_file(file)
    except (OSError, SafetensorError, *MISFITS) as error:  # torch's, of shapes it cannot make
        raise InputError(
            f"{file} is no safetensors file ({error}); of a pickle (.pt, .pth) save its tensors "
            "with safetensors.torch.save_file first: a pickle may run any code"
        ) from error
    if other := [name for name, value in found.items() if not value.is_floating_point()]:
        told = ", ".join(f"{n} ({str(found[n].dtype).removeprefix('torch.')})" for n in other)
        raise InputError(f"{file} holds {told}; weights are real floating-point numbers")
    with misfit(lambda fault: InputError(f"{file} holds a shape that cannot be ({fault})")):
        made = {name: value.float() for name, value in found.items()}
        broken = [name for name, value in made.items() if not value.isfinite().all()]
    if broken:
        raise InputError(f"{file}: {', '.join(broken)} has values that are no numbers (NaN, inf)")
    return made

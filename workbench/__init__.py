"""Run GPT-2-class transformers hooked; read activations from one cache; look inside.

The names below load on first use, so importing a torch-free part stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.cache import Store, capture, harvest, shuffled, stream
    from workbench.corpus import open_corpus
    from workbench.errors import InputError
    from workbench.generation import generate
    from workbench.hooks import Edit, Start, run
    from workbench.models import load, pad
    from workbench.sites import Head, Site

__all__ = [
    "Edit",
    "Head",
    "InputError",
    "Site",
    "Start",
    "Store",
    "capture",
    "generate",
    "harvest",
    "load",
    "open_corpus",
    "pad",
    "run",
    "shuffled",
    "stream",
]

_HOMES = {
    "Edit": "workbench.hooks",
    "Head": "workbench.sites",
    "InputError": "workbench.errors",
    "Site": "workbench.sites",
    "Start": "workbench.hooks",
    "Store": "workbench.cache",
    "capture": "workbench.cache",
    "generate": "workbench.generation",
    "harvest": "workbench.cache",
    "load": "workbench.models",
    "open_corpus": "workbench.corpus",
    "pad": "workbench.models",
    "run": "workbench.hooks",
    "shuffled": "workbench.cache",
    "stream": "workbench.cache",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

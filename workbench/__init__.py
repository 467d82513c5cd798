"""Run GPT-2-class transformers hooked; read activations from one cache; look inside.

The names below load on first use, so importing a torch-free part stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.cache import Store, capture
    from workbench.errors import InputError
    from workbench.hooks import Edit, run
    from workbench.models import load
    from workbench.sites import Head, Site

__all__ = ["Edit", "Head", "InputError", "Site", "Store", "capture", "load", "run"]

_HOMES = {
    "Edit": "workbench.hooks",
    "Head": "workbench.sites",
    "InputError": "workbench.errors",
    "Site": "workbench.sites",
    "Store": "workbench.cache",
    "capture": "workbench.cache",
    "load": "workbench.models",
    "run": "workbench.hooks",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

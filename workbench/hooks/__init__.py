"""Run a model with activations read and edited: the only place where a hook is registered."""

from workbench.hooks.discovery import sites
from workbench.hooks.edits import Edit
from workbench.hooks.past import Past
from workbench.hooks.restart import Start
from workbench.hooks.run import Receipt, Run, check_tokens, of_head, run

__all__ = ["Edit", "Past", "Receipt", "Run", "Start", "check_tokens", "of_head", "run", "sites"]

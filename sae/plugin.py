"""What `sae` adds to the workbench."""

from workbench.registry import Plugin

PLUGIN = Plugin(name="sae", commands={"sae": "sae.commands.sae:COMMAND"})

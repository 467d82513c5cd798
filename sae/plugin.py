"""What `sae` adds to the workbench."""

from workbench.registry import Plugin

PLUGIN = Plugin(
    name="sae",
    commands={"sae": "sae.commands.sae:COMMAND"},
    claims={
        "a planted dictionary": "sae.claims:planted_dictionary",
        "identity and zero dictionaries": "sae.claims:identity_and_zero",
    },
)

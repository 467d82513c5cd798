"""What `sae` adds to the workbench."""

from workbench.registry import Plugin

PLUGIN = Plugin(
    name="sae",
    commands={"sae": "sae.commands.sae:COMMAND"},
    directions={"sae": "sae.directions:direction"},
    claims={
        "a planted dictionary": "sae.claims:planted_dictionary",
        "identity and zero dictionaries": "sae.claims:identity_and_zero",
    },
    science={
        "Monosemanticity: planted features": "sae.science:planted_features",
        "Monosemanticity: identity and zero": "sae.science:identity_and_zero",
        "Monosemanticity: a dictionary of smollm2-135m": "sae.science:shipped_on_text",
        "Othello: a dictionary's board": "sae.science:othello_board",
    },
)

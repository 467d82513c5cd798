"""The ground's own `Plugin`: what the workbench brings without any other package."""

from workbench.registry import Plugin

PLUGIN = Plugin(
    name="workbench",
    commands={
        "attention": "workbench.commands.attention:COMMAND",
        "lens": "workbench.commands.lens:COMMAND",
        "capture": "workbench.commands.capture:COMMAND",
        "models": "workbench.commands.models:COMMAND",
        "cache": "workbench.commands.cache:COMMAND",
        "selftest": "workbench.commands.selftest:COMMAND",
    },
    models={
        "smollm2-135m": "workbench.models.catalogue:SMOLLM2",
        "induction-by-hand": "workbench.models.catalogue:BY_HAND",
    },
    claims={
        "induction by hand": "workbench.claims:induction_by_hand",
        "lens ends at the logits": "workbench.claims:lens_ends_at_logits",
        "cached equals fresh": "workbench.claims:cached_equals_fresh",
        "an edit that matches nothing is refused": "workbench.claims:typos_are_refused",
    },
)

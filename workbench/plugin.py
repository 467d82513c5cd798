"""The ground's own `Plugin`: what the workbench brings without any other package."""

from workbench.registry import Plugin

PLUGIN = Plugin(
    name="workbench",
    commands={
        "attention": "workbench.commands.attention:COMMAND",
        "lens": "workbench.commands.lens:COMMAND",
        "attribution": "workbench.commands.attribution:COMMAND",
        "weights": "workbench.commands.weights:COMMAND",
        "generate": "workbench.commands.generate:COMMAND",
        "capture": "workbench.commands.capture:COMMAND",
        "harvest": "workbench.commands.harvest:COMMAND",
        "models": "workbench.commands.models:COMMAND",
        "cache": "workbench.commands.cache:COMMAND",
        "corpus": "workbench.commands.corpus:COMMAND",
        "selftest": "workbench.commands.selftest:COMMAND",
    },
    models={
        "smollm2-135m": "workbench.models.catalogue:SMOLLM2",
        "induction-by-hand": "workbench.models.catalogue:BY_HAND",
    },
    corpora={"shakespeare": "workbench.corpus.catalogue:SHAKESPEARE"},
    claims={
        "induction by hand": "workbench.claims:induction_by_hand",
        "lens ends at the logits": "workbench.claims:lens_ends_at_logits",
        "cached equals fresh": "workbench.claims:cached_equals_fresh",
        "attribution adds up": "workbench.claims:attribution_adds_up",
        "circuits by hand": "workbench.claims:circuits_by_hand",
        "an edit that matches nothing is refused": "workbench.claims:typos_are_refused",
    },
)

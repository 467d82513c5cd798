"""What the dashboards add to the workbench: its pages and the command that starts them."""

from workbench.registry import Plugin

PLUGIN = Plugin(
    name="dashboards",
    commands={
        "dashboard": "dashboards.launch:COMMAND",
        "tour": "dashboards.tour_command:COMMAND",
    },
    pages={
        "Home": "dashboards.views.home:page",
        "Attention": "dashboards.views.attention:page",
        "Lens": "dashboards.views.lens:page",
        "Attribution": "dashboards.views.attribution:page",
        "Patching": "dashboards.views.patching:page",
        "Circuit": "dashboards.views.circuit:page",
        "Steering": "dashboards.views.steering:page",
        "Probes": "dashboards.views.probes:page",
        "SAE": "dashboards.views.sae:page",
        "Neurons": "dashboards.views.neurons:page",
        "Superposition": "dashboards.views.superposition:page",
        "Double descent": "dashboards.views.double_descent:page",
        "Grokking": "dashboards.views.grokking:page",
        "Induction": "dashboards.views.induction:page",
        "Training": "dashboards.views.training:page",
        "Compare": "dashboards.views.compare:page",
        "Runs": "dashboards.views.runs:page",
        "Othello": "dashboards.views.othello:page",
    },
)

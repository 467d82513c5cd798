"""What the dashboards add to the workbench: the command that starts them."""

from workbench.registry import Plugin

PLUGIN = Plugin(
    name="dashboards",
    commands={"dashboard": "dashboards.launch:COMMAND"},
)

"""`workbench tour`: the dashboard, opened at the first step of the tour."""

from __future__ import annotations

from argparse import Namespace
from urllib.parse import urlencode

from dashboards import launch
from workbench.registry import Command


def run(arguments: Namespace) -> int:
    # Streamlit loads here, not for --help
    from dashboards.navigation import url_path
    from dashboards.tour import step

    first = step(1)
    return launch.run(arguments, f"/{url_path(first.page)}?{urlencode(first.address)}")


COMMAND = Command(
    "the dashboard, at one question from attention to features", launch.configure, run
)

"""Figures as one page."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.io import to_html

from workbench.figures.layout import escaped


def page(figures: Sequence[go.Figure], *, title: str, note: str) -> str:
    """A self-contained HTML page: the figures, Plotly itself, and a line of what was computed."""
    bodies = [
        to_html(figure, full_html=False, include_plotlyjs=index == 0)
        for index, figure in enumerate(figures)
    ]
    told = escaped(title)
    head = f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{told}</title>"
    style = "<style>body{font-family:system-ui,sans-serif;margin:2rem;max-width:80rem}</style>"
    body = f"</head><body><h1>{told}</h1><p>{escaped(note)}</p>{''.join(bodies)}</body></html>"
    return head + style + body

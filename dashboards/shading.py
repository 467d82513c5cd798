"""Text shaded by what a neuron or latent says of each token, and small tables beside it."""

from collections.abc import Sequence
from html import escape

LINE = (
    "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.85rem;line-height:1.6;"
    "overflow-wrap:anywhere;display:flex;gap:.7rem;padding:2px 0"
)
_TOKEN = "border-radius:3px;padding:1px 0;white-space:pre-wrap"
_ABOVE, _BELOW = "25,105,200", "200,50,35"  # blue and red, as figures have them
_DEEPEST = 0.5  # beyond it the text on it is hard to read
_LEAST = 0.03  # paler than this is not seen
_LISTED = "font-size:13px;border-collapse:collapse;font-variant-numeric:tabular-nums"
_CELL = "text-align:left;white-space:pre;padding:2px 12px 2px 0"


def shaded(tokens: Sequence[str], values: Sequence[float], most: float, at: int = -1) -> str:
    """Tokens as HTML, blue above 0, red below, deepest at `most`; the one `at` is lined."""
    spans = []
    for pos, (token, value) in enumerate(zip(tokens, values, strict=True)):
        depth = _DEEPEST * min(1.0, abs(value) / most) if most > 0 else 0.0
        seen = depth > _LEAST
        colour = f";background:rgba({_ABOVE if value > 0 else _BELOW},{depth:.2f})" if seen else ""
        line = ";text-decoration:underline;text-underline-offset:3px" if pos == at else ""
        told = escape(f"{token!r}: {value:.3g}" if value else repr(token), quote=True)
        text = escape(token.replace("\n", "↵").replace("\t", "⇥"))  # breaks seen, spaces kept
        spans.append(f"<span style='{_TOKEN}{colour}{line}' title='{told}'>{text}</span>")
    return "".join(spans)


def lines(told: Sequence[tuple[str, str]]) -> str:
    """Each shaded text behind its value, in a box that the keyboard can scroll."""
    rows = (
        f"<div style='{LINE}'><b style='flex:none;min-width:3.2rem'>{value}</b>"
        f"<span>{text}</span></div>"
        for value, text in told
    )
    return f"<div tabindex='0'>{''.join(rows)}</div>"


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A small table as HTML."""
    top = "".join(f"<th style='{_CELL}'>{escape(name)}</th>" for name in head)
    body = (
        "<tr>" + "".join(f"<td style='{_CELL}'>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table style='{_LISTED}'><tr>{top}</tr>{''.join(body)}</table>"

"""Features as one HTML page that needs nothing else: a table to search, and a part for each."""

import math
from collections.abc import Sequence
from html import escape

from sae.atlas import Atlas
from sae.features import Example, Feature
from workbench.models.tokens import visible

_STYLE = """
:root { color-scheme: light dark; --mark: 230, 120, 0; --line: #8886; --bar: #56b4e9; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 72rem;
  padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .5rem; text-align: left;
  vertical-align: top; }
.text, .tokens { font-family: ui-monospace, monospace; font-size: 13px; }
.text { margin: .2rem 0; overflow-wrap: anywhere; }
.text b { font-weight: inherit; outline: 1px solid; }
section { border-top: 2px solid var(--line); margin-top: 2rem; }
.bars { display: flex; align-items: flex-end; gap: 1px; height: 60px; }
.bars i { background: var(--bar); flex: 1; }
.mini { height: 20px; width: 90px; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 1.5rem; }
input { font: inherit; padding: .3rem; width: 24rem; max-width: 100%; }
"""
_SCRIPT = """
const field = document.querySelector("input"), rows = document.querySelectorAll("tbody tr");
field.addEventListener("input", () => {
  const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
});
"""


def feature_page(atlas: Atlas, latents: Sequence[int], *, title: str, about: str) -> str:
    """A stand-alone page of `latents`. Raises `InputError` for a number that none has.

    `about` says what dictionary of which model this is. Nothing is fetched when it is opened.
    """
    pages = [atlas.feature(latent) for latent in latents]
    told = (
        f"{len(pages):,} of {atlas.n_latents:,} latents, on {atlas.n_rows:,} rows of "
        f"{atlas.corpus_name}. A rule is a list of tokens found by counting; its F1 is on held-out "
        "text, against activations above 0.3 of the largest."
    )
    rows = "".join(_row(atlas, page) for page in pages)
    parts = "".join(_section(atlas, page) for page in pages)
    heads = "".join(
        f"<th>{name}</th>"
        for name in ("latent", "density", "largest", "", "rule", "F1", "strongest example")
    )
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>{escape(about)}</p><p>{escape(told)}</p>"
        "<p><input type='search' aria-label='search' placeholder='words in rule or text'></p>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{parts}"
        f"<script>{_SCRIPT}</script></body></html>"
    )


def _row(atlas: Atlas, page: Feature) -> str:
    cells = (
        f"<a href='#{page.latent}'>{page.latent}</a>",
        f"{page.density:.4%}",
        f"{page.largest:.2f}",
        _bars(page.histogram.tolist(), "mini", "activations, log scale"),
        f"<span class='tokens'>{escape(atlas.rule(page.latent))}</span>",
        _score(page),
        _shaded(atlas, page.top[0], page.largest) if page.top else "never active",
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _section(atlas: Atlas, page: Feature) -> str:
    between = [one for band in page.bands for one in band]
    return (
        f"<section id='{page.latent}'><h2>latent {page.latent}</h2>"
        f"<p>active in {page.density:.4%} of rows, at most {page.largest:.2f}</p>"
        f"<p class='tokens'>{escape(atlas.rule(page.latent, n=50))} (F1 "
        f"{_score(page)})</p>"
        "<div class='two'>"
        f"<div><h3>activations above 0 (log)</h3>{_bars(page.histogram.tolist(), '', '')}</div>"
        f"<div><h3>positions</h3>{_bars(page.positions.tolist(), '', '', log=False)}</div>"
        f"<div><h3>promotes</h3>{_tokens(atlas, page.promoted)}</div>"
        f"<div><h3>suppresses</h3>{_tokens(atlas, page.suppressed)}</div>"
        f"<div><h3>tokens, by mean activation</h3>"
        f"{_tokens(atlas, [(token, mean) for token, _, mean in page.tokens])}</div>"
        f"<div><h3>most similar decoder rows</h3><p>"
        f"{', '.join(f'{latent} ({cosine:.2f})' for latent, cosine in page.neighbours)}</p></div>"
        "</div><h3>strongest</h3>"
        + "".join(_shaded(atlas, one, page.largest) for one in page.top)
        + "<h3>from equal parts of its range</h3>"
        + "".join(_shaded(atlas, one, page.largest) for one in between)
        + "</section>"
    )


def _score(page: Feature) -> str:
    return "" if page.rule is None else f"{page.rule.f1:.2f}"


def _shaded(atlas: Atlas, one: Example, largest: float) -> str:
    """A text, each token as dark as the latent was active, the token in question outlined."""
    spans = []
    for i, (token, value) in enumerate(zip(one.ids.tolist(), one.values.tolist(), strict=True)):
        text = escape(atlas.strings[token].replace("\n", "↵"))
        mark = "b" if i == one.at else "span"
        shade = f" style='background:rgba(var(--mark),{0.7 * value / largest:.2f})'"
        title = f" title='{value:.2f}'" if value else ""
        spans.append(f"<{mark}{title}{shade if value else ''}>{text}</{mark}>")
    return f"<p class='text'>{''.join(spans)}</p>"


def _tokens(atlas: Atlas, pairs: Sequence[tuple[int, float]]) -> str:
    told = (f"{escape(visible(atlas.strings[token]))} {value:.2f}" for token, value in pairs)
    return f"<p class='tokens'>{', '.join(told)}</p>"


def _bars(counts: Sequence[int], kind: str, title: str, *, log: bool = True) -> str:
    heights = [math.log1p(n) if log else float(n) for n in counts]
    top = max([*heights, 1.0])
    bars = "".join(
        f"<i style='height:{100 * h / top:.0f}%' title='{n:,}'></i>"
        for h, n in zip(heights, counts, strict=True)
    )
    return f"<div class='bars {kind}' title='{escape(title)}'>{bars}</div>"

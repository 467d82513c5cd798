"""The reading version: each notebook as one HTML file that needs nothing else, and an index."""

import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import DictLoader
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from plotly.offline import get_plotlyjs

from notebooks.committed import FIGURE, read

_DISPLAYED = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_INLINE = re.compile(r"(?<![\\$\w])\$([^$\n]+?)\$(?!\w)")
_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
_LINK = re.compile(r"\]\((\d\d-[\w-]+)\.ipynb\)")
_SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)
_TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block codecell -%}
{%- if "solution" in cell.metadata.tags -%}
<details class="solution"><summary>Solution</summary>{{ super() }}</details>
{%- else -%}{{ super() }}{%- endif -%}
{%- endblock codecell -%}"""
_STYLE = """<style>
details.solution > summary { cursor: pointer; color: #1969c8; padding: 0.5rem 4.5rem; }
.jp-Notebook { max-width: 60rem; margin: auto; }
</style>"""


def build(paths: Sequence[Path], folder: Path) -> Iterator[Path]:
    """Write the pages and their index into `folder`; yields each file when it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    titles = {}
    for path in paths:
        notebook = read(path)
        titles[path.stem] = title(notebook)
        page = folder / f"{path.stem}.html"
        page.write_text(html(notebook), encoding="utf-8")
        yield page
    index = folder / "index.html"
    rows = "".join(
        f"<li><a href='{stem}.html'>{escape(told)}</a></li>" for stem, told in titles.items()
    )
    index.write_text(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>The course</title>"
        "<style>body{font-family:system-ui,sans-serif;margin:3rem auto;max-width:45rem;"
        "line-height:1.7}</style></head>"
        f"<body><h1>The course</h1><ul style='list-style:none'>{rows}</ul></body></html>",
        encoding="utf-8",
    )
    yield index


def title(notebook: NotebookNode) -> str:
    """The first heading."""
    return str(notebook.cells[0].source).splitlines()[0].lstrip("# ")


def html(notebook: NotebookNode) -> str:
    """One page: formulas as MathML, figures alive, solutions folded."""
    figures: dict[str, str] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _LINK.sub(r"](\1.html)", mathml(cell.source))
        for output in cell.get("outputs", ()):
            if FIGURE in output.get("data", {}):
                place = f"<p>figure {len(figures)}</p>"
                figures[place] = _alive(output.data[FIGURE])
                output.data = NotebookNode({"text/html": place})
    exporter = HTMLExporter(
        template_name="lab",
        template_file="course",
        extra_loaders=[DictLoader({"course": _TEMPLATE})],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    page, _ = exporter.from_notebook_node(notebook)
    page = _SCRIPT.sub("", page)  # the template's, which ask the network
    for place, figure in figures.items():
        page = page.replace(place, figure, 1)
    plotly = f"<script>{get_plotlyjs()}</script>" if figures else ""
    page = page.replace("</head>", f"{_STYLE}{plotly}</head>", 1)
    return page.replace("<title>Notebook</title>", f"<title>{escape(title(notebook))}</title>", 1)


def mathml(text: str) -> str:
    """Markdown with its formulas as MathML, code left alone."""
    parts = _CODE.split(text)
    for place in range(0, len(parts), 2):
        shown = _DISPLAYED.sub(lambda found: convert(found[1], display="block"), parts[place])
        parts[place] = _INLINE.sub(lambda found: convert(found[1]), shown)
    return "".join(parts)


def _alive(figure: NotebookNode) -> str:
    drawn = go.Figure({"data": figure["data"], "layout": figure["layout"]})
    return drawn.to_html(full_html=False, include_plotlyjs=False)

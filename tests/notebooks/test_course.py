"""The reading version: one file that asks for nothing, formulas, figures, folded solutions."""

import re
from pathlib import Path

import nbformat
import plotly.graph_objects as go
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from notebooks.course import build, mathml

FIGURE = go.Figure(go.Bar(y=[1, 2])).to_plotly_json()


def test_a_page_needs_nothing_else(tmp_path: Path) -> None:
    shown = new_output("display_data", data={"application/vnd.plotly.v1+json": FIGURE})
    made = new_notebook(
        cells=[
            new_markdown_cell("# 1. A <b>title</b>\n\n$a < b$, and on: [2](02-other.ipynb)"),
            new_code_cell("figure", outputs=[shown]),
            new_code_cell("secret", metadata={"tags": ["solution"]}),
        ]
    )
    nbformat.write(made, tmp_path / "01-some.ipynb")
    page, index = build([tmp_path / "01-some.ipynb"], tmp_path / "course")
    text = page.read_text("utf-8")
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"(src|href)=.https?:", own) and "<script" not in own
    assert "<math" in own and 'href="02-other.html"' in own
    assert text.count("Plotly.newPlot(") >= 1 and "plotly.js v" in text
    assert re.search(r"<details class=\"solution\">.*secret.*</details>", own, re.DOTALL)
    assert own.count("<details") == 1
    assert "01-some.html" in index.read_text("utf-8")


def test_formulas_are_told_from_code_and_money() -> None:
    made = mathml("`$x$` costs $5 and $6; $y_1$ is\n$$\\frac{1}{2}$$\n```\n$z$\n```")
    assert made.count("<math") == 2 and "`$x$`" in made and "```\n$z$\n```" in made
    assert "$5 and $6" in made

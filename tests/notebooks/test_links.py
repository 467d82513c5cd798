"""Notebooks link to pages, and pages back to notebooks."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from dashboards.navigation import url_path
from dashboards.study import LAB, NOTEBOOKS
from notebooks.committed import FOLDER, notebooks, read
from tests.test_pages import APP
from workbench.registry import listed

_PAGE = re.compile(r"\(http://localhost:8501/([\w-]*)\)")
_NEXT = re.compile(r"\]\((\d\d-[\w-]+)\.ipynb\)")


def text(path) -> str:
    return "\n".join(one.source for one in read(path).cells if one.cell_type == "markdown")


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_a_notebook_links_to_pages_that_are_there(path) -> None:
    linked = _PAGE.findall(text(path))
    assert linked
    assert set(linked) <= {"", *map(url_path, listed("pages"))}


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_the_notebook_of_a_page_links_back(page: str) -> None:
    assert page in listed("pages")
    where = "" if page == "Home" else url_path(page)
    assert where in _PAGE.findall(text(FOLDER / f"{NOTEBOOKS[page]}.ipynb"))


def test_a_page_shows_its_notebook() -> None:
    at = AppTest.from_file(str(APP), default_timeout=60).run()
    (told,) = at.sidebar.caption
    assert told.value == f"Study: [00. Start here]({LAB}/00-start-here.ipynb)"

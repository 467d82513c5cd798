"""The pages that the installed plugins bring, as Streamlit knows them."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from workbench.registry import listed, resolve

SECTIONS = {
    "": ("Home", "Compare", "Runs"),
    "Circuits": ("Attention", "Lens", "Attribution", "Patching", "Circuit", "Steering"),
    "Features": ("Probes", "SAE", "Neurons", "Othello"),
    "Labs": ("Superposition", "Double descent", "Grokking", "Induction", "Training"),
}
OTHERS = "More"  # pages of other plugins
Page = TypeVar("Page")


def pages() -> dict[str, StreamlitPage]:
    """Every page by name; the first is the default. A page's module loads when it is opened."""
    names = listed("pages")
    first = next(iter(names))
    return {
        name: st.Page(_opener(target), title=name, url_path=url_path(name), default=name == first)
        for name, target in names.items()
    }


def url_path(name: str) -> str:
    """Where a page lies, under the dashboard's address."""
    return name.lower().replace(" ", "-")


def sections(known: Mapping[str, Page]) -> dict[str, list[Page]]:
    """The pages as the sidebar groups them; those of other plugins come last."""
    grouped = {
        title: [known[name] for name in names if name in known] for title, names in SECTIONS.items()
    }
    placed = {name for names in SECTIONS.values() for name in names}
    grouped[OTHERS] = [page for name, page in known.items() if name not in placed]
    return {title: found for title, found in grouped.items() if found}


def _opener(target: str) -> Callable[[], None]:
    def open_page() -> None:
        resolve(target)()

    return open_page

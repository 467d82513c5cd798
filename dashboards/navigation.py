"""The pages that the installed plugins bring, as Streamlit knows them."""

from collections.abc import Callable

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from workbench.registry import listed, resolve


def pages() -> dict[str, StreamlitPage]:
    """Every page by name; the first is the default. A page's module loads when it is opened."""
    names = listed("pages")
    first = next(iter(names))
    return {
        name: st.Page(_opener(target), title=name, url_path=name.lower(), default=name == first)
        for name, target in names.items()
    }


def _opener(target: str) -> Callable[[], None]:
    def open_page() -> None:
        resolve(target)()

    return open_page

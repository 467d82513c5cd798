"""Load the heavy libraries in the background once the first page stands."""

import threading
from importlib import import_module

import streamlit as st

FIRST_PAINT_SECONDS = 1.5  # an import holds the interpreter's lock: let the page come first


@st.cache_resource(show_spinner=False)
def preload() -> threading.Timer:
    """Start the imports, once for the whole process."""
    timer = threading.Timer(FIRST_PAINT_SECONDS, import_module, args=("workbench.lens",))
    timer.daemon = True
    timer.start()
    return timer

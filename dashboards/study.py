"""Where the course takes up what a page shows: the notebook beside each page."""

from collections.abc import Mapping

import streamlit as st

LAB = "http://localhost:8888/lab/tree"  # JupyterLab, as `make study` starts it
NOTEBOOKS: Mapping[str, str] = {
    "Home": "00-start-here",
    "Attention": "08-circuits-framework",
    "Lens": "00-start-here",
    "Attribution": "08-circuits-framework",
    "Patching": "09-activation-patching",
    "Circuit": "09-activation-patching",
    "Steering": "13-monosemanticity",
    "Probes": "10-fact-finding",
    "SAE": "13-monosemanticity",
    "Neurons": "12-softmax-linear-units",
    "Induction": "08-circuits-framework",
    "Training": "16-where-to-go",
    "Compare": "08-circuits-framework",
    "Othello": "14-othello-gpt",
    "Superposition": "11-superposition",
    "Double descent": "11-superposition",
    "Grokking": "15-grokking",
}


def link(page: str) -> None:
    """In the sidebar, the notebook that studies what `page` shows; nothing where there is none."""
    if stem := NOTEBOOKS.get(page):
        number, _, words = stem.partition("-")
        st.sidebar.caption(
            f"Study: [{number}. {words.replace('-', ' ').capitalize()}]({LAB}/{stem}.ipynb)",
            help="A notebook of the course, in JupyterLab: `make study` starts it.",
        )

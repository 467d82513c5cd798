"""Home: what this is, examples one click from a picture, and what is ready."""

import os
from pathlib import Path

import streamlit as st

from dashboards import prompts, state, tour
from dashboards.example import Example
from dashboards.examples import EXAMPLES
from workbench.home import home
from workbench.registry import listed


def page() -> None:
    st.header("lensbench")
    state.picker()
    st.markdown(
        "Look inside a real language model, on this machine: which heads attend where, what every "
        "layer would say next, and which parts wrote the answer.  \n"
        "Pick an example, or open **Attention**, **Lens** or **Attribution** and type your own "
        "prompt, or **Patching** and choose a task."
    )
    ready = state.installed(state.REAL)
    if not ready:
        st.info(
            f"{state.REAL} is not installed. Fetch it once (93 MB): "
            f"`workbench models pull {state.REAL}`. Until then, induction-by-hand works."
        )
    if ready:
        tour.card()
    st.subheader("Examples")
    shown = [e for e in EXAMPLES if ready or e.settings.get("model") != state.REAL]
    for start in range(0, len(shown), 3):
        for column, example in zip(st.columns(3), shown[start : start + 3], strict=False):
            with column:
                _card(example)
    _status()


def _card(example: Example) -> None:
    with st.container(border=True, height="stretch"):
        st.markdown(f"**{example.title}**")
        st.caption(example.about)
        prompts.link(example, f"Open in {example.page} →")


def _status() -> None:
    st.subheader("What is ready")
    count, n_bytes = _folder(home() / "store" / "captures")
    rows = {
        **{
            name: "ready" if state.installed(name) else "not fetched yet"
            for name in listed("models")
        },
        "store": f"{count:,} activations, {n_bytes / 1e6:,.1f} MB",
        "cores": f"{os.cpu_count()}, load {os.getloadavg()[0]:.1f}",
        "memory": _memory(),
        "files": f"`{home()}`",
    }
    # As text: st.table would fetch a megabyte of Arrow's scripts.
    lines = (f"| {what} | {how} |" for what, how in rows.items())
    st.markdown("\n".join(["| what | state |", "| --- | --- |", *lines]))


def _folder(folder: Path) -> tuple[int, int]:
    sizes = [path.stat().st_size for path in folder.glob("*/*.safetensors")]
    return len(sizes), sum(sizes)


def _memory() -> str:
    """Memory of this machine, where the system says it."""
    if not hasattr(os, "sysconf") or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return "unknown"
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    free, total = (os.sysconf(f"SC_{kind}_PAGES") * page_bytes for kind in ("AVPHYS", "PHYS"))
    return f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB"

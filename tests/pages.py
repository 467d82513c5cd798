"""A page in Streamlit's own test runner, and what it sends to its canvas."""

import base64
import json
from typing import Any

import numpy as np
from streamlit.runtime.caching.cache_utils import CachedFunc
from streamlit.testing.v1 import AppTest

from dashboards import (
    ablation_view,
    attention_view,
    attribution_view,
    circuit_finding,
    lens_view,
    neurons_heads,
    neurons_view,
    othello_view,
    patching_cell,
    patching_sweeps,
    probes_view,
    sae_edits,
    sae_view,
    state,
    steering_view,
    weights_view,
)

VIEWS = (
    *(ablation_view, attention_view, attribution_view, circuit_finding, lens_view),
    *(othello_view, patching_cell, patching_sweeps, probes_view, sae_edits, sae_view),
    *(steering_view, weights_view, neurons_heads, neurons_view),
)
BY_HAND = "induction-by-hand"
PROMPT = "a b c d e a b c d"


def forget() -> None:
    """What a new process would not know: the views and the store's memory tier."""
    for module in VIEWS:
        for value in vars(module).values():
            if isinstance(value, CachedFunc):
                value.clear()
    state._store.clear()


def one_page(name: str) -> None:
    """A main script that runs one page with all of them known, as the app's links need."""
    import streamlit

    from dashboards import state
    from dashboards.navigation import pages, url_path
    from workbench.registry import listed, resolve

    streamlit.navigation(list(pages().values()))
    state.show_as(name, url_path(name))
    resolve(listed("pages")[name])()


def opened(page: str, **address: str) -> AppTest:
    """A page as somebody finds it who opens that address."""
    at = AppTest.from_function(one_page, default_timeout=120, kwargs={"name": page})
    for name, value in {"model": BY_HAND, **address}.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception, at.exception
    return at


def sent(at: AppTest) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of the block that the page's one canvas is given."""
    (element,) = at.get("bidi_component")
    return unpacked(element.proto.bytes)


def unpacked(block: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    size = int.from_bytes(block[:4], "little")
    header, body = json.loads(block[4 : 4 + size]), block[4 + size :]
    arrays = {
        name: np.frombuffer(
            body, about["dtype"], count=int(np.prod(about["shape"])), offset=about["at"]
        ).reshape(about["shape"])
        for name, about in header["arrays"].items()
    }
    return header, arrays


def charts(at: AppTest) -> list[dict[str, Any]]:
    """The Plotly figures of a page, as they are sent."""
    return [json.loads(element.proto.spec) for element in at.get("plotly_chart")]


def numbers(values: Any) -> np.ndarray:
    """An array of a figure, which Plotly may send as bytes."""
    if not isinstance(values, dict):
        return np.array(values, dtype=float)
    found = np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"])
    shape = [int(side) for side in values.get("shape", str(found.size)).split(",")]
    return found.reshape(shape).astype(float)

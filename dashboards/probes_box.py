"""Boxes of the Probes page: which labels, which probes, what is read at tokens."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboards import state
from probes.text import SHIPPED
from workbench.errors import InputError
from workbench.registry import listed

if TYPE_CHECKING:  # torch must not load before it is needed
    import numpy as np

    from workbench.labels import Labelled
    from workbench.models import Model

TYPED, FILE, ANSWER = "typed labels", "a file", "answer"
KINDS = ("ridge", "logistic", "mean-difference", "mlp")
SITES = "0.resid_pre, *.resid_post"
CONTEXTS, SEEDS = (10, 10_000), (0, 10**6)
# Okabe and Ito's: for all eyes. The answer also stands under its token.
COLOURS = ("0,114,178", "230,159,0", "0,158,115", "204,121,167", "86,180,233", "213,94,0")
COLOURS += ("240,228,66", "153,153,153")
TOKEN = (
    "display:inline-block;margin:2px 1px;padding:1px 3px;border-radius:4px;text-align:center;"
    "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.95rem;white-space:pre"
)


@dataclass(frozen=True)
class LabelsAsked:
    """Labels by name, which may draw so many contexts, or the content of a file."""

    name: str
    content: str = ""
    ending: str = ""
    contexts: int = 0
    seed: int = 0

    @property
    def file(self) -> str:
        """How a script names the file."""
        return f"{Path(self.name).stem.replace(' ', '-')}{self.ending}"

    def read(self, model: Model) -> Labelled:
        """The labels themselves. Raises `InputError` for what cannot be read."""
        from workbench.labels import label_source, read_labels

        if self.name in SHIPPED:
            return read_labels(SHIPPED[self.name], model)
        if not self.content:
            source = label_source(self.name)
            assert source.corpus is not None, "only such labels are offered"
            corpus = source.corpus(model.vocabulary, self.contexts, self.seed)
            return source.label(corpus, model.vocabulary)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / self.file
            path.write_text(self.content, encoding="utf-8")
            try:
                return read_labels(path, model)
            except InputError as error:
                raise InputError(str(error).replace(str(path), f"the text {self.name}")) from error


@dataclass(frozen=True)
class Asked:
    """Labels, and the probes that are to read them."""

    labels: LabelsAsked
    kind: str
    sites: tuple[str, ...]
    among: tuple[str, ...]
    random: bool
    seed: int


def fitting(model: Model) -> list[str]:
    """The names of labels that fit a model's tokens."""
    from workbench.labels import label_source

    def fits(name: str) -> bool:
        try:
            if name in SHIPPED:
                return len(model.tokenize("The word", bos=False)) > 0
            draw = label_source(name).corpus
            return draw is not None and len(draw(model.vocabulary, 1, 0)) > 0
        except InputError:
            return False

    return [name for name in (*listed("labels"), *SHIPPED) if fits(name)]


def asked_box(model: Model) -> Asked | None:
    """The widgets of labels and probes; None, and what is missing, until labels are given."""
    names = [*fitting(model), TYPED, FILE]
    if st.session_state.get("labels", names[0]) not in names:  # of the model before
        del st.session_state["labels"]
    state.allowed("labels", names)
    state.allowed("kind", KINDS)
    columns = st.columns([2, 1.4, 2.2, 1.6, 1, 1])
    name = str(columns[0].selectbox("Labels", names, key="labels", bind="query-params"))
    kind = columns[1].selectbox("Probe", KINDS, key="kind", bind="query-params")
    sites = columns[2].text_input(
        "Sites", key="sites", bind="query-params", placeholder=SITES, help="Places, with commas."
    )
    among = columns[3].text_input(
        "Among",
        key="among",
        bind="query-params",
        placeholder="all",
        help="Judge only where the true class is one of these, such as mine,theirs.",
    )
    drawn = name not in (TYPED, FILE, *SHIPPED)
    seed = columns[4].number_input(
        "Seed", *SEEDS, 0, key="seed", bind=state.in_range("seed", *SEEDS)
    )
    contexts = columns[5].number_input(
        "Contexts", *CONTEXTS, 300, key="n", bind=state.in_range("n", *CONTEXTS), disabled=not drawn
    )
    random = st.toggle(
        "Control with random weights",
        True,
        key="random",
        bind="query-params",
        help="The same probes on this architecture untrained: about as long again.",
    )
    labels = _labels(name, int(contexts), int(seed))
    if labels is None:
        return None
    return Asked(labels, str(kind), _words(sites or SITES), _words(among), bool(random), int(seed))


def _labels(name: str, contexts: int, seed: int) -> LabelsAsked | None:
    if name == TYPED:
        text = st.text_area(
            "Tagged text, CSV or JSON Lines",
            key="typed",
            bind="query-params",
            height=120,
            placeholder="The/other cat/animal sat/other\n\nA/other dog/animal barked/other",
            help="Words with a tag after a slash, a blank line between documents; or a CSV with "
            "text,label and perhaps word and group; or JSON Lines of these.",
        )
        if not text.strip():
            st.info("Type labelled text above: at least three documents, two classes.")
            return None
        return LabelsAsked("typed", text, ending_of(text))
    if name == FILE:
        given = st.file_uploader(
            "A file of labels", ["csv", "jsonl", "txt"], key="file", help="No part of the address."
        )
        if given is None:
            st.info("Give a CSV, JSON Lines or tagged text file.")
            return None
        text = given.getvalue().decode("utf-8", errors="replace")
        return LabelsAsked(given.name, text, Path(given.name).suffix.lower())
    return LabelsAsked(name) if name in SHIPPED else LabelsAsked(name, "", "", contexts, seed)


def ending_of(text: str) -> str:
    """What a text is, told by how it begins."""
    first = text.lstrip().split("\n", 1)[0]
    if first.startswith("{"):
        return ".jsonl"
    return ".csv" if "label" in first.split(",") else ".txt"


def progress_box(slot: DeltaGenerator) -> DeltaGenerator:
    """How far it is, and a button that ends it: a click runs the page anew from the top."""
    with slot.container():
        bar = st.empty()
        stopped = st.button("Stop")
    if stopped:
        slot.info("Stopped. Sweeps that were finished are kept.")
        st.button("Go on")
        st.stop()
    return bar


def chosen_site(sites: Sequence[str], best: str) -> str:
    """The site whose answers are looked at."""
    if st.session_state.get("site", best) not in sites:  # of the sweep before
        del st.session_state["site"]
    state.allowed("site", sites)
    return str(st.selectbox("Look at", sites, sites.index(best), key="site", bind="query-params"))


def token_box(
    tokens: Sequence[str], shares: np.ndarray, classes: Sequence[str], shown: str
) -> None:
    """Tokens coloured by what is read there, the answer under each, all shares on hover."""
    cells = []
    for token, row in zip(tokens, shares, strict=True):
        best = int(row.argmax())
        told = ", ".join(f"{name} {x:.3f}" for name, x in zip(classes, row, strict=True))
        number = best if shown == ANSWER else list(classes).index(shown)
        colour, alpha = COLOURS[number % len(COLOURS)], 0.08 + 0.36 * float(row[number])
        under = classes[best] if shown == ANSWER else f"{row[number]:.2f}"
        cells.append(
            f"<span style='{TOKEN};background:rgba({colour},{alpha:.2f})' "
            f"title='{escape(f'{token!r}: {told}', quote=True)}'>{escape(token)}<br>"
            f"<small style='opacity:.85'>{escape(under)}</small></span>"
        )
    st.html(f"<div tabindex='0' style='line-height:1.5'>{''.join(cells)}</div>")


def script_of(asked: Asked) -> tuple[Sequence[str], Sequence[str]]:
    """What a script imports to have these labels, and its lines."""
    labels = asked.labels
    if labels.name in SHIPPED:
        names = ["probes.text:SHIPPED", "workbench.labels:read_labels"]
        return names, [f"labelled = read_labels(SHIPPED[{labels.name!r}], model)"]
    if labels.content:
        return ["pathlib:Path", "tempfile:mkdtemp", "workbench.labels:read_labels"], [
            f"path = Path(mkdtemp()) / {labels.file!r}",
            f'path.write_text({labels.content!r}, encoding="utf-8")',
            "labelled = read_labels(path, model)",
        ]
    return ["workbench.labels:label_source"], [
        f"source = label_source({labels.name!r})",
        f"corpus = source.corpus(model.vocabulary, {labels.contexts}, {labels.seed})",
        "labelled = source.label(corpus, model.vocabulary)",
    ]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())

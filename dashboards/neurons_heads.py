"""Boxes of the Neurons page about heads: eigenvalues, bigrams, skip trigrams of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboards import state
from dashboards.exports import Made, Table, camera, tidy
from dashboards.neurons_view import HELD_OUT, Text, corpus_of
from dashboards.shading import grid

if TYPE_CHECKING:  # torch and Plotly must not load before they are needed
    from streamlit.delta_generator import DeltaGenerator

    from workbench.figures import Figure
    from workbench.labs.framework import BigramFit, SkipTrigram
    from workbench.models import Model

RANDOM = 200  # heads at random
LISTED, SHOWN = 200, 24  # skip trigrams of a head that are counted, and shown
LEAST = 15  # times that a token stands in the text
CONTEXTS = 900  # of held-out text
POINTS = 4_000  # pairs of tokens that are drawn
ABOUT = (
    "From the weights alone: each head's W_E OV W_U, token to token. A head whose eigenvalues "
    "are positive raises the tokens that it attends to: it copies (Elhage et al. 2021)."
)


@dataclass(frozen=True, eq=False)
class Heads:
    """All heads of a model: copying scores, those of heads at random, eigenvalues by layer."""

    copying: np.ndarray
    random: np.ndarray
    eigenvalues: tuple[np.ndarray, ...]

    @property
    def told(self) -> str:
        scores = self.copying[np.isfinite(self.copying)]
        (above, high), (chance, rare) = (
            (int((found > 0).sum()), int((found > 0.5).sum())) for found in (scores, self.random)
        )
        return (
            f"{above:,} of the {len(scores):,} heads have a positive copying score, {high:,} one "
            f"above 0.5; of {len(self.random):,} heads at random between the same embeddings "
            f"{chance:,} and {rare:,} (standard deviation {self.random.std():.2f})"
        )


@dataclass(frozen=True, eq=False)
class Trigrams:
    """The skip trigrams of a one-layer model's heads, and how a text bears them out."""

    heads: Sequence[str]
    listed: Sequence[Sequence[SkipTrigram]]
    lifts: np.ndarray
    shuffled: np.ndarray
    places: Sequence[int]
    text: str


@st.cache_resource(max_entries=4, show_spinner="Reading the weights …")
def heads_view(fingerprint: str, _model: Model) -> Heads:
    """The heads of a model by its fingerprint. Raises `InputError` as `eigenvalues`."""
    from workbench.circuits import copying_scores, eigenvalues
    from workbench.labs.framework import random_copying
    from workbench.sites import Head

    sizes = _model.architecture
    values = tuple(
        np.stack(
            [eigenvalues(_model, Head(layer, head)).cpu().numpy() for head in range(sizes.n_heads)]
        )
        for layer in (range(sizes.n_layers) if sizes.n_layers * sizes.n_heads <= 64 else ())
    )
    scores = copying_scores(_model).cpu().numpy()
    return Heads(scores, random_copying(_model, RANDOM).numpy(), values)


@st.cache_resource(max_entries=4, show_spinner="Listing skip trigrams …")
def trigrams_view(fingerprint: str, _model: Model) -> Trigrams:
    """Those of every head of the only layer. Raises `InputError` as `frequent`."""
    from workbench.labs.framework import born_out, frequent, shuffled, skip_trigrams, triples
    from workbench.sites import Head

    corpus = corpus_of(_model, Text(HELD_OUT, CONTEXTS))
    among = frequent(np.asarray(corpus.ids), LEAST, corpus.bos_id)
    heads = [Head(0, head) for head in range(_model.architecture.n_heads)]
    listed = [skip_trigrams(_model, head, among, n=LISTED) for head in heads]
    ids = np.asarray(corpus.ids)
    own = [born_out(ids, triples(found)) for found in listed]
    other = [born_out(ids, shuffled(triples(found))) for found in listed]
    return Trigrams(
        heads=[str(head) for head in heads],
        listed=listed,
        lifts=np.array([one.lift for one in own]),
        shuffled=np.array([one.lift for one in other]),
        places=[one.places for one in own],
        text=f"{corpus.name}, {corpus.n_tokens:,} tokens",
    )


@st.cache_resource(max_entries=4, show_spinner="Counting pairs …")
def bigrams_view(fingerprint: str, _model: Model) -> BigramFit:
    """A model without layers against the text that it was trained on."""
    from workbench.labs.framework import bigram_fit

    return bigram_fit(_model, np.asarray(corpus_of(_model, Text("smol-sample", 20_000)).ids))


@dataclass
class Shown:
    """What is on the page about heads, for its files."""

    told: str = ""
    tables: dict[str, Callable[[], Table]] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)

    def chart(self, column: DeltaGenerator, name: str, figure: Figure, made: Made) -> None:
        """Draw a figure, and keep it."""
        self.figures[name] = figure
        column.plotly_chart(figure, key=name, config=camera(made, name))


def heads_box(model: Model, made: Made) -> Shown:
    """What the weights say: copying, eigenvalues, and what a small model's are worth on text."""
    shown = Shown()
    with state.plain_errors():
        if model.architecture.n_layers:
            _copying(model, made, shown)
        if model.architecture.n_layers == 1:
            _trigrams(model, made, shown)
        if not model.architecture.n_layers:
            _bigrams(model, made, shown)
    return shown


def _copying(model: Model, made: Made, shown: Shown) -> None:
    from workbench.figures import framework

    view = heads_view(model.identity.fingerprint, model)
    shown.told = view.told
    n_layers, n_heads = view.copying.shape
    axes = {"layer": range(n_layers)}, {"head": range(n_heads)}
    shown.tables["copying"] = lambda: tidy({"copying score": view.copying}, *axes)
    st.markdown(f"**{state.literal(view.told)}.**")
    title = "Copying scores, trained and at random"
    left, right = st.columns(2)
    shown.chart(left, "copying", framework.copying(view.copying, title="Copying scores"), made)
    counted = framework.copying_histogram(view.copying, view.random, title=title)
    shown.chart(right, "copying histogram", counted, made)
    for layer, values in enumerate(view.eigenvalues):
        names = [f"L{layer}H{n}: {score:+.2f}" for n, score in enumerate(view.copying[layer])]
        title = f"OV eigenvalues of layer {layer}, over each head's largest"
        figure = framework.head_eigenvalues(values, names, title=title)
        shown.chart(st.container(), f"eigenvalues of layer {layer}", figure, made)
    st.caption(ABOUT)


def _trigrams(model: Model, made: Made, shown: Shown) -> None:
    from workbench.figures import framework
    from workbench.models import visible

    view = trigrams_view(model.identity.fingerprint, model)
    strings = model.vocabulary.string
    shown.tables["skip trigrams"] = lambda: _listed(view, strings)
    st.subheader("Skip trigrams: source … destination → out")
    state.allowed("head", view.heads)
    head = st.segmented_control(
        "Head", view.heads, default=view.heads[0], required=True, key="head", bind="query-params"
    )
    mine = view.listed[list(view.heads).index(str(head))]
    left, right = st.columns([3, 2])
    rows = [(*map(visible, one[:3]), *one[3:]) for one in _rows(mine, strings)]
    left.html(grid(("source", "… destination", "→ out", "attention", "logit"), rows[:SHOWN]))
    figure = framework.lifts(
        view.heads, view.lifts, view.shuffled, title="How often the text goes on so"
    )
    shown.chart(right, "lifts", figure, made)
    st.caption(
        f"The {len(mine):,} strongest of each head by attention (the source's score as a key above "
        f"the mean key) times logit; {SHOWN} of {head}'s are shown. Lift: how many times as often "
        "as after the destination alone the text goes on with out, where the source stands before "
        f"it; {view.text}."
    )


def _rows(some: Sequence[SkipTrigram], strings: Callable[[int], str]) -> list[tuple[str, ...]]:
    return [
        (*map(strings, (one.source, one.destination, one.out)), f"{one.attention:.2f}",
         f"{one.logit:.2f}")
        for one in some
    ]  # fmt: skip


def _listed(view: Trigrams, strings: Callable[[int], str]) -> Iterator[Sequence[object]]:
    yield "head", "source", "destination", "out", "attention", "logit"
    for head, some in zip(view.heads, view.listed, strict=True):
        yield from ((head, *row) for row in _rows(some, strings))


def _bigrams(model: Model, made: Made, shown: Shown) -> None:
    from workbench.figures import framework

    fit = bigrams_view(model.identity.fingerprint, model)
    shown.told = (
        f"KL from the text's bigrams to the model {fit.kl:.2f} nats a token; to the frequencies "
        f"of tokens alone {fit.unigram:.2f}. Correlation of log-probabilities "
        f"{fit.correlation:.3f} over the {len(fit.text):,} pairs seen at least five times"
    )
    shown.tables["bigrams"] = lambda: [("text", "model"), *zip(fit.text, fit.model, strict=True)]
    st.markdown(f"**{state.literal(shown.told)}.**")
    some = np.random.default_rng(0).permutation(len(fit.text))[:POINTS]
    figure = framework.bigrams(fit.text[some], fit.model[some], title="Without layers: bigrams")
    shown.chart(st.container(), "bigrams", figure, made)

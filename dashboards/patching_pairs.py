"""Whose prompts are patched: pairs of a task, or two prompts of the user's own, token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import zip_longest
from typing import TYPE_CHECKING

import streamlit as st

from dashboards import prompts, state
from dashboards.examples import examples
from dashboards.exports import Made
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load before it is needed
    from workbench.models import Model, Tokens
    from workbench.tasks import Pairs

SOURCES = ("pairs of a task", "two prompts of your own")
COUNT = (1, 64)
TASKS: Mapping[str, Sequence[str]] = {  # and their corruptions, the default first
    "ioi": ("s2-io", "s2-third", "abc"),
    "capitals": (),
    "languages": (),
    "agreement": (),
    "pronouns": (),
    "greater-than": (),
    "induction": ("next", "moved"),
    "docstring": ("unrelated", "renamed"),
}
SPACE = "One token; words inside a sentence begin with a space."
# A position's number and its two tokens, one above the other; positions wrap like words.
COLUMN = "display:flex;flex-direction:column;text-align:center;white-space:pre;padding:0 4px;"
ALIKE = "border:2px solid transparent"
APART = "border:2px solid #E69F00;border-radius:3px;font-weight:700"
NUMBER = "font-size:11px;font-weight:400;opacity:.75"


@dataclass(frozen=True)
class PairsAsked:
    """The settings of the box: a task with its draw, or texts."""

    task: str = ""
    n: int = 1
    seed: int = 0
    corruption: str | None = None
    clean: str = ""
    corrupted: str = ""
    answer: str = ""
    wrong: str = ""
    bos: str = "auto"

    @property
    def with_bos(self) -> bool | None:
        """The BOS policy as `Model.tokenize` takes it."""
        return {"auto": None, "on": True, "off": False}[self.bos]

    def pairs(self, model: Model) -> Pairs:
        """Raises `InputError` for prompts that do not align, and for answers of several tokens."""
        from workbench.tasks import Pairs, pair, task

        if self.task:
            return task(self.task).pairs(model, self.n, self.seed, corruption=self.corruption)
        wrong = self.wrong or ()
        own = pair(model, self.clean, self.corrupted, self.answer, wrong, bos=self.with_bos)
        return Pairs("one pair", (own,))

    def made(self, choice: state.Choice, view: str = "patching") -> Made:
        """What a view of these pairs is made from, for its exports."""
        base = choice.made(view)
        if self.task:
            about = f"{self.n} pairs of {self.task}, seed {self.seed}"
            about += f", corruption {self.corruption}" if self.corruption else ""
            names, code = ["task"], [f"task({self.task!r}).pairs(model, {self.n}, {self.seed}"]
            code.append(f", corruption={self.corruption!r})" if self.corruption else ")")
        else:
            about = f"one pair, BOS {self.bos}: {self.clean!r} and {self.corrupted!r}"
            texts = (self.clean, self.corrupted, self.answer, self.wrong or ())
            names = ["Pairs", "pair"]
            code = [f"Pairs('one pair', (pair(model, {', '.join(map(repr, texts))}, "]
            code.append(f"bos={self.with_bos}),))")
        return replace(
            base,
            about=f"{choice}; {about}",
            note=f"{choice}; {about}",
            code=[*base.code, f"pairs = {''.join(code)}"],
            names=[*base.names, *(f"workbench.tasks:{name}" for name in names)],
            file=f"{base.file} {self.task or 'own pair'}",
        )


def box(page: str = "Patching") -> PairsAsked | None:
    """The settings; None (and the page's examples) while there are no pairs."""
    state.allowed("pairs", SOURCES)
    source = st.segmented_control(
        "Pairs",
        SOURCES,
        default=SOURCES[0],
        key="pairs",
        bind="query-params",
        label_visibility="collapsed",
    )
    asked = _own() if source == SOURCES[1] else _task()
    if asked is None:
        what = "Fill in both prompts and the answer" if source == SOURCES[1] else "Choose a task"
        st.info(f"{what} above, or start from an example:")
        for example in examples(page):
            prompts.link(example, example.title)
    return asked


def _task() -> PairsAsked | None:
    state.allowed("task", [*TASKS])
    columns = st.columns([2, 1, 1, 2, 1])
    name = columns[0].selectbox(
        "Task", [*TASKS], index=None, key="task", bind="query-params", placeholder="Choose a task"
    )
    n = columns[1].number_input("Pairs", *COUNT, 8, key="n", bind=state.in_range("n", *COUNT))
    seeds = prompts.SEEDS
    seed = columns[2].number_input(
        "Seed", *seeds, 0, key="seed", bind=state.in_range("seed", *seeds)
    )
    corruption, known = None, TASKS[str(name)] if name else ()
    if known:
        state.allowed("corruption", known)
        corruption = columns[3].selectbox(
            "Corruption", known, key="corruption", bind="query-params"
        )
    if name is None:
        return None
    return PairsAsked(str(name), int(n), int(seed), None if corruption is None else str(corruption))


def _own() -> PairsAsked | None:
    state.allowed("bos", prompts.BOS)
    columns = st.columns(2)
    clean = columns[0].text_input(
        "Clean prompt", key="clean", bind="query-params", placeholder="The capital of France is"
    )
    corrupted = columns[1].text_input(
        "Corrupted prompt (as many tokens)",
        key="corrupted",
        bind="query-params",
        placeholder="The capital of Italy is",
    )
    columns = st.columns([1, 1, 1, 2])
    answer = columns[0].text_input(
        "Answer", key="answer", bind="query-params", placeholder=" Paris", help=SPACE
    )
    wrong = columns[1].text_input(
        "Wrong token", key="wrong", bind="query-params", placeholder=" Rome", help=SPACE
    )
    bos = columns[2].selectbox("BOS", prompts.BOS, key="bos", bind="query-params")
    if not (clean.strip() and corrupted.strip() and answer):
        return None
    return PairsAsked(clean=clean, corrupted=corrupted, answer=answer, wrong=wrong, bos=str(bos))


def made_of(model: Model, asked: PairsAsked) -> Pairs:
    """The pairs; where they cannot be, a sentence and both prompts, and the page ends there."""
    try:
        return asked.pairs(model)
    except InputError as error:
        st.error(state.plain(str(error)))
        if not asked.task:
            with state.plain_errors():
                both = [
                    model.tokenize(text, bos=asked.with_bos)
                    for text in (asked.clean, asked.corrupted)
                ]
            aligned(*both)
        st.stop()


def shown(pairs: Pairs) -> int:
    """The number of the pair whose prompts are shown; both of them, token by token."""
    last, number = len(pairs) - 1, 0
    left, right = st.columns([1, 5])
    if last:
        bind = state.in_range("pair", 0, last)
        number = left.number_input(f"Pair (0 to {last})", 0, last, 0, key="pair", bind=bind)
    else:
        left.markdown("One pair")
    row = pairs.rows[int(number)]
    with right:
        aligned(row.clean, row.corrupted)
    return int(number)


def aligned(clean: Tokens, corrupted: Tokens) -> None:
    """Both prompts token by token; positions at which they differ are outlined."""
    names = f"<span style='{NUMBER}'> </span><b>clean</b><b>corrupted</b>"
    columns = [f"<div style='{COLUMN}{ALIKE}'>{names}</div>"]
    ids = zip_longest(clean.ids, corrupted.ids)
    strings = zip_longest(clean.strings, corrupted.strings)
    labels = zip_longest(clean.labels, corrupted.labels, fillvalue="—")
    for place, (tokens, told, words) in enumerate(zip(ids, strings, labels, strict=True)):
        style = ALIKE if len(set(tokens)) == 1 else APART
        title = escape(f"{place}: {told[0]!r}, {told[1]!r}", quote=True)
        spans = "".join(f"<span>{escape(word)}</span>" for word in words)
        columns.append(
            f"<div style='{COLUMN}{style}' title='{title}'>"
            f"<span style='{NUMBER}'>{place}</span>{spans}</div>"
        )
    st.html(
        "<div style='display:flex;flex-wrap:wrap;font-family:monospace;font-size:13px;"
        f"line-height:1.35'>{''.join(columns)}</div>"
    )

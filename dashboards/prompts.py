"""What the user asks about: a prompt, or random tokens repeated, as token ids with labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import streamlit as st

from dashboards.components import TokenLabel
from dashboards.example import Example
from dashboards.examples import examples
from dashboards.exports import Made
from dashboards.navigation import url_path
from dashboards.state import Choice, allowed, in_range, plain_errors

if TYPE_CHECKING:  # torch must not load before it is needed
    import torch

    from workbench.models import Model, Tokens

INPUTS = ("prompt", "random tokens")
BOS = ("auto", "on", "off")
LENGTHS, BATCHES, SEEDS = (2, 200), (1, 16), (0, 10**6)


@dataclass(frozen=True)
class Question:
    """The settings of the prompt box."""

    text: str
    random: bool
    length: int
    batch: int
    seed: int
    bos: str
    chat: bool

    @property
    def with_bos(self) -> bool | None:
        """The BOS policy as `Model.tokenize` takes it; None is the vocabulary's own."""
        return {"auto": None, "on": True, "off": False}[self.bos]

    def about(self, drawn: int) -> str:
        """What was asked, in words; a block is `drawn` tokens where no more fit."""
        if not self.random:
            return f"one prompt, BOS {self.bos}{', in the chat template' if self.chat else ''}"
        asked = f" (of {self.length} asked for; no more fit)" if drawn < self.length else ""
        return (
            f"{drawn} random tokens{asked} repeated, {self.batch} sequences, seed {self.seed}; "
            "scores are means, the pattern is that of the first"
        )

    def tokenized(self, text: str) -> str:
        """The Python that makes tokens of a text under these settings."""
        return f"model.tokenize({text!r}, bos={self.with_bos}, chat={self.chat})"


@dataclass(frozen=True)
class Asked:
    """Token ids `[batch, pos]`, all tokens of the first row (`ids` may be cut), and the words."""

    ids: torch.Tensor
    tokens: Tokens
    question: Question

    @property
    def about(self) -> str:
        return self.question.about(self.ids.shape[1] // 2)

    @property
    def strings(self) -> tuple[str, ...]:
        """The exact tokens that are shown."""
        return self.tokens.strings[: self.ids.shape[1]]

    @property
    def text(self) -> str:
        """The text that is shown, without a BOS put in front."""
        return self.tokens.text[: self.tokens.offsets[self.ids.shape[1] - 1][1]]

    def made(self, view: str, choice: Choice) -> Made:
        """What a view of this is made from, for its exports."""
        model = choice.made(view)
        names, about = list(model.names), f"{choice}; {self.about}"
        if self.question.random:
            names.append("workbench.attention:repeated_random")
            ids = (
                f"repeated_random(model, length={self.ids.shape[1] // 2}, "
                f"batch={self.question.batch}, seed={self.question.seed})"
            )
        else:
            cut = len(self.tokens) > self.ids.shape[1]
            kept = f"[:, :{self.ids.shape[1]}]  # the page shows no more" if cut else ""
            ids = f"{self.question.tokenized(self.question.text)}.tensor(model.device){kept}"
        strings = "strings = [model.vocabulary.string(token) for token in ids[0].tolist()]"
        return replace(
            model,
            about=about,
            note=about if self.question.random else f"{about}: {self.text}",
            code=[*model.code, f"ids = {ids}", strings],
            names=names,
        )

    @property
    def labels(self) -> list[TokenLabel]:
        return [
            TokenLabel(
                label, f"{string!r}{' (chat template)' if pos in self.tokens.template else ''}"
            )
            for pos, (label, string) in enumerate(
                zip(self.tokens.labels, self.tokens.strings, strict=True)
            )
        ][: self.ids.shape[1]]


def box(page: str, *, random: bool) -> Question | None:
    """The prompt box; None (and the examples) while there is no prompt."""
    allowed("bos", BOS)
    asks_random = False
    if random:
        allowed("input", INPUTS)
        kind = st.segmented_control(
            "Input",
            INPUTS,
            default="prompt",
            key="input",
            bind="query-params",
            label_visibility="collapsed",
        )
        asks_random = kind == INPUTS[1]
    if asks_random:
        columns = st.columns(3)
        length = columns[0].number_input(
            "Tokens in a block", *LENGTHS, 50, key="length", bind=in_range("length", *LENGTHS)
        )
        batch = columns[1].number_input(
            "Sequences", *BATCHES, 4, key="batch", bind=in_range("batch", *BATCHES)
        )
        seed = columns[2].number_input("Seed", *SEEDS, 0, key="seed", bind=in_range("seed", *SEEDS))
        return Question("", True, int(length), int(batch), int(seed), "auto", False)
    text = st.text_area(
        "Prompt",
        key="prompt",
        bind="query-params",
        height=80,
        placeholder="Type a prompt, then press Ctrl+Enter",
    )
    columns = st.columns([1, 1, 4], vertical_alignment="bottom")
    bos = columns[0].selectbox(
        "BOS",
        BOS,
        key="bos",
        bind="query-params",
        help="A beginning-of-sequence token in front. auto: where the vocabulary has one and the "
        "chat template is off.",
    )
    chat = columns[1].toggle("Chat template", key="chat", bind="query-params")
    if not text.strip():
        st.info("Type a prompt above, or start from an example:")
        for example in examples(page):
            link(example, example.title)
        return None
    return Question(text, False, 0, 1, 0, str(bos), chat)


def link(example: Example, label: str) -> None:
    """A plain link that opens an example in a session of its own.

    `st.page_link` will not do: settings that are bound to the address keep the value they have
    in this session, against what the link says.
    """
    address = f"{url_path(example.page)}?{urlencode(example.address)}"
    about = escape(example.about, quote=True)
    st.html(f'<a href="{escape(address, quote=True)}" title="{about}">{escape(label)}</a>')


def ask(model: Model, question: Question, *, cap: int) -> Asked:
    """Tokenise what was asked; prompts longer than `cap` tokens are cut, and the page says so.

    Attention is causal: what is shown of a cut prompt is what the whole one would show there.
    """
    from workbench.attention import repeated_random
    from workbench.models import from_ids

    with plain_errors():
        if question.random:
            length = min(question.length, (cap - 1) // 2)
            ids = repeated_random(model, length=length, batch=question.batch, seed=question.seed)
            has_bos = model.vocabulary.bos_id is not None
            tokens = from_ids(model.vocabulary, ids[0].tolist(), bos=has_bos)
        else:
            tokens = model.tokenize(question.text, bos=question.with_bos, chat=question.chat)
            ids = tokens.tensor(model.device)[:, :cap]
    if len(tokens) > ids.shape[1]:
        st.caption(
            f"The prompt has {len(tokens):,} tokens; the first {cap} are computed and shown. "
            "Attention is causal, so they are what the whole prompt would give there."
        )
    if tokens.template:
        own = [pos for pos in range(len(tokens)) if pos not in tokens.template]
        st.caption(f"Positions {own[0]} to {own[-1]} are yours; the chat template wrote the rest.")
    return Asked(ids, tokens, question)

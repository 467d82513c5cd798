"""A latent ablated, set or added to: the text before and after, and how far predictions moved."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import streamlit as st

from dashboards.ablation_view import NextTokens, next_tokens
from dashboards.sae_view import Opened
from workbench.errors import InputError

if TYPE_CHECKING:  # torch must not load before it is needed
    from sae.dictionary import SAE
    from workbench.generation import Generation
    from workbench.hooks import Edit
    from workbench.models import Tokens

ABLATE, ADD, SET = "ablate", "add", "set to"
HOW = (ABLATE, ADD, SET)
STRENGTHS = ("-8", "-4", "-2", "-1", "-0.5", "0", "0.5", "1", "2", "4", "8")


@dataclass(frozen=True)
class Push:
    """What is done to a latent; `strength` is in units of its largest activation."""

    latent: int
    how: str
    strength: float
    seed: int
    temperature: float
    new_tokens: int


@dataclass(frozen=True)
class EditView:
    """The plain text and the edited one, the next tokens, and what a random direction does.

    The control reads the same latent, but writes along a random direction of the same length.
    """

    push: Push
    length: float
    plain: Generation
    edited: Generation
    next: NextTokens
    control: NextTokens
    seconds: float
    made: float

    @property
    def about(self) -> str:
        """What was done, in words."""
        what = f"latent {self.push.latent}"
        if self.push.how == ABLATE:
            return f"{what} ablated: set to 0 wherever it is active"
        told = f"{self.length:.3g} ({self.push.strength:g} x its largest activation)"
        if self.push.how == SET:
            return f"{what} set to {told} at every position"
        return f"{told} of {what} added at every position"

    @property
    def sum(self) -> str:
        """How far the predictions moved, beside the control."""
        still = "; the edit moved nothing: the latent says nothing here" if self.next.still else ""
        return (
            f"KL(plain || edited) is {self.next.kl:.4f} nats after the last token, "
            f"{self.next.mean_kl:.4f} on average over the prompt's positions; the same along a "
            f"random direction: {self.control.kl:.4f} and {self.control.mean_kl:.4f}{still}"
        )


def edit_of(sae: SAE, push: Push, length: float, *, bos: bool) -> Edit:
    """The edit itself. Raises `InputError` as `sae.editing` does."""
    from sae.editing import clamp, steer

    if push.how == ADD:
        return steer(sae, push.latent, length, bos=bos)
    return clamp(sae, push.latent, 0.0 if push.how == ABLATE else length, bos=bos)


def edit_view(view: Opened, tokens: Tokens, push: Push) -> EditView:
    """Compute the view, or take it from this process' last ones."""
    if push.how == SET and push.strength < 0:
        raise InputError("a latent cannot say less than 0; set it to 0 or more, or add to it")
    return _edited(view.key, tokens.ids, tokens.bos, push, view, tokens)


@st.cache_resource(max_entries=64, show_spinner="Writing with the edit and without it …")
def _edited(
    key: tuple[object, ...],
    ids: tuple[int, ...],
    bos: bool,
    push: Push,
    _view: Opened,
    _tokens: Tokens,
) -> EditView:
    from sae.editing import random_row
    from workbench.interventions import changed

    started, model = time.perf_counter(), _view.model
    length = push.strength * _view.unit(push.latent)
    edits = [
        edit_of(sae, push, length, bos=bos)
        for sae in (_view.sae, random_row(_view.sae, push.latent))
    ]
    batch = _tokens.tensor(model.device)
    tops = [next_tokens(model, changed(model, batch, edit)) for edit in edits]
    drawn = (push.seed, push.temperature, push.new_tokens)
    texts = [
        _text(key, ids, bos, None, drawn, _view, _tokens, None),
        _text(key, ids, bos, push, drawn, _view, _tokens, edits[0]),
    ]
    seconds = time.perf_counter() - started
    _keep(_view, push, length, texts, seconds)
    return EditView(push, length, texts[0], texts[1], tops[0], tops[1], seconds, time.time())


@st.cache_resource(max_entries=64, show_spinner=False)
def _text(
    key: tuple[object, ...],
    ids: tuple[int, ...],
    bos: bool,
    push: Push | None,
    drawn: tuple[int, float, int],
    _view: Opened,
    _tokens: Tokens,
    _edit: Edit | None,
) -> Generation:
    """A text; `drawn` is seed, temperature and length. The plain one serves every edit."""
    from workbench.generation import generate

    (row,) = generate(
        _view.model,
        _tokens,
        edits=[] if _edit is None else [_edit],
        seed=drawn[0],
        temperature=drawn[1],
        max_new_tokens=drawn[2],
    )
    return row


def _keep(view: Opened, push: Push, length: float, texts: list[Generation], seconds: float) -> None:
    from workbench import runs

    runs.keep(
        runs.Record(
            kind="sae edit",
            model={"name": view.model.name, **asdict(view.model.identity)},
            tokens=[[*row.prompt.ids, *row.ids] for row in texts],
            arguments={"sae": view.name, "length": length, **asdict(push)},
            device=str(view.model.device),
            seconds=round(seconds, 4),
        )
    )

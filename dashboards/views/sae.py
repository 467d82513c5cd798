"""SAE features: find a latent, see what it is active on, read a prompt, ablate or steer."""

from __future__ import annotations

import streamlit as st

from dashboards import exports, prompts, sae_box, sae_latent, state
from dashboards import sae_view as numbers
from dashboards.ablation_box import token_table
from dashboards.ablation_view import shown_tokens
from dashboards.prompts import Asked
from dashboards.sae_edits import EditView, edit_view
from dashboards.sae_export import Shown, inside, sae_export
from dashboards.sae_view import Opened, Reading
from dashboards.state import Choice
from dashboards.steering_box import text_box
from dashboards.steering_view import written

CAP = 128  # tokens of the prompt


def page() -> None:
    st.header("SAE features")
    choice = state.picker()
    model = state.model(choice)
    with state.plain_errors():
        view = sae_box.opened_box(model)
    if view is None:
        return
    found, asked, latents = None, None, []
    if sae_box.by_box(view) == sae_box.BY[0]:
        latents = sae_box.table_box(view)
    elif (asked := _asked(view)) is not None:
        with state.computing():
            found = numbers.reading(view, shown_tokens(model, asked))
        pos = sae_box.token_pills(found)
        latents = sae_box.loudest_table(view, found, pos)
    latent = sae_box.latent_box(view, latents[0] if latents else 0)
    made = choice.made("sae")
    feature = _feature(view, latent, found, made)
    edit, asked = _edit(view, latent, asked)
    _export(Shown(view, latents, latent, feature, found, edit), asked, choice)


def _asked(view: Opened) -> Asked | None:
    question = prompts.box("SAE", random=False)
    return None if question is None else prompts.ask(view.model, question, cap=CAP)


def _feature(view: Opened, latent: int, found: Reading | None, made: exports.Made):
    """What the latent is active on, and what it writes; None where nobody has looked."""
    if found is not None:
        sae_latent.shading(view, found, latent)
    if view.atlas is None:
        return None
    page = view.atlas.feature(latent)
    sae_latent.rule_box(page, view)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        sae_latent.examples_box(page, view.atlas)
        sae_latent.neighbours_box(page)
    with right:
        for name, figure in inside(page).items() if page.largest else ():
            st.plotly_chart(figure, key=f"chart {name}", config=exports.camera(made, name))
        sae_latent.logits_box(page, view.atlas)
    return page


def _edit(view: Opened, latent: int, asked: Asked | None) -> tuple[EditView | None, Asked | None]:
    """The texts with the latent edited and without, in a box that computes nothing until open."""
    state.allowed("edit", ("true", "false"))
    box = st.expander(f"Ablate or steer latent {latent}", key="edit", bind="query-params")
    if not box.open:
        return None, asked
    with box:
        asked = asked or _asked(view)
        push = sae_box.push_box(view, latent)  # also without a prompt: else it is forgotten
        if asked is None:
            return None, None
        with state.plain_errors():
            edit = edit_view(view, shown_tokens(view.model, asked), push)
        st.markdown(f"**{state.literal(edit.about)}**  \n{state.literal(edit.sum)}.")
        names = (("Plain", edit.plain), ("Edited", edit.edited))
        for column, (name, row) in zip(st.columns(2), names, strict=True):
            with column:
                text_box(name, asked.text, row, written(row))
        st.markdown("**The next token after the prompt**")
        token_table(edit.next)
        st.caption(
            f"Both texts: seed {push.seed}, temperature {push.temperature:g}. BOS and attention "
            "sinks are left alone; the dictionary's own error stays."
        )
    return edit, asked


def _export(shown: Shown, asked: Asked | None, choice: Choice) -> None:
    made = choice.made("sae") if asked is None else asked.made("sae", choice)
    st.caption(f"{made.about}. The address of this page is its permalink.")
    exports.offer(sae_export(shown, made))

"""One latent on the SAE page: its rule, examples shaded by activation, logits, neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboards import state
from dashboards.sae_box import choose
from dashboards.sae_view import Opened, Reading
from dashboards.shading import LINE, grid, lines, shaded

if TYPE_CHECKING:  # torch must not load before it is needed
    from sae.atlas import Atlas
    from sae.features import Example, Feature


def shading(view: Opened, said: Reading, latent: int) -> None:
    """The prompt, shaded by one latent."""
    values = np.nan_to_num(said.acts[:, latent])
    most = max(view.unit(latent) if view.atlas is not None else 0.0, float(values.max()))
    st.markdown(f"**Latent {latent} in the prompt**, at most {values.max():.2f}")
    text = shaded(said.tokens.strings, values.tolist(), most)
    st.html(f"<div style='{LINE}'><span>{text}</span></div>")


def rule_box(page: Feature, view: Opened) -> None:
    """When it is active, in words, and how well the words hold on text that made none of them."""
    rule = page.rule
    if rule is None:
        told = "No rule: it is hardly ever strongly active."
    else:
        told = (
            f"**{state.literal(view.rule(page.latent, 12))}**  \nF1 {rule.f1:.2f} on held-out text "
            f"(precision {rule.precision:.2f}, recall {rule.recall:.2f}), {rule.trained:.2f} where "
            f"it was found; tells activations above 0.3 of the largest, {rule.n_strong:,} in all."
        )
    st.markdown(told)
    st.caption(f"Active in {page.density:.4%} of rows; largest activation {page.largest:.2f}.")


def examples_box(page: Feature, atlas: Atlas) -> None:
    """The strongest examples, then some from equal parts of the range."""
    if not page.top:
        st.info("This latent is dead: it was active nowhere in the text.")
        return
    st.markdown("**Strongest examples**")
    st.html(_lines(page.top, atlas, page.largest))
    for number, band in enumerate(page.bands):
        if not band:
            continue
        parts = len(page.bands)
        high, low = (parts - number) / parts, (parts - number - 1) / parts
        st.markdown(f"**From {100 * low:.0f} to {100 * high:.0f} % of its largest activation**")
        st.html(_lines(band, atlas, page.largest))


def _lines(examples: Sequence[Example], atlas: Atlas, most: float) -> str:
    return lines(
        [
            (
                f"{one.value:.2f}",
                shaded(
                    [atlas.strings[int(token)] for token in one.ids],
                    one.values.tolist(),
                    most,
                    one.at,
                ),
            )
            for one in examples
        ]
    )


def logits_box(page: Feature, atlas: Atlas) -> None:
    """What the decoder row makes likelier and less likely, and the tokens it is active at."""
    st.markdown("**Promoted and suppressed tokens** (logits of its decoder row)")
    head = ("promoted", "", "suppressed", "")
    rows = [
        (_string(atlas, up[0]), f"{up[1]:+.2f}", _string(atlas, down[0]), f"{down[1]:+.2f}")
        for up, down in zip(page.promoted, page.suppressed, strict=True)
    ]
    st.html(grid(head, rows))
    if page.tokens:
        st.markdown("**Active at** (mean over all occurrences of the token)")
        told = [
            (_string(atlas, token), f"{n:,} x", f"{mean:.2f}") for token, n, mean in page.tokens
        ]
        st.html(grid(("token", "active", "mean"), told))


def neighbours_box(page: Feature) -> None:
    """The latents whose decoder rows are most similar, to go on to."""
    st.markdown("**Neighbours** (cosine of decoder rows)")
    with st.container(horizontal=True, gap="small"):
        for latent, cosine in page.neighbours:
            st.button(
                f"{latent} ({cosine:.2f})",
                key=f"neighbour {latent}",
                type="tertiary",
                on_click=choose,
                args=(latent,),
            )


def _string(atlas: Atlas, token: int) -> str:
    from workbench.models import visible

    return visible(atlas.strings[token])

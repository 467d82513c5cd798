"""The tour: one question on the real model, from attention to patching to circuit to features."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboards import prompts
from dashboards.example import REAL, Example

QUESTION = "Which head brings the capital's name?"
_PROMPT = {"model": REAL, "prompt": "The capital of France is"}
STEPS = (
    Example(
        "Attention",
        "Who looks at “France”?",
        "The next token is “ Paris”. From “ is”, head L23H4 looks at “ France” with .95 of its "
        "attention, so it may bring something from there. But looking is not using.",
        _PROMPT,
        {"head": "L23H4"},
    ),
    Example(
        "Patching",
        "Who brings the answer?",
        "Two prompts that differ in the country. Put the output of one head of one into the run of "
        "the other, head by head: L23H4 alone brings more than half of the other capital along.",
        {"model": REAL, "task": "capitals", "site": "z"},
        {"cell": "L23.H4"},
    ),
    Example(
        "Circuit",
        "What does it read, and who else helps?",
        "200 edges between heads and MLPs keep most of the answer, random ones nothing. The "
        "strongest lead from the country through the MLP of layer 0 to heads of layer 23.",
        {"model": REAL, "task": "capitals", "edges": "200"},
    ),
    Example(
        "SAE",
        "What stands at “France” on the way?",
        "The latents of a dictionary of layer 12 at that token: two of the strongest four are "
        "about France and French, each with a rule and its score on other text. Ablate one.",
        {**_PROMPT, "by": "a prompt"},
        {"token": "4"},
    ),
)


def step(number: int) -> Example:
    """Step `number`, from 1; its address says that it is one."""
    one = STEPS[number - 1]
    return replace(one, settings={**one.settings, "tour": str(number)})


def banner(page: str) -> None:
    """On a page that is a step of the tour: what to look at, and the way on."""
    asked = st.query_params.get("tour", "")
    if asked not in map(str, range(1, len(STEPS) + 1)):
        return
    number = int(asked)
    here = step(number)
    if here.page != page:
        return
    with st.container(border=True):
        st.markdown(f"**Tour, {number} of {len(STEPS)}. {QUESTION} {here.title}**")
        st.caption(here.about)
        if number < len(STEPS):
            following = step(number + 1)
            prompts.link(following, f"Next: {following.title} →")
        else:
            st.caption("That was the tour. Home has more examples; notebook 10 asks further.")


def card() -> None:
    """The way in, on Home."""
    with st.container(border=True):
        st.markdown(f"**The tour: {QUESTION}**")
        pages = ", ".join(one.page for one in STEPS)
        st.caption(f"{len(STEPS)} steps through {pages}, each one click with two lines of text.")
        prompts.link(step(1), "Begin →")

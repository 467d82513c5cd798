"""What axe-core finds on every page: nothing serious."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from dashboards.navigation import url_path
from workbench.registry import listed

from .conftest import BY_HAND, NewUser, User

# Streamlit's own: the sidebar's entries stand in a `div` inside of their list.
THEIRS = "[data-testid=stSidebarNav]"
IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"
# What is stale or comes in is pale for a moment, and captions before the page's own style is there.
SETTLED = """() => !document.querySelector("[data-stale=true]")
  && document.getAnimations()
    .every((one) => one.effect.getComputedTiming().iterations === Infinity)
  && [...document.querySelectorAll("[data-testid=stCaptionContainer]")]
    .every((one) => getComputedStyle(one).opacity === "0.8")"""
ASKED = {
    "Attention": {"prompt": "a b c a b"},
    "Lens": {"prompt": "a b c a b"},
    "Attribution": {"prompt": "a b c a b", "answer": "c"},
    "Patching": {"task": "induction", "n": "2"},
    "Circuit": {"task": "induction", "n": "2", "edges": "5"},
    "Steering": {"prompt": "a b c a", "towards": "a b", "away": "c d", "layer": "0", "new": "3"},
    "Compare": {"prompt": "a b c a b", "prompt_b": "a b d a b"},
    "SAE": {"model": "othello-6x6", "by": "a prompt", "prompt": "c2 b2"},
    "Othello": {"model": "othello-6x6", "seed": "1", "move": "3"},
    "Neurons": {"model": "solu-1l"},
}


def settled(user: User, page: str) -> None:
    """With a picture, where the page has one, and nothing that is still to come."""
    asked = {"model": BY_HAND, **ASKED.get(page, {})}
    user.open("" if page == "Home" else url_path(page), **asked)
    user.page.locator(IDLE).wait_for()
    user.page.locator("h1, h2").first.wait_for()
    if page in ("Attention", "Lens", "Othello"):
        user.wait_for_picture()
    elif page in ("Attribution", "Patching", "Circuit", "Compare"):
        user.page.locator(".js-plotly-plot .main-svg").first.wait_for()
    user.page.locator(IDLE).wait_for()
    user.page.wait_for_function(SETTLED)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", listed("pages"))
def test_axe_finds_nothing_serious(new_user: NewUser, page: str, scheme: str) -> None:
    user = new_user(color_scheme=scheme)
    settled(user, page)
    found = Axe().run(user.page, context={"exclude": [[THEIRS]]}).response["violations"]
    serious = {
        one["id"]: [
            f"{node['html'][:120]} {node['failureSummary'][:200]}" for node in one["nodes"][:3]
        ]
        for one in found
        if one["impact"] in ("serious", "critical")
    }
    assert not serious

"""The tour: steps that exist, a way from each to the next, a way in on Home."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboards import state, tour
from dashboards.examples import REAL
from tests.pages import BY_HAND, PROMPT, forget, opened
from tests.test_pages import SETTINGS, links, told
from workbench.registry import listed


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    forget()


def banner(page: str, **address: str) -> AppTest:
    def main(page: str) -> None:
        from dashboards import tour

        tour.banner(page)

    at = AppTest.from_function(main, kwargs={"page": page})
    for name, value in address.items():
        at.query_params[name] = value
    return at.run()


@pytest.mark.parametrize("number", range(1, len(tour.STEPS) + 1))
def test_a_step_asks_for_what_exists_and_leads_on(number: int) -> None:
    step = tour.step(number)
    assert step.page in listed("pages") and set(step.settings) <= {
        "model",
        "tour",
        *SETTINGS[step.page],
    }
    at = banner(step.page, **step.address)
    assert f"Tour, {number} of {len(tour.STEPS)}" in at.markdown[0].value
    following = [f"Next: {one.title} →" for one in tour.STEPS[number : number + 1]]
    assert links(at) == following


def test_every_step_opens() -> None:
    for number in range(1, len(tour.STEPS) + 1):
        step = tour.step(number)
        small = {"model": BY_HAND, "task": "induction", "edges": "5", "prompt": PROMPT}
        address = {**step.address, **{key: small[key] for key in small if key in step.address}}
        at = opened(step.page, **address)
        beyond = ("ddress asks for", "dictionar", "SAE")  # of the real model alone
        assert all(any(word in said for word in beyond) for said in told(at)), told(at)


@pytest.mark.parametrize("asked", ["", "0", "5", "x", "-1", "1e9"])
def test_no_banner_but_on_a_step(asked: str) -> None:
    assert not banner("Attention", tour=asked).markdown
    assert not banner("Lens", tour="1").markdown


def test_home_leads_in_where_the_model_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(tour.QUESTION in m.value for m in opened("Home").markdown)
    monkeypatch.setattr(state, "installed", lambda name: True)
    at = opened("Home")
    assert any(tour.QUESTION in m.value for m in at.markdown) and "Begin →" in links(at)
    assert all(step.settings["model"] == REAL for step in tour.STEPS)

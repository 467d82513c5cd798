"""What a user does on the Patching page."""

import pytest
from playwright.sync_api import Locator, expect

from .conftest import BY_HAND, NewUser, User

PAIR = {"clean": "q a b c a", "corrupted": "q a d c a", "answer": "b", "wrong": "d"}


def title(user: User, number: int) -> Locator:
    return user.page.locator(".js-plotly-plot").nth(number).locator(".gtitle")


def click(user: User, chart: int, across: float, down: float) -> None:
    """Click into a chart, at shares of its width and height."""
    plot = user.page.locator(".js-plotly-plot").nth(chart).locator(".nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    plot.click(position={"x": across * box["width"], "y": down * box["height"]})


@pytest.fixture
def charts(user: User) -> User:
    user.open("patching", model=BY_HAND, pairs="two prompts of your own", **PAIR)
    title(user, 2).wait_for()
    return user


def test_a_click_on_a_cell_looks_inside(charts: User, new_user: NewUser) -> None:
    """Six positions, two layers: not in the middle of the cell, where its marker is."""
    click(charts, 0, across=(5 + 0.9) / 6, down=(1 + 0.1) / 2)
    expect(title(charts, 1)).to_have_text("Heads of L1 at 5 a")
    expect(title(charts, 2)).to_contain_text("L1H2: attention")
    charts.wait_for_address("cell=L1.5")
    click(charts, 1, across=1.5 / 4, down=0.1)  # above a bar of no height
    expect(title(charts, 2)).to_contain_text("L1H1: attention")
    charts.wait_for_address("head=H1")
    somebody = new_user()
    somebody.page.goto(charts.page.url)
    expect(title(somebody, 1)).to_have_text("Heads of L1 at 5 a")
    expect(title(somebody, 2)).to_contain_text("L1H1: attention")


def test_a_cell_is_chosen_from_the_keyboard(charts: User) -> None:
    box = charts.page.get_by_label("Layer", exact=True)
    box.focus()
    box.press_sequentially("L1")
    box.press("Enter")
    expect(title(charts, 1)).to_contain_text("Heads of L1 at")
    charts.wait_for_address("cell=L1.")


def test_a_cell_tells_its_hook_and_effect(charts: User) -> None:
    plot = charts.page.locator(".js-plotly-plot").first.locator(".nsewdrag").first
    box = plot.bounding_box()
    assert box is not None
    plot.hover(position={"x": box["width"] * 3.2 / 6, "y": box["height"] * 0.2})
    told = charts.page.locator(".hoverlayer .hovertext")
    expect(told).to_contain_text("blocks.0.hook_resid_pre at 3 b/d: 1.000")


def test_a_task_is_chosen_and_its_heads_are_mapped(user: User) -> None:
    user.open("patching", model=BY_HAND, n="3")
    box = user.page.get_by_label("Task", exact=True)
    box.focus()
    box.press_sequentially("induction")
    box.press("Enter")
    expect(title(user, 0)).to_have_text("denoising resid_pre")
    user.wait_for_address("task=induction")
    box = user.page.get_by_label("Patch", exact=True)
    box.focus()
    box.press_sequentially("z")
    box.press("Enter")
    expect(title(user, 0)).to_have_text("denoising z at all positions")
    expect(title(user, 1)).to_contain_text("L1H2: attention, clean prompt of pair 0")
    user.page.get_by_role("link", name="Attention", exact=True).click()
    expect(user.page.get_by_text("start from an example")).to_be_visible()
    assert not user.page.get_by_text("the address asks for").count(), "a cell stays behind"


@pytest.mark.parametrize("width", [640, 1280])
def test_nothing_hangs_over_the_side(new_user: NewUser, width: int) -> None:
    user = new_user(viewport={"width": width, "height": 800})
    user.open("patching", model=BY_HAND, task="induction", n="3", method="AtP", compare="true")
    title(user, 3).wait_for()
    user.page.get_by_text("Export", exact=True).click()
    user.page.get_by_test_id("stCode").first.wait_for()
    over = user.page.evaluate(
        """() => [document.scrollingElement, ...document.querySelectorAll(
        "[data-testid=stMain], [data-testid=stMainBlockContainer]")]
        .map((element) => element.scrollWidth - element.clientWidth)"""
    )
    assert max(over) <= 0

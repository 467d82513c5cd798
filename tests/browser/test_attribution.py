"""What a user does on the Attribution page, and with a head's weights."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from .conftest import BY_HAND, NewUser, User

PROMPT = "a b c a b"


def title(user: User, number: int) -> Locator:
    return user.page.locator(".js-plotly-plot").nth(number).locator(".gtitle")


@pytest.fixture
def charts(user: User, tiny_folder: Callable[[str], Path]) -> User:
    user.open("attribution", model=str(tiny_folder("gpt2")), prompt="the tin man", part="L0H0")
    title(user, 2).wait_for()
    return user


def test_a_click_on_a_head_looks_inside(charts: User) -> None:
    squares = charts.page.locator(".js-plotly-plot").nth(1).locator(".scatterlayer .point")
    expect(squares).to_have_count(9)
    squares.nth(5).click(force=True)  # transparent, so nothing of it is visible
    expect(title(charts, 2)).to_contain_text("L1H2: ")
    charts.wait_for_address("part=L1H2")
    expect(charts.page.get_by_label("Look inside")).to_have_value("L1H2")


def test_a_click_on_a_bar_looks_inside(charts: User) -> None:
    bars = charts.page.locator(".js-plotly-plot").first.locator(".barlayer .trace")
    mlps = bars.nth(1).locator(".point path")
    mlps.last.click(force=True)
    expect(title(charts, 2)).to_contain_text("L2 MLP: ")
    charts.wait_for_address("part=L2")


def test_a_part_is_chosen_from_the_keyboard(charts: User) -> None:
    box = charts.page.get_by_label("Look inside")
    box.focus()
    box.press_sequentially("L1 heads")
    box.press("Enter")
    expect(title(charts, 2)).to_contain_text("L1 heads: ")
    charts.wait_for_address("part=L1")


def test_the_address_is_a_permalink(charts: User, new_user: NewUser) -> None:
    before = title(charts, 0).text_content() or ""
    answer = charts.page.get_by_role("textbox", name="Answer")
    answer.fill("n")
    answer.press("Enter")
    charts.wait_for_address("answer=n")
    expect(charts.page.get_by_text("logit of 'n' less")).to_be_visible()
    expect(title(charts, 0)).not_to_have_text(before)
    told = title(charts, 0).text_content() or ""
    somebody = new_user()
    somebody.page.goto(charts.page.url)
    expect(title(somebody, 0)).to_have_text(told)
    expect(title(somebody, 2)).to_contain_text("L0H0: ")


def test_a_chart_is_saved_as_a_picture(user: User) -> None:
    user.open("attribution", model=BY_HAND, prompt=PROMPT)
    title(user, 2).wait_for()
    chart = user.page.locator(".js-plotly-plot").first
    shown = chart.evaluate("chart => [chart.clientWidth, chart.clientHeight]")
    chart.hover()
    with user.page.expect_download() as told:
        chart.locator("[data-title^='Download']").click()
    assert told.value.suggested_filename == f"attribution-{BY_HAND}-raw-float32-components.png"
    png = Path(told.value.path()).read_bytes()
    assert struct.unpack(">II", png[16:24]) == (2 * shown[0], 2 * shown[1])


def test_the_weights_of_a_head_are_read_when_asked_for(user: User) -> None:
    user.open("attention", model=BY_HAND, prompt=PROMPT, head="L1H2")
    user.wait_for_picture()
    assert not any("Plotly" in url for url in user.seen.urls)
    user.page.get_by_text("Weights of L1H2: OV and QK").click()
    expect(user.page.get_by_text("Copying score of OV: 1.00, rank 1 of 8.")).to_be_visible()
    expect(title(user, 0)).to_contain_text("Composition of L1H2")
    user.wait_for_address("circuits=true")
    user.click("attention-grid", row=0, column=1)
    expect(title(user, 0)).to_contain_text("Composition of L0H1")

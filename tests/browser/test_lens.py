"""What a user does on the Lens page."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .conftest import User

PROMPT = "the tin man and the tin"


@pytest.fixture
def table(user: User, tiny_folder: Callable[[str], Path]) -> User:
    user.open("lens", model=str(tiny_folder("gpt2")), prompt=PROMPT)
    user.wait_for_picture()
    return user


def test_a_click_selects_a_cell(table: User) -> None:
    top, curve = table.part("lens-top"), table.part("lens-curve")
    expect(top).to_contain_text("L2, after ")
    assert top.locator(".row:not([hidden])").count() == 10
    before = top.inner_text(), curve.evaluate("canvas => canvas.toDataURL()")
    column = int(table.part("lens-live").inner_text().split("position ")[1].split(":")[0]) - 3
    table.click("lens-table", row=2, column=column)  # the last layer is the first row
    table.wait_for_address(f"cell=1.{column}")
    expect(top).to_contain_text("L0, after ")
    expect(top).to_contain_text(f"({column})")
    expect(table.part("lens-live")).to_contain_text(f"L0, position {column}")
    expect(table.page.get_by_text(f"after position {column}")).to_be_visible()
    assert top.inner_text() != before[0]
    assert curve.evaluate("canvas => canvas.toDataURL()") != before[1]


def test_keys_select_a_cell(table: User) -> None:
    canvas = table.part("lens-table")
    canvas.focus()
    for key in ("ArrowUp", "ArrowDown", "ArrowLeft"):  # the first is past the edge
        canvas.press(key)
    expect(table.part("lens-live")).to_contain_text("L1, position")
    canvas.press("Enter")
    table.wait_for_address("cell=2.")
    expect(table.part("lens-top")).to_contain_text("L1, after ")


def test_a_token_is_followed(table: User) -> None:
    box = table.page.get_by_role("textbox", name="Follow a token")
    box.fill(" the")
    box.press("Enter")
    expect(table.page.get_by_text("Rank of ·the after position")).to_be_visible()
    box.fill("not one token")
    box.press("Enter")
    notice = table.page.get_by_test_id("stAlert")
    expect(notice).to_contain_text("is not a single token but")


def test_a_bad_cell_is_a_notice(user: User) -> None:
    user.open("lens", model="induction-by-hand", prompt="a b a", cell="7.7")
    user.wait_for_picture()
    expect(user.page.get_by_test_id("stAlert")).to_contain_text("The address asks for cell '7.7'")

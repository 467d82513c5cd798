"""What a user does on the Othello page: step, play, flip, erase, take back."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.boards import othello_folder

from .conftest import NewUser, User

# The game of seed 1 begins b3 d2 e3 b2: then discs of both colours lie outside the centre.
B3, D2 = (2, 1), (1, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(othello_folder(tmp_path_factory.mktemp("othello")))


def opened(user: User, folder: str, **settings: str) -> User:
    user.open("othello", model=folder, **{"move": "4", **settings})
    user.wait_for_picture()
    return user


def test_a_disc_is_flipped_and_taken_back(user: User, new_user: NewUser, folder: str) -> None:
    opened(user, folder, alpha="1")
    moves, sum_ = user.part("board-moves"), user.part("board-illegal")
    expect(user.part("board-status")).to_have_text("After move 4 of 31 (b2), black to move")
    plain = moves.inner_text()
    assert "→" not in plain and "● legal" in plain
    user.click("board", *B3)
    expect(moves).to_contain_text("→")
    expect(moves).to_contain_text("upper bar before, lower bar after")
    expect(user.part("board-numbers").locator("tr")).to_have_count(4)
    expect(sum_).to_contain_text("b3 flipped at L1, strength 1: illegal mass on the changed board")
    user.wait_for_address("flip=b3")
    somebody = new_user()
    somebody.page.goto(user.page.url)
    expect(somebody.part("board-illegal")).to_have_text(sum_.inner_text())
    user.part("board").click(position={"x": 5, "y": 5})  # beside the squares: nothing
    user.part("board-mode-erase").click()
    user.click("board", *D2)
    expect(sum_).to_contain_text("d2 erased")
    user.wait_for_address("erase=d2")
    assert "flip=b3" in user.page.url
    user.part("board-reset").click()
    expect(moves).not_to_contain_text("→")
    assert moves.inner_text() == plain
    user.page.wait_for_url(lambda url: "flip" not in url and "erase" not in url)


def test_the_tooltip_follows_a_change_and_leaves_the_legend_free(user: User, folder: str) -> None:
    opened(user, folder)
    tip = user.page.locator(".wb.board .tip")
    user.click("board", *B3)
    expect(tip).to_contain_text("(flipped)")
    expect(tip).to_contain_text("→")  # the new numbers, though the mouse has not moved
    row, column = 2, 5
    box = user.part("board").evaluate("e => ({...e.dataset})")
    x, y = (
        float(box[side]) + (place + 0.8) * float(box[size])
        for side, size, place in (("left", "cellWidth", column), ("top", "cellHeight", row))
    )
    user.part("board").hover(position={"x": x, "y": y})
    expect(tip).to_contain_text("f3")
    covered, key = tip.bounding_box(), user.page.locator(".wb.board .side").bounding_box()
    assert covered and key and covered["x"] + covered["width"] <= key["x"]


def test_the_game_is_stepped_through_and_plays_itself(user: User, folder: str) -> None:
    opened(user, folder)
    status = user.part("board-status")
    user.click("board", *B3)
    user.wait_for_address("flip=b3")
    user.part("board-next").click()
    expect(status).to_contain_text("After move 5 of 31")
    # A change is of one moment.
    user.page.wait_for_url(lambda url: "move=5" in url and "flip" not in url)
    user.part("board-slider").focus()
    user.page.keyboard.press("ArrowRight")
    expect(status).to_contain_text("After move 6")
    user.part("board-last").click()
    expect(status).to_contain_text("After move 31")
    user.part("board-first").click()
    user.part("board-play").click()
    expect(status).to_contain_text("After move 3")
    user.part("board-play").click()
    stopped = status.inner_text()
    user.page.wait_for_timeout(1200)
    assert status.inner_text() == stopped


def test_keys_move_and_flip(user: User, folder: str) -> None:
    opened(user, folder)
    board, live = user.part("board"), user.part("board-live")
    board.focus()
    board.press("ArrowLeft")  # the cursor stands where the last move was
    expect(live).to_contain_text("b2: white")
    board.press("ArrowDown")
    expect(live).to_contain_text("b3: ")
    board.press("Enter")
    user.wait_for_address("flip=b3")
    expect(live).to_contain_text("(flipped)")
    board.press("Shift+Enter")
    user.page.wait_for_url(lambda url: "erase=b3" in url and "flip" not in url)
    board.press("Escape")
    user.page.wait_for_url(lambda url: "erase" not in url)
    board.press("PageDown")
    expect(user.part("board-status")).to_contain_text("After move 5")
    expect(board).to_have_attribute("role", "application")


def test_a_point_of_the_curve_is_another_layer(user: User, folder: str) -> None:
    opened(user, folder, probe="L0")
    points = user.page.locator(".js-plotly-plot .scatterlayer .trace").first.locator(".point")
    expect(points).to_have_count(3)
    points.nth(2).click(force=True)
    board = user.part("board")
    board.hover(position={"x": 60, "y": 60})
    expect(user.part("board-live")).to_contain_text("mine/theirs probe after L2")


def test_the_board_is_saved_and_fits(new_user: NewUser, folder: str) -> None:
    for width in (640, 1280):
        user = opened(new_user(viewport={"width": width, "height": 800}), folder, flip="b3")
        expect(user.part("board-numbers").locator("tr")).to_have_count(4)
        user.page.get_by_text("Export", exact=True).click()
        user.page.get_by_test_id("stCode").first.wait_for()
        assert user.page.evaluate(OVERFLOW) <= 0
        with user.page.expect_download() as download:
            user.part("board-png").click()
        assert download.value.suggested_filename.endswith("-move-4.png")
        assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


OVERFLOW = """() => Math.max(...[document.scrollingElement, ...document.querySelectorAll(
  "[data-testid=stMain], [data-testid=stMainBlockContainer]")]
  .map((element) => element.scrollWidth - element.clientWidth))"""

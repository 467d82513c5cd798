"""From home to a head: what a user does on the Attention page."""

from pathlib import Path

from playwright.sync_api import expect

from benchmarks.browser import place

from .conftest import BY_HAND, NewUser, User

PROMPT = "a b c d e a b c d"


def opened(user: User, **settings: str) -> None:
    user.open("attention", **{"model": BY_HAND, "prompt": PROMPT, **settings})
    user.wait_for_picture()


def test_from_home_to_the_circuit(user: User) -> None:
    user.open()
    expect(user.page.get_by_role("heading", name="lensbench")).to_be_visible()
    expect(user.page.get_by_text("An induction circuit by hand")).to_be_visible()
    user.page.get_by_role("link", name="Open in Attention").click()
    user.wait_for_picture()
    expect(user.part("attention-live")).to_have_text("L1H2, induction 1.00")
    assert {"L0", "L1", "H0", "H3", "<bos>", *"abcde"} <= user.painted()
    user.wait_for_address("head=L1H2")


def test_an_own_prompt(user: User) -> None:
    opened(user)
    user.page.evaluate("window.painted = []")
    user.ask("x y z x y")
    user.wait_for_paint("z")
    assert not user.painted() & set("abcde")
    user.wait_for_address("prompt=x")
    expect(user.part("attention-looks-at")).to_contain_text("y (5) looks at")
    expect(user.part("attention-looks-at")).to_contain_text("3 z")


def test_a_click_locks_a_head(user: User) -> None:
    opened(user)
    user.click("attention-grid", row=0, column=1)
    user.wait_for_address("head=L0H1")
    expect(user.part("attention-live")).to_contain_text("L0H1, induction")
    expect(user.page.get_by_text("L0H1: attention")).to_be_visible()
    expect(user.part("attention-cell")).to_have_text("query `d` (9) → key `c` (8): 1.0000")


def test_keys_lock_a_head(user: User) -> None:
    opened(user, head="L1H2")
    grid = user.part("attention-grid")
    grid.focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowRight"):  # the second is past the edge
        grid.press(key)
    expect(user.part("attention-live")).to_contain_text("L0H3, induction")
    assert "head=L1H2" in user.page.url, "looking is not locking"
    grid.press("Escape")
    expect(user.part("attention-live")).to_contain_text("L1H2, induction")
    grid.press("ArrowLeft")
    grid.press("Enter")
    user.wait_for_address("head=L1H1")
    expect(user.page.get_by_text("L1H1: attention")).to_be_visible()


def test_the_address_is_a_permalink(user: User, new_user: NewUser) -> None:
    opened(user)
    user.click("attention-grid", row=0, column=3)
    user.wait_for_address("head=L0H3")
    user.page.get_by_label("Colour heads by").click()
    user.page.get_by_role("option", name="entropy").click()
    user.wait_for_address("score=entropy")
    words = user.part("attention-live")
    expect(words).to_contain_text("L0H3, entropy")
    somebody = new_user()
    somebody.page.goto(user.page.url)
    somebody.wait_for_picture()
    expect(somebody.part("attention-live")).to_have_text(words.text_content() or "")


def test_a_reload_computes_nothing(user: User, server_home: Path) -> None:
    opened(user, prompt="q r s q r s")
    records = sorted((server_home / "runs").iterdir())
    user.page.reload()
    user.wait_for_picture()
    user.wait_for_paint("q")
    expect(user.part("attention-live")).to_contain_text("L1H2")
    assert sorted((server_home / "runs").iterdir()) == records


def test_a_cell_of_the_zoom_is_told_and_held(user: User) -> None:
    opened(user, head="L1H2")
    zoom = user.part("attention-zoom")
    zoom.focus()
    zoom.press("ArrowUp")
    expect(user.part("attention-cell")).to_contain_text("query `c` (8)")
    expect(user.part("attention-looks-at")).to_contain_text("c (8) looks at")
    zoom.press("Enter")
    zoom.blur()
    expect(user.part("attention-cell")).to_contain_text("query `c` (8)")


def test_hovering_shows_another_head(user: User) -> None:
    opened(user, head="L1H2")
    grid = user.part("attention-grid")
    grid.hover(position=place(grid, 0, 0))
    expect(user.part("attention-live")).to_contain_text("L0H0, induction")
    expect(user.page.get_by_text("click or Enter to lock")).to_be_visible()
    user.page.mouse.move(5, 5)
    expect(user.part("attention-live")).to_contain_text("L1H2, induction")
    assert "head=L1H2" in user.page.url


def test_numbers_instead_of_patterns(user: User) -> None:
    opened(user)
    assert "1.00" not in user.painted()
    user.part("attention-mode-scores").click()
    user.wait_for_paint("1.00")
    expect(user.part("attention-mode-scores")).to_have_attribute("aria-pressed", "true")


def test_a_bad_permalink_is_a_notice(user: User) -> None:
    opened(user, head="L9H9", score="charm")
    notices = user.page.get_by_test_id("stAlert")
    expect(notices.filter(has_text="The address asks for head L9H9")).to_be_visible()
    expect(notices.filter(has_text="The address asks for score “charm”")).to_be_visible()
    expect(user.part("attention-live")).to_have_text("L1H2, induction 1.00")

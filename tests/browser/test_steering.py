"""What a user does on the Steering page, and with the box that ablates a head."""

from pathlib import Path

from playwright.sync_api import Locator, expect

from .conftest import BY_HAND, NewUser, User

ASKED = {
    "model": BY_HAND,
    "prompt": "q a b c d a",
    "towards": "a b",
    "away": "c d",
    "layer": "0",
    "new": "6",
}
DONE = "The address of this page is its permalink"


def opened(user: User, **settings: str) -> User:
    user.open("steering", **{**ASKED, **settings})
    expect(user.page.get_by_text(DONE)).to_be_visible(timeout=60_000)
    return user


def points(user: User) -> Locator:
    return user.page.locator(".js-plotly-plot .scatterlayer .trace").first.locator(".point")


def test_a_click_on_the_curve_is_another_strength(user: User, new_user: NewUser) -> None:
    opened(user, strength="1")
    titles = user.page.locator(".js-plotly-plot .gtitle")
    expect(titles).to_contain_text("nats at 1")
    expect(points(user)).to_have_count(17)
    points(user).last.click(force=True)
    expect(titles.filter(has_text="nats at 2")).to_be_visible()
    expect(titles).to_have_count(1)
    expect(user.page.get_by_text("Steered, strength 2")).to_be_visible()
    expect(user.page.get_by_label("Strength", exact=True)).to_have_value("2.00")
    user.wait_for_address("strength=2")
    somebody = new_user()
    somebody.page.goto(user.page.url)
    expect(somebody.page.get_by_text("Steered, strength 2")).to_be_visible()


def test_a_vector_goes_out_as_a_file_and_comes_in_again(user: User, tmp_path: Path) -> None:
    opened(user, strength="2")
    texts = user.page.locator("div[tabindex='0'] > span").locator("..")
    told = texts.nth(1).inner_text()
    with user.page.expect_download() as download:
        user.page.get_by_role("button", name="The vector (safetensors)").click()
    assert download.value.suggested_filename == "a-b-c-d.safetensors"
    file = tmp_path / "mine.safetensors"
    download.value.save_as(file)
    user.page.get_by_text("a file", exact=True).click()
    expect(user.page.get_by_text("Give a file that")).to_be_visible()
    user.page.locator("input[type=file]").set_input_files(file)
    expect(user.page.get_by_text("permalink but for the file")).to_be_visible()
    expect(texts.nth(1)).to_have_text(told)
    user.page.locator("input[type=file]").set_input_files(
        {"name": "bad.pkl", "mimeType": "", "buffer": b"\x80\x04\x95rubbish."}
    )
    expect(user.page.get_by_text("The file bad.pkl: field file")).to_be_visible()


def test_a_head_is_ablated_when_it_is_asked(user: User) -> None:
    user.open("attention", model=BY_HAND, prompt="a b c d e a b c d", head="L1H2")
    user.wait_for_picture()
    user.page.get_by_text("Ablate L1H2: next tokens before and after").click()
    expect(user.page.get_by_text("KL(before || after) is")).to_be_visible()
    table = user.page.locator("table").filter(has_text="before")
    expect(table.locator("tr").nth(1).locator("td").nth(1)).to_have_text("e")
    user.wait_for_address("ablate=true")
    user.click("attention-grid", row=0, column=0)
    expect(user.page.get_by_text("Ablate L0H0: next tokens before and after")).to_be_visible()
    expect(user.page.get_by_text("The edit moved nothing")).to_be_visible()
    assert not any("Plotly" in url for url in user.seen.urls)


def test_nothing_hangs_over_the_side(new_user: NewUser) -> None:
    for width in (640, 1280):
        user = opened(new_user(viewport={"width": width, "height": 800}), strength="2")
        user.page.get_by_text("Export", exact=True).click()
        user.page.get_by_test_id("stCode").first.wait_for()
        assert user.page.evaluate(OVERFLOW) <= 0


OVERFLOW = """() => Math.max(...[document.scrollingElement, ...document.querySelectorAll(
  "[data-testid=stMain], [data-testid=stMainBlockContainer]")]
  .map((element) => element.scrollWidth - element.clientWidth))"""

"""What a user does on the Circuit page."""

from pathlib import Path

from playwright.sync_api import expect

from workbench.patching.edges import read_circuit

from .conftest import BY_HAND, NewUser, User

ASKED = {"model": BY_HAND, "task": "induction", "corruption": "moved"}
DONE = "The address of this page is its permalink"


def opened(user: User, **settings: str) -> User:
    user.open("circuit", **{**ASKED, **settings})
    expect(user.page.get_by_text(DONE)).to_be_visible(timeout=60_000)
    return user


def test_the_slider_takes_edges_away_and_a_pin_brings_them_back(
    user: User, new_user: NewUser
) -> None:
    opened(user, edges="5")
    drawn = user.page.locator(".js-plotly-plot").first
    expect(drawn.locator(".gtitle")).to_have_text("5 of 81 edges (6.17%)")
    expect(drawn.locator(".textpoint text").filter(has_text="H")).to_have_text(["H1", "H2"])
    slider = user.page.get_by_role("slider", name="Edges kept")
    slider.focus()
    slider.press("ArrowLeft")
    slider.press("ArrowLeft")
    expect(user.page.get_by_text("kept by 2 of 81 edges")).to_be_visible()
    expect(user.page.get_by_text("0.0% [0.0%, 0.0%] of the logit difference")).to_be_visible()
    user.wait_for_address("edges=2")
    pins = user.page.get_by_role("combobox", name="Pinned: kept in any case")
    for name in ("embed->L0H1.v", "L0H1->L1H2.k", "embed->L1H2.v", "L1H2->logits"):
        pins.fill(name)
        pins.press("Enter")
    expect(user.page.get_by_text("100.0% [100.0%, 100.0%] of the logit difference")).to_be_visible()
    user.wait_for_address("pins=")
    somebody = new_user()
    somebody.page.goto(user.page.url)
    expect(somebody.page.get_by_text("100.0% [100.0%, 100.0%] of the logit")).to_be_visible()
    pins.fill("L9H9")
    pins.press("Enter")
    expect(user.page.get_by_text("'L9H9' is no component of this model")).to_be_visible()


def test_the_circuit_comes_as_its_file(user: User, tmp_path: Path) -> None:
    opened(user, edges="3")
    with user.page.expect_download() as download:
        user.page.get_by_role("button", name="The circuit (JSON)").click()
    assert download.value.suggested_filename.endswith("-3-edges.json")
    file = tmp_path / "circuit.json"
    download.value.save_as(file)
    edges = read_circuit(file).edges
    assert edges == ("embed->L0H1.v", "L0H1->L1H2.k", "L1H2->logits")


def test_an_edge_tells_its_name(user: User) -> None:
    opened(user, edges="3")
    drawn = user.page.locator(".js-plotly-plot").first
    dots = drawn.locator(".scatterlayer .trace").nth(3).locator(".point")
    expect(dots).to_have_count(3)
    dots.first.hover(force=True)
    expect(drawn.locator(".hovertext")).to_contain_text("->")


def test_the_curve_takes_the_place_of_its_button(user: User) -> None:
    opened(user, edges="5")
    button = user.page.get_by_role("button", name="Faithfulness by size")
    button.click()
    expect(user.page.locator(".js-plotly-plot")).to_have_count(2)
    expect(user.page.locator(".gtitle").last).to_contain_text("CPR")
    expect(button).not_to_be_visible()


def test_nothing_hangs_over_the_side(new_user: NewUser) -> None:
    for width in (640, 1280):
        user = opened(new_user(viewport={"width": width, "height": 800}), edges="5")
        user.page.get_by_text("Export", exact=True).click()
        user.page.get_by_test_id("stCode").first.wait_for()
        assert user.page.evaluate(OVERFLOW) <= 0


OVERFLOW = """() => Math.max(...[document.scrollingElement, ...document.querySelectorAll(
  "[data-testid=stMain], [data-testid=stMainBlockContainer]")]
  .map((element) => element.scrollWidth - element.clientWidth))"""

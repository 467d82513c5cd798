"""Light and dark, wide and narrow."""

import pytest
from playwright.sync_api import Locator

from .conftest import BY_HAND, NewUser, User

CANVASES = {"attention": "attention-zoom", "lens": "lens-table"}
# The most frequent colour, and the best contrast that any pixel of the labels' margin has with it.
CONTRAST = """canvas => {
  const width = Math.round(canvas.width * 0.25);
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, canvas.height);
  const light = (r, g, b) => [r, g, b]
    .map((part) => ((part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const paper = [data[0], data[1], data[2]];
  let best = 1;
  for (let at = 0; at < data.length; at += 4) {
    const pair = [light(...paper), light(data[at], data[at + 1], data[at + 2])];
    best = Math.max(best, (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05));
  }
  return [light(...paper), best];
}"""


def measured(canvas: Locator) -> tuple[float, float]:
    paper, contrast = canvas.evaluate(CONTRAST)
    return paper, contrast


@pytest.mark.parametrize("page", CANVASES)
def test_dark_is_dark_and_both_are_readable(new_user: NewUser, page: str) -> None:
    papers = {}
    for scheme in ("light", "dark"):
        user = new_user(color_scheme=scheme)
        user.open(page, model=BY_HAND, prompt="a b c a b")
        user.wait_for_picture()
        papers[scheme], contrast = measured(user.part(CANVASES[page]))
        assert contrast >= 4.5, f"labels in {scheme} (WCAG AA)"
    assert papers["light"] > 0.8 and papers["dark"] < 0.05


def test_the_canvas_follows_a_change_of_theme(user: User) -> None:
    user.open("attention", model=BY_HAND, prompt="a b c a b")
    user.wait_for_picture()
    zoom = user.part("attention-zoom")
    assert measured(zoom)[0] > 0.8
    user.page.emulate_media(color_scheme="dark")
    user.page.wait_for_function(
        """() => {
          const find = (root) => root.querySelector("[data-testid=attention-zoom]")
            ?? [...root.querySelectorAll("*")].map((e) => e.shadowRoot && find(e.shadowRoot))
              .find(Boolean);
          const canvas = find(document);
          return canvas && canvas.getContext("2d").getImageData(0, 0, 1, 1).data[0] < 60;
        }"""
    )


OVERFLOW = """() => [document.scrollingElement, ...document.querySelectorAll(
  "[data-testid=stMain], [data-testid=stMainBlockContainer]")]
  .map((element) => element.scrollWidth - element.clientWidth)"""


@pytest.mark.parametrize("width", [640, 1280])
@pytest.mark.parametrize("page", ["", *CANVASES, "attribution"])
def test_nothing_hangs_over_the_side(new_user: NewUser, page: str, width: int) -> None:
    """640 is what 1280 becomes at a zoom of 200 %."""
    user = new_user(viewport={"width": width, "height": 800})
    prompt = "a b c d e f g h i j k l m n o p a b c d e f g h"
    user.open(page, model=BY_HAND, prompt=prompt, circuits="true")
    if page in CANVASES:
        user.wait_for_picture()
    if page in ("attention", "attribution"):
        user.page.locator(".js-plotly-plot .gtitle").last.wait_for()
    if page:
        user.page.get_by_text("Export", exact=True).click()
        user.page.get_by_test_id("stCode").first.wait_for()
    else:
        user.page.get_by_text("What is ready").wait_for()
    assert max(user.page.evaluate(OVERFLOW)) <= 0

"""What the browser does for the exports: PNG pictures, and files that open anywhere."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from benchmarks import browser as plumbing

from .conftest import BY_HAND, User

PROMPT = "a b c d e a b c d"
PICTURES = {
    "attention": {"attention-zoom": "L1H2", "attention-grid": "induction"},
    "lens": {"lens-table": "probability", "lens-curve": "rank-after-9"},
}


def opened(user: User, page: str, **settings: str) -> None:
    user.open(page, **{"model": BY_HAND, "prompt": PROMPT, **settings})
    user.wait_for_picture()


def saved(user: User, click: Callable[[], None]) -> tuple[str, bytes]:
    """The name and the content of the file that a click hands out."""
    with user.page.expect_download() as told:
        click()
    return told.value.suggested_filename, Path(told.value.path()).read_bytes()


def pixels(user: User, png: bytes) -> dict[str, float]:
    """What an <img> makes of a PNG: its size, and how many colours a part of it has."""
    return user.page.evaluate(
        """async (bytes) => {
          const image = await createImageBitmap(new Blob([new Uint8Array(bytes)]));
          const canvas = new OffscreenCanvas(image.width, image.height);
          const brush = canvas.getContext("2d");
          brush.drawImage(image, 0, 0);
          const { data } = brush.getImageData(0, 0, image.width, image.height);
          const colours = new Set(new Uint32Array(data.buffer));
          return { width: image.width, height: image.height, colours: colours.size };
        }""",
        list(png),
    )


# How fine the canvas was that a picture was made of: pixels for each CSS pixel.
FINENESS = """() => {
  const draw = CanvasRenderingContext2D.prototype.drawImage;
  window.fineness = [];
  CanvasRenderingContext2D.prototype.drawImage = function (image, ...place) {
    if (!this.canvas.isConnected && image.isConnected) window.fineness.push(image.width / place[2]);
    return draw.call(this, image, ...place);
  };
}"""


@pytest.mark.parametrize("page", PICTURES)
def test_pictures_are_saved_at_twice_their_size(user: User, page: str) -> None:
    opened(user, page)
    user.page.evaluate(FINENESS)
    for testid, part in PICTURES[page].items():
        canvas = user.part(testid)
        before = canvas.evaluate("canvas => canvas.toDataURL()")
        shown = canvas.evaluate("canvas => [canvas.clientWidth, canvas.clientHeight]")
        user.page.evaluate("window.painted = []")
        name, png = saved(user, user.part(f"{testid}-png").click)
        assert name == f"{page}-{BY_HAND}-raw-float32-{part}.png"
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", png[16:24])
        assert width >= 2 * shown[0] and height > 2 * shown[1], "title and words around it"
        assert user.page.evaluate("window.fineness.pop()") == pytest.approx(2, abs=0.01)
        found = pixels(user, png)
        assert (found["width"], found["height"]) == (width, height) and found["colours"] > 20
        assert any(word.startswith(f"{BY_HAND}, raw, float32; ") for word in user.painted())
        assert canvas.evaluate("canvas => canvas.toDataURL()") == before, "the page is as it was"


def test_a_wide_table_is_saved_whole(user: User) -> None:
    opened(user, "lens", prompt=" ".join("abcdefghijklmnopqrstuvwxyz"), cell="2.0")
    canvas = user.part("lens-table")
    runway = canvas.evaluate("canvas => canvas.parentElement.clientWidth")
    assert runway > canvas.evaluate("canvas => canvas.clientWidth"), "or nothing is hidden"
    user.page.evaluate("window.painted = []")
    _, png = saved(user, user.part("lens-table-png").click)
    assert struct.unpack(">I", png[16:20])[0] >= 2 * runway
    assert set("abcdefghijklmnopqrstuvwxyz") <= user.painted()
    assert canvas.evaluate("canvas => canvas.closest('.scroller').scrollLeft") == 0


def test_a_picture_is_saved_from_the_keyboard(user: User) -> None:
    opened(user, "attention", head="L0H1")
    button = user.part("attention-zoom-png")
    button.focus()
    name, _ = saved(user, lambda: button.press("Enter"))
    assert name.endswith("L0H1.png")


def open_box(user: User) -> None:
    user.page.get_by_text("Export", exact=True).click()
    expect(user.page.get_by_role("button", name="HTML page")).to_be_visible()


@pytest.mark.parametrize("page", ["attention", "lens"])
def test_the_page_opens_without_a_network(user: User, page: str, tmp_path: Path, chromium: Browser):
    opened(user, page)
    open_box(user)
    name, content = saved(user, user.page.get_by_role("button", name="HTML page").click)
    path = tmp_path / name
    path.write_bytes(content)
    context = chromium.new_context(offline=True)
    try:
        seen = plumbing.watch(context)
        alone = context.new_page()
        alone.goto(path.as_uri())
        expect(alone.locator(".js-plotly-plot .xtitle").first).to_be_visible()
        assert alone.locator(".js-plotly-plot").count() == 2
        assert alone.locator("image, .heatmaplayer .hm").count() >= 1
        assert seen.urls == [path.as_uri()] and not seen.faults
    finally:
        context.close()


def test_every_file_comes_with_its_name(user: User) -> None:
    opened(user, "attention", head="L0H1")
    assert not any("Plotly" in url or "Highlighter" in url for url in user.seen.urls)
    open_box(user)
    stem = f"attention-{BY_HAND}-raw-float32-L0H1-attention"
    files = {
        "CSV: pattern": (f"{stem}-pattern.csv", b"query,query token,key,key token,attention\n"),
        "CSV: scores": (f"{stem}-scores.csv", b"layer,head,induction,"),
        "Python": (f"{stem}.py", b"# L0H1: attention. induction-by-hand"),
    }
    for label, (name, start) in files.items():
        found, content = saved(user, user.page.get_by_role("button", name=label).click)
        assert found == name and content.startswith(start)
    assert not any("Plotly" in url for url in user.seen.urls)
    user.click("attention-grid", row=1, column=2)
    user.wait_for_address("head=L1H2")
    expect(user.page.get_by_test_id("stCode")).to_contain_text("weights[1][2]")
    button = user.page.get_by_role("button", name="CSV: pattern")
    assert "L1H2" in saved(user, button.click)[0]

"""`python -m docs.screenshots [NAME ...]`: the pictures of the dashboard, light and dark.

Needs Chromium and the real model (`workbench models pull smollm2-135m`). What a page shows is kept
as a run, so the first time takes minutes.
"""

import sys
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Page, ViewportSize

from benchmarks import browser as plumbing
from dashboards.examples import examples
from dashboards.navigation import url_path
from workbench.home import home

IMAGES = Path(__file__).parent / "images"
SIZE: ViewportSize = {"width": 1280, "height": 800}
PATIENCE = 600_000  # milliseconds, for a circuit that was never computed before
PICTURE = ".wb[data-drawn], .js-plotly-plot .main-svg"  # a canvas of ours, or a chart
READY = "[data-testid=stApp][data-test-script-state=notRunning]"
UNFINISHED = "[data-testid=stSkeleton], [data-testid=stProgress], [data-testid=stSpinner]"


@dataclass(frozen=True)
class Shot:
    """A page at one of its examples, scrolled down by pixels."""

    page: str
    example: int = 0
    scroll: int = 0


SHOTS = (
    Shot("Attention", 1, 428),
    Shot("Lens", 0, 310),
    Shot("Patching", 1, 412),
    Shot("Circuit", 0, 322),
    Shot("Othello"),
    Shot("Probes", 0, 225),
    Shot("SAE", 0, 325),
    Shot("Grokking", 0, 297),
)


def shoot(page: Page, address: str, shot: Shot) -> bytes:
    """The picture as PNG, once nothing is computed or drawn any more."""
    query = urlencode(examples(shot.page)[shot.example].address)
    page.goto(f"{address}/{url_path(shot.page)}?{query}")
    page.locator(PICTURE).first.wait_for()
    page.locator(READY).wait_for()
    page.wait_for_function(f"!document.querySelector('{UNFINISHED}')")
    page.get_by_test_id("stMain").evaluate("(main, down) => main.scrollTo(0, down)", shot.scroll)
    page.wait_for_timeout(2500)  # charts below the first one, and their transitions
    return page.screenshot()


def save(png: bytes, path: Path) -> None:
    """In 256 colours: a third of the bytes, and none is off by more than 12 of 255."""
    picture = Image.open(BytesIO(png)).convert("RGB")
    few = picture.quantize(
        256, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE
    )
    few.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")  # noqa: T201


def main(names: list[str]) -> int:
    """Light and dark."""
    chosen = [shot for shot in SHOTS if not names or url_path(shot.page) in names]
    with (
        tempfile.TemporaryDirectory() as folder,
        plumbing.dashboard(Path(folder), home()) as served,
        plumbing.browser() as chromium,
    ):
        for scheme in ("light", "dark"):
            page = chromium.new_page(viewport=SIZE, color_scheme=scheme)
            page.set_default_timeout(PATIENCE)
            for shot in chosen:
                path = IMAGES / f"{url_path(shot.page)}-{scheme}.png"
                save(shoot(page, served.address, shot), path)
            page.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
